package maincf

import "strings"

// Diagnostic is one message about one place in a configuration.
type Diagnostic struct {
	Pos  Pos
	Text string
}

// Error returns FILE:LINE:COL: text.
func (d Diagnostic) Error() string { return d.Pos.String() + ": " + d.Text }

// Errors are all mistakes found in a configuration, in the order of files
// and lines. Load returns them as its error.
type Errors []Diagnostic

// Error returns one line per mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, d := range e {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}
