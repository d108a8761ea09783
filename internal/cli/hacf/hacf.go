// Package hacf is the command hacf: configuration files checked, shown, put
// into canonical form and turned into commands and back. It needs no engine.
package hacf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Usage is the help of the command.
const Usage = `usage:
  hacf -verify DIR                           check main.cf and all that it includes
  hacf -cftocmd DIR [-dest DIR] [-display]   write main.cmd: the commands that make the configuration
  hacf -cmdtocf DIR [-dest DIR] [-display]   read main.cmd, write main.cf and the files of types
  hacf -generate DIR [-dest DIR] [-display]  write the .cf files anew, in canonical form
  hacf -display DIR                          print the .cf files in canonical form
  hacf -help
`

const (
	mainFile    = "main.cf"
	commandFile = "main.cmd"
	// maxCommands bounds main.cmd, in bytes.
	maxCommands = 64 << 20
)

type request struct {
	action, dir, dest string
	display           bool
}

var errUsage = errors.New("wrong usage")

// Run runs the command with its words and returns the exit code: 0 done, 1
// the configuration is bad or a file could not be read or written, 2 wrong
// usage. Nothing is written unless all of it is good.
func Run(args []string, out, errs io.Writer) int {
	r, err := parse(args)
	if err != nil {
		if text := strings.TrimSuffix(err.Error(), ": "+errUsage.Error()); text != errUsage.Error() {
			fmt.Fprintf(errs, "hacf: %s\n", text)
		}
		fmt.Fprint(errs, Usage)
		return 2
	}
	var files []maincf.SourceFile
	switch r.action {
	case "help":
		fmt.Fprint(out, Usage)
		return 0
	case "verify":
		lines := maincf.Verify(r.dir, Open)
		for _, l := range lines {
			fmt.Fprintln(errs, l)
		}
		return min(len(lines), 1)
	case "cftocmd":
		files, err = toCommands(r.dir)
	case "cmdtocf":
		files, err = fromCommands(r.dir, errs)
	default:
		files, err = canonical(r.dir)
	}
	if err == nil && r.display {
		for _, f := range files {
			show(out, f, len(files) > 1)
		}
		return 0
	}
	if err == nil {
		err = write(r.dest, files, errs)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

func parse(args []string) (request, error) {
	var r request
	actions := []string{"verify", "cftocmd", "cmdtocf", "generate", "display", "help"}
	for i := 0; i < len(args); i++ {
		option, isOption := strings.CutPrefix(args[i], "-")
		if isOption {
			option = whole(option, append(actions, "dest"))
		}
		switch {
		case isOption && option == "dest":
			if i++; i == len(args) || r.dest != "" {
				return r, fmt.Errorf("-dest takes one folder: %w", errUsage)
			}
			r.dest = args[i]
		case isOption && option == "display" && r.action != "" && r.action != "display":
			r.display = true
		case isOption && slices.Contains(actions, option):
			if r.action != "" {
				return r, fmt.Errorf("-%s and -%s exclude each other: %w", r.action, option, errUsage)
			}
			r.action = option
		case isOption:
			hint := ""
			if n := maincf.Nearest(option, append(actions, "dest")); n != "" {
				hint = "; did you mean -" + n + "?"
			}
			return r, fmt.Errorf("unknown option -%s%s: %w", option, hint, errUsage)
		case r.dir != "":
			return r, fmt.Errorf("one folder is enough, found %s as well: %w", args[i], errUsage)
		default:
			r.dir = args[i]
		}
	}
	switch {
	case r.action == "":
		return r, errUsage
	case r.action == "help":
		return r, nil
	case r.dir == "":
		return r, fmt.Errorf("-%s takes a folder: %w", r.action, errUsage)
	case (r.dest != "" || r.display) && (r.action == "verify" || r.action == "display"):
		return r, fmt.Errorf("-%s takes neither -dest nor -display: %w", r.action, errUsage)
	}
	r.display = r.display || r.action == "display"
	if r.dest == "" {
		r.dest = r.dir
	}
	return r, nil
}

// whole is the one option that begins with the word, or the word.
func whole(word string, options []string) string {
	found := word
	for _, o := range options {
		switch {
		case o == word:
			return o
		case !strings.HasPrefix(o, word) || word == "":
		case found != word:
			return word // more than one
		default:
			found = o
		}
	}
	return found
}

// Open reads a file of a configuration. A types.cf that the folder lacks is
// the built-in one.
func Open(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && filepath.Base(name) == "types.cf" {
		return []byte(etc.TypesCF), nil
	}
	return text, err
}

func load(dir string) (*maincf.Config, error) {
	cfg, _, err := maincf.Load(mainFile, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return Open(name)
	})
	return cfg, err
}

func toCommands(dir string) ([]maincf.SourceFile, error) {
	cfg, err := load(dir)
	if err != nil {
		return nil, err
	}
	script, err := cfg.Commands()
	if err != nil {
		return nil, fmt.Errorf("hacf -cftocmd %s: %w", dir, err)
	}
	return []maincf.SourceFile{{Name: commandFile, Text: script}}, nil
}

func fromCommands(dir string, errs io.Writer) ([]maincf.SourceFile, error) {
	name := filepath.Join(dir, commandFile)
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxCommands {
		err = fmt.Errorf("the file is larger than %d bytes", maxCommands)
	}
	var script []byte
	if err == nil {
		script, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:1:1: cannot read the commands: %w; hacf -cftocmd makes them", commandFile, err)
	}
	change, err := maincf.FromCommands(mainFile, commandFile, string(script))
	if err != nil {
		return nil, err
	}
	warn(errs, change.Warnings)
	return change.Files, nil
}

// canonical returns the files as a dump of the engine would write them.
func canonical(dir string) ([]maincf.SourceFile, error) {
	cfg, err := load(dir)
	if err != nil {
		return nil, err
	}
	return cfg.Dump(), nil
}

func warn(errs io.Writer, warnings []maincf.Diagnostic) {
	for _, w := range warnings {
		fmt.Fprintf(errs, "warning: %v\n", w)
	}
}

// show prints a file; of several, each with its name as a comment.
func show(out io.Writer, f maincf.SourceFile, several bool) {
	if several {
		fmt.Fprintf(out, "// %s\n", f.Name)
	}
	fmt.Fprint(out, f.Text)
	if several {
		fmt.Fprintln(out)
	}
}
