// Command NIC is the agent of resource type NIC.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/nic"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(nic.New()) }
