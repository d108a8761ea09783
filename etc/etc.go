// Package etc carries the default configuration files, so that every binary
// has them at hand.
package etc

import _ "embed"

// TypesCF is etc/types.cf, the only file of built-in types.
//
//go:embed types.cf
var TypesCF string
