package fencing

import "time"

var start = time.Now()
