// Command FileOnOff is the agent of resource type FileOnOff.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/fileonoff"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(fileonoff.New()) }
