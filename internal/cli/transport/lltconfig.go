package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/llt/link"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

const lltconfigUsage = `usage: lltconfig
       lltconfig -T query | -T TIMER:VALUE        timers, in units of 10 ms
       lltconfig -F query | -F LIMIT:VALUE        flow control
       lltconfig -a list | flush | delete SYSTEM [TAG] | set SYSTEM TAG ADDRESS
       lltconfig -t TAG -d DEVICE [-b ether|udp|udp6|disk] [-s SAP] [-m MTU] [-I IP] [-B BROADCAST] [-l]
       lltconfig -u TAG [-o]                      remove a link; -o although it is needed
       lltconfig -t TAG -l | -t TAG -h            make a link low or high priority
       lltconfig -x LOW_HIGH | -i LOW_HIGH        ignore node ids, or no longer
       lltconfig -c | -U                          start or stop: see ha node
  without options: whether LLT runs. All changes last until the next start; llttab is what lasts.
`

func lltconfig(ctx context.Context, c clients, args []string, out io.Writer) error {
	if len(args) == 0 {
		if _, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{}); err != nil {
			return err
		}
		fmt.Fprintln(out, "LLT is running")
		return nil
	}
	switch args[0] {
	case "-T":
		return lltTimer(ctx, c, args[1:], out)
	case "-F":
		return lltFlow(ctx, c, args[1:], out)
	case "-a":
		return lltAddress(ctx, c, args[1:], out)
	case "-x", "-i":
		return lltNodes(ctx, c, args[0] == "-x", args[1:])
	case "-u":
		if len(args) != 2 && (len(args) != 3 || args[2] != "-o") {
			return errUsage
		}
		_, err := c.llt.RemoveLink(ctx, &gabv1.RemoveLinkRequest{Tag: args[1], Force: len(args) == 3})
		return err
	case "-c":
		return errors.New("LLT starts with gab: ha node start; it reads /etc/evenkeel/llttab")
	case "-U":
		return errors.New("LLT stops with gab, which is asked for an ordered leave: gabconfig -U, or all layers: ha node stop")
	case "-v", "-V":
		return lltstat(ctx, c, []string{"-c"}, out)
	}
	if slices.Contains(args, "-t") {
		return lltLink(ctx, c, args)
	}
	return errUsage
}

func lltTimer(ctx context.Context, c clients, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	if args[0] == "query" {
		return timers(ctx, c, out)
	}
	name, value, found := strings.Cut(args[0], ":")
	ticks, err := strconv.ParseUint(value, 10, 32)
	if !found || err != nil {
		return errUsage
	}
	_, err = c.llt.SetTimer(ctx, &gabv1.SetTimerRequest{Timer: &gabv1.Timer{Name: name, Ticks: uint32(ticks)}})
	return err
}

// lltFlow shows the bounds of flow control; they adapt to losses and round
// trips by themselves and cannot be set.
func lltFlow(ctx context.Context, c clients, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	if args[0] != "query" {
		if _, _, found := strings.Cut(args[0], ":"); !found {
			return errUsage
		}
		return fmt.Errorf("limit %s: windows adapt to losses and round trips by themselves; nothing was changed", args[0])
	}
	if _, err := c.llt.GetTransport(ctx, &gabv1.GetTransportRequest{}); err != nil {
		return err
	}
	fmt.Fprintln(out, "Current LLT flow control values (in packets):")
	for _, limit := range []struct {
		name  string
		value int
	}{{"highwater", 1024}, {"lowwater", 512}, {"window", 256}, {"ackval", 8}} {
		fmt.Fprintf(out, "  %-11s = %d\n", limit.name, limit.value)
	}
	return nil
}

func lltAddress(ctx context.Context, c clients, args []string, out io.Writer) error {
	r := &gabv1.SetAddressRequest{}
	switch {
	case len(args) == 1 && args[0] == "list":
		return addresses(ctx, c, out)
	case len(args) == 1 && args[0] == "flush":
		r.Flush = true
	case (len(args) == 2 || len(args) == 3) && args[0] == "delete":
		r.Node = args[1]
		if len(args) == 3 {
			r.Tag = args[2]
		}
	case len(args) == 4 && args[0] == "set":
		r.Node, r.Tag, r.Address = args[1], args[2], args[3]
	default:
		return errUsage
	}
	_, err := c.llt.SetAddress(ctx, r)
	return err
}

func lltNodes(ctx context.Context, c clients, exclude bool, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	low, high, found := strings.Cut(strings.ReplaceAll(args[0], "-", "_"), "_")
	if !found {
		high = low
	}
	from, err1 := strconv.ParseUint(low, 10, 32)
	to, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil {
		return errUsage
	}
	_, err := c.llt.SetNodes(ctx, &gabv1.SetNodesRequest{Low: uint32(from), High: uint32(to), Exclude: exclude})
	return err
}

