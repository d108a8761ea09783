package x

import _ "github.com/evenkeel/evenkeel/plugins/ip"
