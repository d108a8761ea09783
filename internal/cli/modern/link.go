package modern

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/doctor"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// withLLT calls the transport of this system.
func (a *app) withLLT(f func(c gabv1.LltServiceClient) error) error {
	return a.withGab(func(d *connect.Daemon) error { return f(d.Llt()) })
}

// withGab calls gab of this system.
func (a *app) withGab(f func(d *connect.Daemon) error) error { return a.with("gab", f) }

// with calls a daemon of this system that need not run for ha to be of use.
func (a *app) with(name string, f func(d *connect.Daemon) error) error {
	d, err := connect.To(a.Root, name)
	if err != nil {
		return err
	}
	defer d.Close()
	fault := d.Fault(f(d))
	if fault == nil {
		return nil
	}
	if fault.Down {
		fault.Down = false
		fault.Text = fmt.Sprintf("%s does not run on this system (%s); start it with: ha node start", name, d.Socket())
	}
	return fault
}

func (a *app) link() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "The links of this system and how each peer is seen there", Args: noNames, Example: "  ha link list\n  ha link list -o json",
		Long: "Shows each link with its state, and for each peer how it is seen there, how it sees this system, round trip, jitter and loss. VCS: lltstat -nvv, lltstat -l, lltstat -v.",
		RunE: read(func(ctx context.Context, _ []string) error {
			f, err := a.linkFacts(ctx)
			if err != nil {
				return err
			}
			if a.json() {
				return a.write(a.Out, envelope(field{"links", f.Links}, field{"peers", f.Peers}))
			}
			printLinks(a.Out, f)
			return nil
		}),
	}
	examine := &cobra.Command{
		Use: "doctor", Short: "What is wrong with the links, and the command that mends it", Args: noNames, Example: "  ha link doctor\n  ha link doctor -o json | jq -r '.findings[].what'",
		Long: "Looks at the links as this system and its peers see them: links that are down, frames that go one way only, wrong VLAN or cluster id, crossed links, duplicate node ids, foreign and old keys, MTU, loss, stalls of this system, slow peers, disk regions. Changes nothing. Exits 0 if nothing was found, else 1.",
		RunE: read(func(ctx context.Context, _ []string) error {
			f, err := a.linkFacts(ctx)
			if err != nil {
				return err
			}
			found, checks := doctor.ExamineLinks(f), len(doctor.LinkChecks())
			if a.json() {
				if err := a.write(a.Out, envelope(field{"checks", checks}, field{"findings", found})); err != nil {
					return err
				}
			} else {
				a.printFindings(found, checks)
			}
			if len(found) > 0 {
				return errQuiet
			}
			return nil
		}),
	}
	return branch("link", "The links between the systems", list, examine)
}

func (a *app) linkFacts(ctx context.Context) (*doctor.LinkFacts, error) {
	f := &doctor.LinkFacts{}
	return f, a.withLLT(func(c gabv1.LltServiceClient) error {
		peers, err := c.ListPeers(ctx, &gabv1.ListPeersRequest{})
		if err != nil {
			return err
		}
		links, err := c.ListLinks(ctx, &gabv1.ListLinksRequest{})
		if err != nil {
			return err
		}
		troubles, err := c.ListTroubles(ctx, &gabv1.ListTroublesRequest{})
		if err != nil {
			return err
		}
		if f.Transport, err = c.GetTransport(ctx, &gabv1.GetTransportRequest{}); err != nil {
			return err
		}
		f.Keys, err = c.GetKeys(ctx, &gabv1.GetKeysRequest{})
		f.Peers, f.Links, f.Troubles = peers.GetPeers(), links.GetLinks(), troubles.GetTroubles()
		return err
	})
}

func printLinks(w io.Writer, f *doctor.LinkFacts) {
	rows := [][]string{{"LINK", "KIND", "DEVICE", "STATE", "MTU", "PRIORITY", "REASON"}}
	for _, l := range f.Links {
		priority := pick(l.GetLowPriority(), "low", "high")
		if l.GetKind() == "disk" {
			priority = "heartbeat"
		}
		rows = append(rows, []string{l.GetTag(), l.GetKind(), l.GetDevice(), pick(l.GetUp(), "UP", "DOWN"), fmt.Sprint(l.GetMtu()), priority, l.GetReason()})
	}
	table(w, rows)
	fmt.Fprintln(w)
	rows = [][]string{{"PEER", "LINK", "SEEN", "SEES US", "SILENT", "ROUND TRIP", "JITTER", "LOSS"}}
	for _, p := range f.Peers {
		if p.GetSelf() || p.GetName() == "" {
			continue
		}
		for _, k := range p.GetLinks() {
			silent := "never heard"
			if k.GetAgeMs() >= 0 {
				silent = fmt.Sprintf("%d ms", k.GetAgeMs())
			}
			rows = append(rows, []string{p.GetName(), k.GetTag(), k.GetStatus(), k.GetSeenByPeer(), silent,
				fmt.Sprintf("%d us", k.GetRoundTripUs()), fmt.Sprintf("%d us", k.GetJitterUs()), fmt.Sprintf("%d.%d %%", k.GetLossPermille()/10, k.GetLossPermille()%10)})
		}
	}
	table(w, rows)
}