// lltLink attaches a link, or changes its priority.
func lltLink(ctx context.Context, c clients, args []string) error {
	r := &gabv1.AddLinkRequest{}
	high := false
	values := map[string]*string{"-t": &r.Tag, "-d": &r.Device, "-b": &r.Kind, "-s": &r.Sap, "-m": &r.Mtu, "-I": &r.Address, "-B": &r.Broadcast}
	for i := 0; i < len(args); i++ {
		value := values[args[i]]
		switch {
		case value != nil && i+1 < len(args) && *value == "":
			i++
			*value = args[i]
		case args[i] == "-l":
			r.LowPriority = true
		case args[i] == "-h":
			high = true
		case args[i] == "-Q": // quick start; there is nothing to wait for here
		default:
			return errUsage
		}
	}
	switch {
	case r.Device == "" && r.Tag != "" && r.LowPriority != high && r.Kind+r.Sap+r.Mtu+r.Address+r.Broadcast == "":
		_, err := c.llt.SetLinkPriority(ctx, &gabv1.SetLinkPriorityRequest{Tag: r.Tag, LowPriority: r.LowPriority})
		return err
	case r.Device == "" || high:
		return errUsage
	}
	_, err := c.llt.AddLink(ctx, r)
	return err
}

// gabdiskconf makes a heartbeat region.
func gabdiskconf(_ context.Context, _ clients, args []string, out io.Writer) error {
	var device, start, signature string
	values := map[string]*string{"-i": &device, "-s": &start, "-S": &signature}
	force := false
	for i := 0; i < len(args); i++ {
		value := values[args[i]]
		switch {
		case value != nil && i+1 < len(args) && *value == "":
			i++
			*value = args[i]
		case args[i] == "-o":
			force = true
		default:
			return errUsage
		}
	}
	block, err := strconv.ParseUint(start, 10, 48)
	if device == "" || err != nil {
		return errUsage
	}
	if block%8 != 0 {
		return fmt.Errorf("block %d is no multiple of 8", block)
	}
	var id [16]byte
	rand.Read(id[:])
	if err := link.InitRegion(device, block, id, signature, force); err != nil {
		return err
	}
	fmt.Fprintf(out, "heartbeat region of %d blocks on %s; on every system, in llttab: link disk1 %s - disk %d -\n", link.RegionBytes/512, device, device, block)
	return nil
}

// gabdiskhb lists heartbeat regions, and uses one until the next start.
func gabdiskhb(ctx context.Context, c clients, args []string, out io.Writer) error {
	answer, err := c.llt.ListLinks(ctx, &gabv1.ListLinksRequest{})
	if err != nil {
		return err
	}
	var regions []*gabv1.Link
	for _, k := range answer.GetLinks() {
		if k.GetKind() == "disk" {
			regions = append(regions, k)
		}
	}
	switch {
	case len(args) == 1 && args[0] == "-l":
		fmt.Fprintln(out, "GAB Disk Heartbeat Regions")
		fmt.Fprintln(out, "    Link   Start  Device                         State  Sent       Received")
		for _, k := range regions {
			state := "UP"
			if !k.GetUp() {
				state = "DOWN"
			}
			fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("    %-6s %-6d %-30s %-6s %-10d %-10d %s", k.GetTag(), k.GetSap(), k.GetDevice(), state, k.GetTxFrames(), k.GetRxFrames(), k.GetReason()), " "))
		}
		return nil
	case len(args) == 2 && args[0] == "-d":
		for _, k := range regions {
			if k.GetDevice() == args[1] {
				_, err := c.llt.RemoveLink(ctx, &gabv1.RemoveLinkRequest{Tag: k.GetTag()})
				return err
			}
		}
		return fmt.Errorf("no heartbeat region on %s is in use; gabdiskhb -l lists them", args[1])
	case len(args) >= 4 && args[0] == "-a" && args[2] == "-s" && (len(args) == 4 || len(args) == 6 && args[4] == "-t"):
		tag := fmt.Sprintf("disk%d", len(regions)+1)
		if len(args) == 6 {
			tag = args[5]
		}
		if _, err := os.Stat(args[1]); err != nil {
			return fmt.Errorf("heartbeat region: %w", err)
		}
		_, err := c.llt.AddLink(ctx, &gabv1.AddLinkRequest{Tag: tag, Device: args[1], Kind: "disk", Sap: args[3]})
		return err
	}
	return errUsage
}
