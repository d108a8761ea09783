package main

import (
	"context"
	"fmt"
	"time"
)

// row is one measured part of the failover.
type row struct {
	name string
	took time.Duration
	note string
}

// table is what was measured.
type table struct{ rows []row }

func (t *table) add(name string, took time.Duration) {
	t.rows = append(t.rows, row{name: name, took: took})
}

func (t *table) print() {
	fmt.Println("\n    what                                      ms")
	fmt.Println("    ----------------------------------------------")
	for _, r := range t.rows {
		fmt.Printf("    %-36s %8.1f  %s\n", r.name, float64(r.took.Microseconds())/1000, r.note)
	}
	fmt.Println()
}

// measure fills the table from the survivor's logs.
func (d *demo) measure(_ context.Context, crash, pinged, answered time.Time) error {
	d.table.add("address answers (ping)", pinged.Sub(crash))
	d.table.add("total: first client answer", answered.Sub(crash))
	return nil
}
