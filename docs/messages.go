// Package docs carries the documents that programs show.
package docs

import _ "embed"

// Messages is the catalogue of messages, docs/messages.md.
//
//go:embed messages.md
var Messages string
