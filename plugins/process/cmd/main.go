// Command Process is the agent of resource type Process.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/process"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(process.New()) }
