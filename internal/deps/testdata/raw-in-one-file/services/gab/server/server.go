package server

import _ "github.com/mdlayher/raw"
