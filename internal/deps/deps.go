// Package deps holds the rules of the house as text that a test checks: which
// folder is pure and which is a shell, who may import whom, and what a pure
// package may not do. Every rule has a fixture under testdata that breaks it.
//
// The rule in one sentence: a folder is pure or it is a shell. Under llt,
// fencing and services, shell folders are named server, host, link or backend;
// everything else there is pure.
package deps

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Violation is one broken rule.
type Violation struct {
	// Rule is the stable name of the rule, which is also the name of the
	// fixture that breaks it.
	Rule string
	// Where is FILE:LINE below the checked root.
	Where string
	// What says what is wrong and what to do.
	What string
}

func (v Violation) String() string { return v.Where + ": " + v.Rule + ": " + v.What }

// shellNames are the folder names that make a folder below llt, fencing and
// services a shell.
var shellNames = []string{"server", "host", "link", "backend"}

// alsoPure are pure folders outside llt, fencing and services.
var alsoPure = []string{"internal/vclock", "internal/invariant", "internal/sim", "internal/standing/verdict"}

// IsPure reports whether the folder, a slash-separated path below the root of
// the repository, holds a pure package.
func IsPure(folder string) bool {
	if slices.Contains(alsoPure, folder) {
		return true
	}
	parts := strings.Split(folder, "/")
	switch parts[0] {
	case "llt", "fencing", "services":
	default:
		return false
	}
	for _, part := range parts[1:] {
		if slices.Contains(shellNames, part) {
			return false
		}
	}
	return true
}

// bannedStd are the packages of the standard library that a pure package
// never imports: the network, files, locks, deadlines, logging, randomness.
var bannedStd = []string{
	"context", "crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2",
	"net", "net/http", "os", "os/exec", "os/signal", "os/user", "runtime",
	"sync", "sync/atomic", "syscall", "unsafe", "io/ioutil", "plugin",
}

// bannedTime are the functions of package time that read or wait for a clock.
var bannedTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// drawers are package names that say nothing.
var drawers = []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "manager"}

// file is one parsed Go file that is not a test.
type file struct {
	name   string // slash-separated, below the root
	folder string
	tree   *ast.File
	lines  int
}

type checker struct {
	module string
	fset   *token.FileSet
	files  []file
	found  []Violation
	rawIn  map[string]bool
}

// Check reads all Go files below root, the folder of a module with the given
// path, and returns the broken rules in the order of files. Tests, testdata
// and generated protobuf are left out. The error is about reading or parsing.
func Check(root, module string) ([]Violation, error) {
	c := &checker{module: module, fset: token.NewFileSet(), rawIn: map[string]bool{}}
	if err := c.read(root); err != nil {
		return nil, err
	}
	for _, f := range c.files {
		c.name(f)
		c.imports(f)
		if IsPure(f.folder) {
			c.pure(f)
		}
		if strings.HasPrefix(f.folder, "cmd/") && f.lines > 100 {
			c.add("main-eats-program", f, f.tree.Pos(), "a main of %d lines; keep wiring under 100 and move the rest into a package", f.lines)
		}
	}
	return c.found, nil
}

func (c *checker) read(root string) error {
	return filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("walk %s: %w", full, err)
		}
		below, err := filepath.Rel(root, full)
		if err != nil {
			return fmt.Errorf("walk %s: %w", full, err)
		}
		name := filepath.ToSlash(below)
		if entry.IsDir() {
			base := path.Base(name)
			if name != "." && (base == "testdata" || base == "bin" || base == "tools" || strings.HasPrefix(base, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		text, err := os.ReadFile(full)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		tree, err := parser.ParseFile(c.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		c.files = append(c.files, file{name: name, folder: path.Dir(name), tree: tree, lines: strings.Count(string(text), "\n")})
		return nil
	})
}

func (c *checker) add(rule string, f file, at token.Pos, format string, args ...any) {
	where := fmt.Sprintf("%s:%d", f.name, c.fset.Position(at).Line)
	c.found = append(c.found, Violation{Rule: rule, Where: where, What: fmt.Sprintf(format, args...)})
}

func (c *checker) name(f file) {
	if slices.Contains(drawers, f.tree.Name.Name) {
		c.add("drawer-package", f, f.tree.Name.Pos(), "package %s says nothing; name it for its concept", f.tree.Name.Name)
	}
}

func (c *checker) imports(f file) {
	for _, spec := range f.tree.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		own, inside := c.below(target)
		std := !strings.Contains(strings.Split(target, "/")[0], ".") && !inside
		c.direction(f, spec, target, own, inside, std)
		if IsPure(f.folder) {
			c.pureImport(f, spec, target, own, inside, std)
		}
	}
}

