// Command IP is the agent of resource type IP.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/ip"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(ip.New()) }
