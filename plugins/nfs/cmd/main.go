// Command NFS is the agent of the resource type NFS.
package main

import (
	"github.com/evenkeel/evenkeel/plugins/nfs"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

func main() { agent.Serve(nfs.New()) }
