// Package simrun is the command line of hasim.
package simrun

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/sim"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

const usage = `hasim runs whole clusters in virtual time: the product's own cores on modelled
machines, networks, disks and applications. (VCS has a simulator of the same
name with other options.)

  hasim run --seed N [--nodes N] [--fencing majority|disabled] [--broken FAULT] [-v]
        one random run; the same seed gives the same steps and the same hash
  hasim run --plan FILE [--broken FAULT] [-v]
        a random run as hasim plan wrote it, perhaps with less in it
  hasim plan --seed N [--nodes N] [--fencing MODE]
        what a seed draws before its run begins, as JSON: how the world behaves,
        the configuration, and the faults, of which any can be taken out
  hasim run --conf DIR --scenario FILE [--seed N] [-v]
        an administrator's main.cf and a story; prints the timeline, the
        decisions with their reasons and the state at the end
  hasim fuzz --seeds A-B [--nodes N] [--fencing MODE] [--broken FAULT] [--hashes]
             [--for TIME] [--totals FILE] [--shrink RUNS] [--plans DIR]
        random runs, for a time at most; each failure is made small and kept as
        a plan in DIR, and the command is printed that repeats it; --totals
        begins after the last seed of FILE and adds a line to it; --hashes
        prints a line for each run with the hash of all its steps
  hasim shrink --seed N | --plan FILE [--broken FAULT] [--runs N] [--out FILE]
        makes the plan of a failing run as small as it can, prints it with the
        last steps before the failure, and how to repeat it
  hasim replay JOURNAL
        what the had of a real system did (/var/lib/evenkeel/had.journal; kill
        -USR1 writes one at any time): its events once more through the engine,
        with the hashes compared on the way; the first difference is printed
  hasim what-if --conf DIR [--pairs=false] [--fencing MODE]
        an administrator's main.cf with every single fault and every pair of
        faults: each system crashes, each resource breaks where it runs; which
        groups end up offline, and why
  hasim faults
        the deliberate faults that --broken knows, with the rule that each breaks

`

// Main runs hasim and returns its exit code: 0 all well, 1 an invariant did not
// hold or an expectation was not met, 2 wrong use.
func Main(args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(errs, usage+sim.ScenarioHelp)
		return 2
	}
	var err error
	code := 0
	switch args[0] {
	case "run":
		code, err = run(args[1:], out)
	case "fuzz":
		code, err = fuzz(args[1:], out)
	case "shrink":
		code, err = shrink(args[1:], out)
	case "replay":
		code, err = replay(args[1:], out)
	case "plan":
		code, err = plan(args[1:], out)
	case "what-if":
		code, err = whatIf(args[1:], out)
	case "faults":
		for _, f := range sim.Mutants() {
			fmt.Fprintf(out, "%-24s %-10s %s\n", f.Name, f.Rule, f.What)
		}
	case "help", "-h", "--help", "-help":
		fmt.Fprint(out, usage+sim.ScenarioHelp)
	default:
		err = fmt.Errorf("hasim: unknown command %q; hasim help lists them", args[0])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(errs, err)
		return 2
	}
	return code
}

// common are the flags of run and fuzz.
func common(name string, opt *sim.Options) *flag.FlagSet {
	fs := flag.NewFlagSet("hasim "+name, flag.ContinueOnError)
	fs.IntVar(&opt.Nodes, "nodes", 0, "number of systems, 2 to 8; 0: the seed decides")
	fs.StringVar(&opt.Fencing, "fencing", "", "majority or disabled; empty: the seed decides")
	fs.StringVar(&opt.Broken, "broken", "", "deliberate fault (hasim faults)")
	return fs
}

func check(opt sim.Options) error {
	if opt.Nodes != 0 && (opt.Nodes < 2 || opt.Nodes > 8) {
		return fmt.Errorf("hasim: --nodes %d is not in 2 to 8", opt.Nodes)
	}
	if opt.Fencing != "" && opt.Fencing != "majority" && opt.Fencing != "disabled" {
		return fmt.Errorf("hasim: --fencing %q is neither majority nor disabled", opt.Fencing)
	}
	known := opt.Broken == ""
	for _, f := range sim.Mutants() {
		known = known || f.Name == opt.Broken
	}
	if !known {
		return fmt.Errorf("hasim: no deliberate fault %q; hasim faults lists them", opt.Broken)
	}
	return nil
}

