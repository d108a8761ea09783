package ip

import _ "github.com/evenkeel/evenkeel/internal/paths"
