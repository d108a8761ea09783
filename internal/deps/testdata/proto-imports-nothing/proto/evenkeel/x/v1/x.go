package xv1

import _ "github.com/evenkeel/evenkeel/internal/paths"
