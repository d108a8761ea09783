package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// manyGroups times manyEach resources of FileOnOff are on one real system.
const (
	manyGroups = 100
	manyEach   = 50
)

// many brings 5,000 resources online on one system, with the default monitors
// of 60 s, and reads what its daemons cost at rest.
func many(ctx context.Context, _ int) error {
	conf, err := os.MkdirTemp("", "bench-many-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(conf)
	if err := writeManyResources(conf); err != nil {
		return err
	}
	began := time.Now()
	return withSlowLab(ctx, "bench-many", conf, 5*time.Minute, func(l *lab.Lab) error {
		out, err := l.Must(ctx, "Server1", "sh", "-c", "ls /run | grep -c '^many[.]'")
		if err != nil {
			return err
		}
		fmt.Printf("  %-58s %8.1f s\n", "from power on to all online ("+strings.TrimSpace(out)+" files)", time.Since(began).Seconds())
		for _, words := range []string{"hastatus -sum", "hares -state", "ha status"} {
			asked := time.Now()
			out, err := l.Must(within(ctx, 30*time.Second), "Server1", strings.Fields(words)...)
			if err != nil {
				return err
			}
			fmt.Printf("  %-58s %8.2f s, %d lines\n", words, time.Since(asked).Seconds(), strings.Count(out, "\n"))
		}
		return atRest(ctx, l, 60)
	})
}

func writeManyResources(dir string) error {
	var text strings.Builder
	text.WriteString("include \"types.cf\"\n\ncluster many (\n\t)\n\nsystem Server1\n\nsystem Server2\n\n")
	for g := range manyGroups {
		fmt.Fprintf(&text, "group g%03d (\n\tSystemList = { Server1, Server2 }\n\tAutoStartList = { Server1 }\n\t)\n\n", g)
		for r := range manyEach {
			fmt.Fprintf(&text, "\tFileOnOff g%03d_file%02d (\n\t\tPathName = \"/run/many.%03d.%02d\"\n\t\t)\n\n", g, r, g, r)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "lab.yaml"), []byte("fencing: {mode: disabled}\n"), 0o644)
}
