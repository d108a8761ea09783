package main

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// row is one measured part of the failover.
type row struct {
	name string
	took time.Duration
	note string
}

// table is what was measured: the failover's chain, whose rows add up to its
// total, and what was measured besides.
type table struct {
	chain, besides []row
	total          time.Duration
}

const tableLine = "    ------------------------------------------------------------"

func (t *table) print() {
	fmt.Println("\n    failover by power failure                             ms")
	fmt.Println(tableLine)
	for _, r := range t.chain {
		r.print()
	}
	fmt.Println(tableLine)
	row{name: "total: power failure to the first client answer", took: t.total}.print()
	fmt.Println()
	for _, r := range t.besides {
		r.print()
	}
	fmt.Println("\n    Fencing: customized, three file points, power switch. The total is")
	fmt.Println("    from the last answer of the address before the failure, as a witness")
	fmt.Println("    outside the cluster heard it, to the first byte of the file that the")
	fmt.Println("    client reads; the parts are from the logs of the system that took over.")
	fmt.Println()
}

func (r row) print() {
	fmt.Printf("    %-48s %9.1f  %s\n", r.name, float64(r.took.Microseconds())/1000, r.note)
}

// failed is what was seen of a failover from outside.
type failed struct {
	began    time.Time // last answer of the address before the failure
	ended    time.Time // first answer of the address after it
	refused  time.Time // last read that the server refused
	answered time.Time // first byte of the file
}

// measure fills the table from the survivor's logs.
func (d *demo) measure(ctx context.Context, seen failed) error {
	records, err := lab.Records(ctx, d.lab, second, seen.began)
	if err != nil {
		return err
	}
	message := func(name string, beside bool, msg string, before ...string) lab.Mark {
		return lab.Mark{Name: name, Words: []string{`"msg":"` + msg + `"`}, Before: before, Beside: beside}
	}
	marks := append(lab.TakeOver(true),
		message("disk import", false, "imported"),
		message("mount: proof and claim of the device", false, "mounted", "mount_ms", "recovery_ms"),
		message("journal recovery", false, "mounted", "mount_ms"),
		message("mount", false, "mounted"),
		message("NFS server, begun beside the disk import", true, "NFS server answers"),
		message("export", false, "exported"),
		message("address probe", false, "nobody else has the address"),
		message("address", false, "address added"),
	)
	// All times are compared on the wall clock, as the logs' are.
	seen.refused, seen.answered = seen.refused.Round(0), seen.answered.Round(0)
	// What the client sees follows the logs: the address answers as soon as it
	// is added, and the file is refused until the grace period is over.
	steps := lab.Split(records, seen.began, seen.refused, marks, "NFS grace (to the client's last refusal)")
	steps = append(steps, lab.Step{Name: "first client answer", Took: seen.answered.Sub(seen.refused)})
	var sum time.Duration
	for _, step := range steps {
		sum += step.Took
		d.table.chain = append(d.table.chain, row{name: step.Name, took: step.Took})
	}
	d.table.total = seen.answered.Sub(seen.began)
	if sum != d.table.total || sum <= 0 {
		return fmt.Errorf("measure: the parts are %v and the total is %v", sum, d.table.total)
	}
	d.beside("the address answers again (ARP)", seen.ended.Sub(seen.began))
	return nil
}

func (d *demo) beside(name string, took time.Duration) {
	d.table.besides = append(d.table.besides, row{name: name, took: took})
}
