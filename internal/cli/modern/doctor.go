package modern

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/doctor"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

func (a *app) doctor() *cobra.Command {
	list := false
	c := &cobra.Command{
		Use: "doctor", Short: "What is wrong here, and the command that mends it", Args: noNames,
		Long:    "Looks at the cluster as this system knows it, and at this system itself: states, faults, fencing, links, configuration, agents, files. Each finding says what is wrong, why it matters, and the command that mends it. Changes nothing. Exits 0 if nothing was found, else 1. See also: ha status, ha group explain.",
		Example: "  ha doctor\n  ha doctor -o json | jq -r '.findings[] | .check + \": \" + .what'\n  ha doctor --list",
		RunE: read(func(ctx context.Context, _ []string) error {
			checks := doctor.Checks()
			if list {
				if a.json() {
					return a.write(a.Out, envelope(field{"checks", rowsOf(checks)}))
				}
				rows := [][]string{{"CHECK", "LOOKS WHETHER"}}
				for _, c := range checks {
					rows = append(rows, []string{c.ID, c.About})
				}
				table(a.Out, rows)
				return nil
			}
			found := doctor.Examine(a.facts(ctx))
			if a.json() {
				if err := a.write(a.Out, envelope(field{"checks", len(checks)}, field{"findings", found})); err != nil {
					return err
				}
			} else {
				a.printFindings(found, len(checks))
			}
			if len(found) > 0 {
				return errQuiet
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&list, "list", false, "list the checks and do nothing")
	return c
}

func (a *app) printFindings(found []doctor.Finding, checks int) {
	for _, f := range found {
		fmt.Fprintf(a.Out, "%-7s %s [%s]\n        why:  %s\n        mend: %s\n\n", f.Severity, f.What, f.Check, f.Why, f.Command)
	}
	if len(found) == 0 {
		fmt.Fprintf(a.Out, "nothing found by %d checks\n", checks)
		return
	}
	fmt.Fprintf(a.Out, "%d %s by %d checks\n", len(found), pick(len(found) == 1, "finding", "findings"), checks)
}

// facts gathers what the checks look at, all at once: one deadline bounds it.
func (a *app) facts(ctx context.Context) *doctor.Facts {
	f := &doctor.Facts{KeyFile: a.Root.Config("cluster.key"), TriggersDir: a.Root.Triggers()}
	f.Self, _ = a.Root.SystemName()
	var work sync.WaitGroup // each writes fields of its own
	work.Go(func() { a.fromHad(ctx, f) })
	work.Go(func() { a.fromFencing(ctx, f) })
	work.Go(func() { a.fromMachine(f) })
	work.Wait()
	return f
}

func (a *app) fromHad(ctx context.Context, f *doctor.Facts) {
	s, err := a.had.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
	if err != nil {
		f.HadDown = a.fault(err).Text
		return
	}
	f.Status = s
	if all, err := a.had.AllSystems(ctx, nil); err == nil {
		s.Systems = all // with their attributes
	}
	if c, err := a.had.Config.GetConfigState(ctx, &hadv1.GetConfigStateRequest{}); err == nil {
		f.State = c.GetState()
	}
	f.Running, _ = a.running(ctx)
	f.Agents, _ = a.had.AllAgents(ctx)
}

func (a *app) fromFencing(ctx context.Context, f *doctor.Facts) {
	d, err := connect.To(a.Root, "fencing")
	if err != nil {
		f.FencingDown = err.Error()
		return
	}
	defer d.Close()
	s, err := d.Fencing().GetStatus(ctx, &fencingv1.GetStatusRequest{})
	if err != nil {
		f.FencingDown = d.Fault(err).Text
		return
	}
	f.Fencing = s
}

func (a *app) fromMachine(f *doctor.Facts) {
	if st, err := os.Stat(f.KeyFile); err == nil {
		f.KeyMode = uint32(st.Mode().Perm())
	}
	seen := map[syscall.Fsid]bool{}
	for _, dir := range []string{a.Root.LogDir(), a.Root.StateDir(), a.Root.ConfigDir()} {
		var st syscall.Statfs_t
		if syscall.Statfs(dir, &st) == nil && !seen[st.Fsid] {
			seen[st.Fsid] = true
			f.Volumes = append(f.Volumes, doctor.Volume{Path: dir, Free: st.Bavail * uint64(st.Bsize), Size: st.Blocks * uint64(st.Bsize)})
		}
	}
	if all, err := net.Interfaces(); err == nil {
		f.Devices = map[string]bool{}
		for _, i := range all {
			f.Devices[i.Name] = true
		}
	}
	f.Triggers = programs(f.TriggersDir)
	if _, err := os.Stat(a.Root.Config("main.cf")); err == nil {
		denied := false
		disk, _, err := maincf.Load("main.cf", func(name string) ([]byte, error) {
			text, err := os.ReadFile(a.Root.Config(name))
			denied = denied || errors.Is(err, fs.ErrPermission)
			if errors.Is(err, fs.ErrNotExist) && name == "types.cf" {
				return []byte(etc.TypesCF), nil
			}
			return text, err
		})
		f.Disk = disk
		if err != nil && !denied { // who may not read has nothing to say about the files
			f.DiskMistakes = strings.Split(err.Error(), "\n")
			f.DiskMistakes = f.DiskMistakes[:min(len(f.DiskMistakes), shownMistakes)]
		}
	}
}

// shownMistakes is how many mistakes of a broken file the doctor tells.
const shownMistakes = 5

// programs are the triggers of a folder: programs, or folders of programs.
func programs(dir string) map[string]bool {
	found := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found
	}
	for _, e := range entries {
		st, err := os.Stat(dir + "/" + e.Name())
		if err == nil && (st.IsDir() || st.Mode().Perm()&0o111 != 0) {
			found[strings.ToLower(e.Name())] = true
		}
	}
	return found
}

// rowsOf are the checks for programs.
func rowsOf(checks []doctor.Check) []object {
	out := make([]object, 0, len(checks))
	for _, c := range checks {
		out = append(out, object{{"check", c.ID}, {"looks_whether", c.About}})
	}
	return out
}
