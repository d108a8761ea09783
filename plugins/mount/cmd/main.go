// Command Mount is the agent of the resource type Mount.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/mount"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(mount.New()) }
