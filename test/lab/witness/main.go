// Command lab-witness watches from outside the cluster who owns a service
// address. It asks "who has ADDRESS?" (ARP, RFC 826) every few milliseconds and
// prints one JSON line whenever the answer changes:
//
//	{"t":1700000000000000000,"owner":"02:00:00:00:00:01"}   answered by this one
//	{"t":...,"owner":""}                                    nobody for a while
//	{"t":...,"violation":"..."}                             two owners
//
// Two owners are: two different hardware addresses in answer to one question,
// or an answer from a former owner after a newer one began to answer, without
// a silence of its own between. It ends on SIGTERM or SIGINT, with exit code 1
// if it saw a violation.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mdlayher/arp"

	"github.com/evenkeel/evenkeel/internal/realtime"
)

// line is one line of output; times are nanoseconds of the wall clock.
type line struct {
	T         int64   `json:"t"`
	Owner     *string `json:"owner,omitempty"`
	Violation string  `json:"violation,omitempty"`
}

func main() {
	device := flag.String("i", "hme0", "interface to ask on")
	address := flag.String("a", "", "service address to watch")
	every := flag.Duration("every", 2*time.Millisecond, "time between questions")
	quiet := flag.Duration("quiet", 40*time.Millisecond, "silence after which nobody owns the address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Threads made later inherit it: who watches must not be late.
	realtime.Take(slog.New(slog.DiscardHandler), realtime.Observer)
	w := &witness{quiet: *quiet, every: *every, out: json.NewEncoder(os.Stdout), last: map[string]time.Time{}}
	if err := w.watch(ctx, *device, *address, *every); err != nil {
		fmt.Fprintln(os.Stderr, "lab-witness:", err)
		os.Exit(2)
	}
	if w.violations > 0 {
		os.Exit(1)
	}
}

type witness struct {
	quiet      time.Duration
	every      time.Duration
	out        *json.Encoder
	owner      string
	heard      time.Time
	unanswered int // questions since the last answer
	last       map[string]time.Time
	violations int
}

func (w *witness) watch(ctx context.Context, device, address string, every time.Duration) error {
	target, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	link, err := net.InterfaceByName(device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", device, err)
	}
	client, err := arp.Dial(link)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", device, err)
	}
	defer client.Close()
	answers := make(chan string, 64) // the reader blocks when full: nothing is dropped
	failed := make(chan error, 1)
	go read(client, target, answers, failed)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case mac := <-answers:
			w.answer(time.Now(), mac)
		case now := <-tick.C:
			// Answers that are there already come before a silence.
			for more := true; more; {
				select {
				case mac := <-answers:
					w.answer(time.Now(), mac)
				default:
					more = false
				}
			}
			w.silence(now)
			w.unanswered++
			// ENETDOWN and the like pass; the silence shows them.
			_ = client.Request(target)
		}
	}
}

// read hands on the sender of every answer for the target.
func read(client *arp.Client, target netip.Addr, answers chan<- string, failed chan<- error) {
	for {
		packet, _, err := client.Read()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			failed <- err
			return
		}
		if packet.Operation == arp.OperationReply && packet.SenderIP == target {
			answers <- packet.SenderHardwareAddr.String()
		}
	}
}

func (w *witness) answer(now time.Time, mac string) {
	for other, heard := range w.last {
		// Another that answered so shortly ago, and again after this one
		// began, owns the address at the same time.
		if other != mac && mac != w.owner && now.Sub(heard) < 3*time.Millisecond {
			w.violate(now, fmt.Sprintf("%s and %s both answered within %v", other, mac, now.Sub(heard)))
		}
	}
	if w.owner != "" && w.owner != mac {
		if before, known := w.last[mac]; known && now.Sub(before) < w.quiet {
			w.violate(now, fmt.Sprintf("%s answers again although %s took over", mac, w.owner))
		}
	}
	w.last[mac] = now
	w.heard = now
	w.unanswered = 0
	if w.owner != mac {
		w.owner = mac
		w.print(line{T: now.UnixNano(), Owner: &mac})
	}
}

// silence counts questions as well as time: a witness that did not run for a
// while has not asked, and says nothing about the owner.
func (w *witness) silence(now time.Time) {
	if w.owner != "" && now.Sub(w.heard) > w.quiet && w.unanswered >= int(w.quiet/w.every) {
		w.owner = ""
		nobody := ""
		// The silence began with the last answer.
		w.print(line{T: w.heard.UnixNano(), Owner: &nobody})
	}
}

func (w *witness) violate(now time.Time, what string) {
	w.violations++
	w.print(line{T: now.UnixNano(), Violation: what})
}

func (w *witness) print(l line) {
	if err := w.out.Encode(l); err != nil {
		fmt.Fprintln(os.Stderr, "lab-witness:", err)
	}
}
