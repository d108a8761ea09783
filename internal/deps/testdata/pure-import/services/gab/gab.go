package gab

import _ "os"
