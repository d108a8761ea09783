package deps

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
)

// MapOrder type-checks the pure packages below root and reports every loop
// over a map whose body could let the order of the map be seen. A loop may
// only collect (append the key or value, set or delete in a map, count, add,
// compare for the largest) and must be followed by a sort where it appends.
// A loop with any other body must go over sorted keys.
func MapOrder(root, module string) ([]Violation, error) {
	c := &checker{module: module, fset: token.NewFileSet(), rawIn: map[string]bool{}}
	if err := c.read(root); err != nil {
		return nil, err
	}
	folders := map[string][]file{}
	for _, f := range c.files {
		if IsPure(f.folder) {
			folders[f.folder] = append(folders[f.folder], f)
		}
	}
	loader := &pureLoader{checker: c, folders: folders, done: map[string]*types.Package{},
		std: importer.ForCompiler(c.fset, "source", nil), info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}}
	names := make([]string, 0, len(folders))
	for name := range folders {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := loader.Import(path.Join(module, name)); err != nil {
			return nil, fmt.Errorf("type-check %s: %w", name, err)
		}
		for _, f := range folders[name] {
			loader.mapLoops(f)
		}
	}
	return c.found, nil
}

// pureLoader imports pure packages from the parsed files and everything else
// from the standard library's source.
type pureLoader struct {
	*checker
	folders map[string][]file
	done    map[string]*types.Package
	std     types.Importer
	info    *types.Info
}

// Import implements types.Importer.
func (l *pureLoader) Import(target string) (*types.Package, error) {
	folder, inside := l.below(target)
	if !inside {
		return l.std.Import(target)
	}
	if done := l.done[target]; done != nil {
		return done, nil
	}
	var trees []*ast.File
	for _, f := range l.folders[folder] {
		trees = append(trees, f.tree)
	}
	if len(trees) == 0 {
		return nil, fmt.Errorf("%s is not a pure package", target)
	}
	config := types.Config{Importer: l}
	checked, err := config.Check(target, l.fset, trees, l.info)
	if err != nil {
		return nil, err
	}
	l.done[target] = checked
	return checked, nil
}

func (l *pureLoader) mapLoops(f file) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		loop, ok := n.(*ast.RangeStmt)
		if !ok {
			return true
		}
		of, known := l.info.Types[loop.X]
		if !known || of.Type == nil {
			return true
		}
		if _, isMap := of.Type.Underlying().(*types.Map); !isMap {
			return true
		}
		if bad := orderSeen(loop.Body); bad != nil {
			l.add("pure-map-order", f, bad.Pos(), "this statement inside a loop over a map may show the map's order; collect the keys, sort them, loop over those")
		}
		return true
	})
}

// orderSeen returns the first statement that may let the order of a loop be
// seen from outside, or nil.
func orderSeen(block *ast.BlockStmt) ast.Node {
	for _, statement := range block.List {
		if bad := statementShowsOrder(statement); bad != nil {
			return bad
		}
	}
	return nil
}

func statementShowsOrder(statement ast.Stmt) ast.Node {
	switch s := statement.(type) {
	case *ast.AssignStmt:
		return assignShowsOrder(s)
	case *ast.IncDecStmt, *ast.EmptyStmt, *ast.DeclStmt:
		return nil
	case *ast.BranchStmt:
		if s.Tok == token.CONTINUE {
			return nil
		}
	case *ast.ReturnStmt:
		// Returning constants (found or not found) hides the order.
		for _, result := range s.Results {
			switch r := result.(type) {
			case *ast.BasicLit:
			case *ast.Ident:
				if !slices.Contains([]string{"true", "false", "nil"}, r.Name) {
					return s
				}
			default:
				return s
			}
		}
		return nil
	case *ast.IfStmt:
		if bad := orderSeen(s.Body); bad != nil {
			return bad
		}
		switch e := s.Else.(type) {
		case *ast.BlockStmt:
			return orderSeen(e)
		case *ast.IfStmt:
			return statementShowsOrder(e)
		}
		return nil
	case *ast.RangeStmt:
		return orderSeen(s.Body)
	case *ast.ForStmt:
		return orderSeen(s.Body)
	case *ast.BlockStmt:
		return orderSeen(s)
	case *ast.ExprStmt:
		if call, ok := s.X.(*ast.CallExpr); ok {
			if name, ok := call.Fun.(*ast.Ident); ok && (name.Name == "delete" || name.Name == "clear" || name.Name == "panic") {
				return nil
			}
		}
	}
	return statement
}

// assignShowsOrder allows collecting: append, an element of a map, a plain
// number, a comparison's winner. Assigning the result of a call that is not
// append, min, max or a conversion-like lower-case word is allowed too as long
// as it lands in a variable: what matters is what is done with it, and that is
// another statement.
func assignShowsOrder(s *ast.AssignStmt) ast.Node {
	for _, right := range s.Rhs {
		call, ok := right.(*ast.CallExpr)
		if !ok {
			continue
		}
		name := ""
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			name = fun.Name
		case *ast.SelectorExpr:
			name = fun.Sel.Name
		}
		if strings.EqualFold(name, "step") || strings.EqualFold(name, "emit") {
			return s
		}
	}
	return nil
}
