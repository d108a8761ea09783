// Command lab-gabload measures broadcast on GAB as a client sees it: it joins a
// port through the daemon's stream, waits for the other members, and sends.
// With -listen it only joins and takes what comes.
//
// It prints one JSON line: messages per second with the window full, and the
// time from send to delivery at the sender with one message in flight.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/gabclient"
	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// result is the line of output.
type result struct {
	PerSecond float64 `json:"per_second"`
	P50us     float64 `json:"p50_us"`
	P99us     float64 `json:"p99_us"`
	Messages  int     `json:"messages"`
}

func main() {
	port := flag.String("port", "k", "port letter")
	listen := flag.Bool("listen", false, "join and listen until killed")
	members := flag.Int("members", 2, "members to wait for")
	size := flag.Int("size", 64, "bytes of a message, at least 8")
	batch := flag.Int("batch", 1, "messages in one Send of the stream, 1 to 256")
	lasting := flag.Duration("for", 2*time.Second, "how long to send at full rate")
	pings := flag.Int("pings", 2000, "messages sent one at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := gabclient.Attach(ctx, gabclient.Config{Socket: paths.FromEnvironment().Socket("gab"), Port: *port, Client: "gabload"})
	if err == nil {
		defer client.Close()
		load := &load{client: client, size: max(*size, 8), batch: min(max(*batch, 1), 256)}
		if *listen {
			err = load.listen(ctx)
		} else {
			err = load.measure(ctx, *members, *lasting, *pings)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab-gabload:", err)
		os.Exit(1)
	}
}

type load struct {
	client      *gabclient.Client
	size, batch int
	self        uint32
}

// next returns the next view or message, or an error when the port is gone.
func (l *load) next(ctx context.Context) (*gabv1.AttachResponse, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case event, open := <-l.client.Events():
		if !open {
			return nil, fmt.Errorf("the port is gone: %w", l.client.Err())
		}
		return event, nil
	}
}

func (l *load) listen(ctx context.Context) error {
	for {
		if _, err := l.next(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func (l *load) measure(ctx context.Context, members int, lasting time.Duration, pings int) error {
	l.self = l.client.Registered().GetSelf().GetNodeId()
	for {
		event, err := l.next(ctx)
		if err != nil {
			return err
		}
		if view := event.GetView(); view != nil && len(view.GetMembers()) >= members {
			break
		}
	}
	times, err := l.onebyone(ctx, pings)
	if err != nil {
		return err
	}
	count, took, err := l.flood(ctx, lasting)
	if err != nil {
		return err
	}
	slices.Sort(times)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return json.NewEncoder(os.Stdout).Encode(result{
		PerSecond: float64(count) / took.Seconds(), Messages: count,
		P50us: us(times[len(times)/2]), P99us: us(times[len(times)*99/100]),
	})
}

// delivered waits until so many own messages came back.
func (l *load) delivered(ctx context.Context, count int) error {
	for count > 0 {
		event, err := l.next(ctx)
		if err != nil {
			return err
		}
		if message := event.GetMessage(); message != nil && message.GetFromNodeId() == l.self {
			count--
		}
	}
	return nil
}

func (l *load) onebyone(ctx context.Context, pings int) ([]time.Duration, error) {
	payload := make([]byte, l.size)
	var times []time.Duration
	for i := range pings {
		binary.BigEndian.PutUint64(payload, uint64(i))
		began := time.Now()
		if _, err := l.client.Send(ctx, payload); err != nil {
			return nil, err
		}
		if err := l.delivered(ctx, 1); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

// flood keeps the stream's credits used up for a while, then counts what was
// delivered until the last one came back.
func (l *load) flood(ctx context.Context, lasting time.Duration) (int, time.Duration, error) {
	began := time.Now()
	sent := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		count := 0
		for time.Since(began) < lasting {
			payloads := make([][]byte, l.batch)
			for i := range payloads {
				payloads[i] = make([]byte, l.size)
			}
			if _, err := l.client.Send(ctx, payloads...); err != nil {
				failed <- err
				return
			}
			count += l.batch
		}
		sent <- count
	}()
	came, total := 0, -1
	for total < 0 || came < total {
		select {
		case total = <-sent:
		case err := <-failed:
			return 0, 0, err
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case event, open := <-l.client.Events():
			if !open {
				return 0, 0, fmt.Errorf("the port is gone: %w", l.client.Err())
			}
			if message := event.GetMessage(); message != nil && message.GetFromNodeId() == l.self {
				came++
			}
		}
	}
	return came, time.Since(began), nil
}
