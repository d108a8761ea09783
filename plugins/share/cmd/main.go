// Command Share is the agent of the resource type Share.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/share"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(share.New()) }