func (a *app) key() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "Which cluster keys are accepted and used here", Args: noNames, Example: "  ha key list",
		Long: "Shows the ids of the keys, never a key, what a rotation waits for, and which systems come with the key of before the last rotation.",
		RunE: read(func(ctx context.Context, _ []string) error {
			return a.withLLT(func(c gabv1.LltServiceClient) error {
				k, err := c.GetKeys(ctx, &gabv1.GetKeysRequest{})
				if err != nil {
					return err
				}
				return a.show(k, func(w io.Writer) { printKeys(w, k) })
			})
		}),
	}
	var file string
	var plan bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Change the cluster key of all members while they run", Args: noNames, Example: "  ha key rotate --plan\n  ha key rotate\n  openssl rand -hex 32 > /root/key; ha key rotate --file /root/key",
		Long: "Draws a new key, or takes that of --file, gives it to every member under the old one, and changes over at one point of the total order: no message is lost and no member leaves. The key file of each member is rewritten, the one before stays beside it as .old. Systems that are down need the new file before they start. Whoever has the old key and listened can read the new one: after a theft stop the cluster and copy a new key by hand.",
		RunE: bounded(connect.ChangeTimeout, func(ctx context.Context, _ []string) error {
			r := &gabv1.RotateKeyRequest{}
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read key: %w", err)
				}
				if r.Key, err = hex.DecodeString(string(bytes.Join(bytes.Fields(text), nil))); err != nil || len(r.Key) < 32 {
					return usagef("%s does not hold 64 or more hexadecimal digits; make a key with: openssl rand -hex 32", file)
				}
			}
			return a.withLLT(func(c gabv1.LltServiceClient) error {
				if plan {
					return a.planRotation(ctx, c)
				}
				done, err := c.RotateKey(ctx, r)
				if err != nil {
					return err
				}
				return a.show(done, func(w io.Writer) {
					fmt.Fprintf(w, "key %08x is in use on %s\n", done.GetKeyId(), strings.Join(done.GetSystems(), ", "))
					if len(done.GetAbsent()) > 0 {
						fmt.Fprintf(w, "not there: %s; copy the key file to each before it starts\n", strings.Join(done.GetAbsent(), ", "))
					}
				})
			})
		}),
	}
	rotate.Flags().StringVar(&file, "file", "", "take the key from this file (64 hexadecimal digits or more)")
	rotate.Flags().BoolVar(&plan, "plan", false, "tell what would happen and do nothing")
	return branch("key", "The cluster key that seals every frame", list, rotate)
}

// planRotation tells who would change the key.
func (a *app) planRotation(ctx context.Context, c gabv1.LltServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	peers, err := c.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	k, err := c.GetKeys(ctx, &gabv1.GetKeysRequest{})
	if err != nil {
		return err
	}
	var there, absent []string
	for _, p := range peers.GetPeers() {
		switch {
		case p.GetName() == "":
		case p.GetSelf() || p.GetState() == "OPEN" || p.GetState() == "TROUBLE":
			there = append(there, p.GetName())
		default:
			absent = append(absent, p.GetName())
		}
	}
	if a.json() {
		return a.write(a.Out, envelope(field{"encrypted", k.GetEncrypted()}, field{"systems", there}, field{"absent", absent}))
	}
	switch {
	case !k.GetEncrypted():
		fmt.Fprintln(a.Out, "would be refused: frames are not encrypted (set-key-file none)")
	case k.GetRotation() != "":
		fmt.Fprintln(a.Out, "would be refused: a rotation is under way:", k.GetRotation())
	default:
		fmt.Fprintf(a.Out, "would change key %08x on %s\n", k.GetUsed(), strings.Join(there, ", "))
		if len(absent) > 0 {
			fmt.Fprintf(a.Out, "would be left out: %s; each needs the new key file before it starts\n", strings.Join(absent, ", "))
		}
	}
	return nil
}

func printKeys(w io.Writer, k *gabv1.GetKeysResponse) {
	if !k.GetEncrypted() {
		fmt.Fprintln(w, "frames are not encrypted: whoever reaches a link can pose as any system")
		return
	}
	fmt.Fprintf(w, "in use:   %08x (%s)\n", k.GetUsed(), k.GetFile())
	for _, id := range k.GetAccepted()[1:] {
		fmt.Fprintf(w, "accepted: %08x\n", id)
	}
	if k.GetRotation() != "" {
		fmt.Fprintln(w, "rotation under way:", k.GetRotation())
	}
	for _, id := range k.GetOldKeyNodeIds() {
		fmt.Fprintf(w, "node %d comes with the key of before the last rotation: copy %s there, then: ha node start\n", id, k.GetFile())
	}
}
