package server

import _ "github.com/evenkeel/evenkeel/services/gab/server"