// below cuts the module's path off an import path.
func (c *checker) below(target string) (string, bool) {
	if target == c.module {
		return ".", true
	}
	return strings.CutPrefix(target, c.module+"/")
}

func under(folder, top string) bool { return folder == top || strings.HasPrefix(folder, top+"/") }

// direction checks who may import whom.
func (c *checker) direction(f file, spec *ast.ImportSpec, target, own string, inside, std bool) {
	at := spec.Pos()
	if inside && under(own, "cmd") {
		c.add("nothing-imports-cmd", f, at, "%s is a program; move what is shared into a package", target)
	}
	shared := under(own, "plugins/internal") && under(f.folder, "plugins")
	if inside && under(own, "plugins") && !shared && !under(f.folder, own) {
		c.add("nothing-imports-plugins", f, at, "agents are processes of their own; only plugins/<type>/cmd imports its agent, and plugins/internal is for agents alone")
	}
	if under(f.folder, "plugins") && inside && !under(own, "sdk") && !under(own, "plugins") {
		c.add("plugins-import-sdk-only", f, at, "an agent of this repository uses what a third party could use: the sdk, not %s", own)
	}
	if under(f.folder, "sdk") && !std {
		grpc := strings.HasPrefix(target, "google.golang.org/grpc") || strings.HasPrefix(target, "google.golang.org/protobuf")
		plugin := target == "github.com/hashicorp/go-plugin" || strings.HasPrefix(target, "github.com/hashicorp/go-plugin/") || target == "github.com/hashicorp/go-hclog"
		if !(grpc || plugin || inside && (under(own, "proto") || under(own, "sdk"))) {
			c.add("sdk-stays-light", f, at, "authors of agents inherit what the sdk imports; %s is not proto, go-plugin, gRPC or the standard library", target)
		}
	}
	if under(f.folder, "services/had") && inside && (under(own, "services/gab") || under(own, "services/fencing") || under(own, "llt") || under(own, "fencing")) {
		c.add("had-talks-grpc", f, at, "had reaches gab and fencing only over gRPC, not through %s", own)
	}
	if under(f.folder, "proto") && inside && !under(own, "proto") {
		c.add("proto-imports-nothing", f, at, "contracts import no code of ours")
	}
	if strings.HasPrefix(target, "github.com/anishathalye/porcupine") {
		c.add("checker-in-tests-only", f, at, "the checker of histories is for tests; import it in files named _test.go")
	}
	if strings.HasPrefix(target, "github.com/mdlayher/raw") {
		c.rawIn[f.name] = true
		if len(c.rawIn) > 1 || !under(f.folder, "llt/link") {
			c.add("raw-in-one-file", f, at, "mdlayher/raw stays behind one file in llt/link, so that it can be replaced there")
		}
	}
}

// pureImport checks what a pure package imports.
func (c *checker) pureImport(f file, spec *ast.ImportSpec, target, own string, inside, std bool) {
	switch {
	case std && slices.Contains(bannedStd, target):
		c.add("pure-import", f, spec.Pos(), "pure package imports %s; let the shell do it and hand the result in as an event", target)
	case !std && !inside:
		c.add("pure-import", f, spec.Pos(), "pure package imports %s; cores use the standard library and value packages only", target)
	case inside && !IsPure(own):
		c.add("pure-import", f, spec.Pos(), "pure package imports the shell %s", own)
	}
}

// pure checks the statements of a file in a pure package.
func (c *checker) pure(f file) {
	timeName := importName(f.tree, "time")
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.add("pure-goroutine", f, n.Pos(), "go statement in a core; emit an effect instead")
		case *ast.SelectStmt:
			c.add("pure-channel", f, n.Pos(), "select in a core")
		case *ast.ChanType:
			c.add("pure-channel", f, n.Pos(), "channel in a core; events come through Step")
		case *ast.SendStmt:
			c.add("pure-channel", f, n.Pos(), "send on a channel in a core")
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if ok && timeName != "" && id.Name == timeName && slices.Contains(bannedTime, n.Sel.Name) {
				c.add("pure-clock", f, n.Pos(), "time.%s in a core; time is an argument", n.Sel.Name)
			}
		}
		return true
	})
}

// importName returns the name under which a file knows an import, or "".
func importName(tree *ast.File, target string) string {
	for _, spec := range tree.Imports {
		if spec.Path.Value != strconv.Quote(target) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(target)
	}
	return ""
}
