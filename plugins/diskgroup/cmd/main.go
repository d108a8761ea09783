// Command DiskGroup is the agent of the resource type DiskGroup.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/diskgroup"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(diskgroup.New()) }
