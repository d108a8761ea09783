package x

import _ "github.com/evenkeel/evenkeel/cmd/had"