func run(args []string, out io.Writer) (int, error) {
	opt := sim.Options{}
	fs := common("run", &opt)
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed")
	conf := fs.String("conf", "", "directory with main.cf")
	scenario := fs.String("scenario", "", "file with what happens")
	planned := fs.String("plan", "", "file that hasim plan wrote")
	verbose := fs.Bool("v", false, "print every step")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if *planned != "" {
		if err := readPlan(*planned, &opt); err != nil {
			return 2, err
		}
	}
	if (*conf == "") != (*scenario == "") {
		return 2, errors.New("hasim run: --conf and --scenario belong together")
	}
	if err := check(opt); err != nil {
		return 2, err
	}
	w := bufio.NewWriter(out)
	defer w.Flush()
	if *verbose {
		opt.Trace = func(line string) { fmt.Fprintln(w, line) }
	}
	if *conf != "" {
		text, err := os.ReadFile(*scenario)
		if err != nil {
			return 2, fmt.Errorf("hasim run: %w", err)
		}
		if opt.Scenario, err = sim.ParseScenario(*scenario, string(text)); err != nil {
			return 2, err
		}
		if opt.Files, err = readConf(*conf); err != nil {
			return 2, err
		}
		if !*verbose {
			opt.Story = func(line string) { fmt.Fprintln(w, line) }
		}
	}
	r, err := sim.Guarded(opt)
	if err != nil {
		return 2, err
	}
	report(w, r)
	if r.Failure != "" {
		return 1, nil
	}
	return 0, nil
}

// plan prints what a seed draws.
func plan(args []string, out io.Writer) (int, error) {
	opt := sim.Options{}
	fs := common("plan", &opt)
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if err := check(opt); err != nil {
		return 2, err
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "\t")
	return 0, e.Encode(sim.Draw(opt))
}

func readPlan(path string, opt *sim.Options) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("hasim run: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	opt.Plan = &sim.Plan{}
	if err := d.Decode(opt.Plan); err != nil {
		return fmt.Errorf("hasim run: read plan %s: %w; hasim plan writes what is right", path, err)
	}
	opt.Seed = opt.Plan.Seed
	return nil
}

func report(w io.Writer, r sim.Result) {
	if len(r.Groups) > 0 {
		fmt.Fprintln(w, "\ngroup        system     state at the end")
		for _, line := range r.Groups {
			fmt.Fprintln(w, line)
		}
	}
	fmt.Fprintf(w, "\nseed %d: %d systems, fencing %s, %s simulated, %d steps, %d faults, hash %016x\n", r.Seed, r.Nodes, r.Fencing,
		r.Simulated.Round(time.Millisecond), r.Steps, r.Faults, r.Hash)
	if r.Failure != "" {
		fmt.Fprintln(w, "FAILED:", r.Failure)
	}
}

// readConf reads main.cf and what it includes; a missing types.cf is the
// built-in one.
func readConf(dir string) ([]engine.File, error) {
	var files []engine.File
	_, _, err := maincf.Load("main.cf", func(name string) ([]byte, error) {
		path := name
		if !filepath.IsAbs(name) {
			path = filepath.Join(dir, name)
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && name == "types.cf" {
			text, err = []byte(etc.TypesCF), nil
		}
		if err == nil {
			files = append(files, engine.File{Name: name, Text: string(text)})
		}
		return text, err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return files, nil
}

// also are the flags that the command needs that repeats a run.
func also(opt sim.Options) string {
	text := ""
	if opt.Nodes > 0 {
		text += fmt.Sprintf(" --nodes %d", opt.Nodes)
	}
	if opt.Fencing != "" {
		text += " --fencing " + opt.Fencing
	}
	if opt.Broken != "" {
		text += " --broken " + opt.Broken
	}
	return text
}
