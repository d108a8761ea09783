package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/llt"
)

// A disk region behaves like any link to the core: up, down, frames. Its
// requests cannot be cancelled: a device that hangs keeps the goroutine that
// asked it, one for reading and one for writing, until the kernel gives up. So
// each request runs in a goroutine of its own, and the link is down as soon as
// one takes longer than its deadline; nothing else waits for it.

// diskStats are what a region counts beside frames.
type diskStats struct {
	late atomic.Uint64 // requests that took longer than a heartbeat
	bad  atomic.Uint64 // slots that were damaged or torn
}

// errHung says that a request took longer than its deadline.
var errHung = errors.New("a request to the disk does not come back; look at the kernel log and at the paths of the disk")

// attempt runs f. If it takes longer than limit, err is errHung and late is
// closed when f returns at last.
func attempt(limit time.Duration, f func() error) (late <-chan struct{}, err error) {
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() { // ends with the request
		defer close(ended)
		done <- f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return nil, err
	case <-timer.C:
		return ended, errHung
	}
}

// await waits until a request that hung has returned, or ctx is done.
func await(ctx context.Context, late <-chan struct{}) bool {
	if late == nil {
		return true
	}
	select {
	case <-late:
		return true
	case <-ctx.Done():
		return false
	}
}

// liveDisk keeps the region open.
func (l *oneLink) liveDisk(ctx context.Context) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	said := ""
	for ctx.Err() == nil {
		var r *region
		late, err := attempt(l.set.cfg.Deadline, func() (err error) {
			r, err = l.openRegion()
			return err
		})
		if !await(ctx, late) {
			return
		}
		if err == nil {
			said = ""
			l.serveDisk(ctx, r)
			continue
		}
		if r != nil { // it came late
			r.close()
		}
		l.reason.Store(reasonOf(err))
		if said != err.Error() {
			said = err.Error()
			l.log.Warn("link cannot be used", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

func (l *oneLink) openRegion() (*region, error) {
	open := l.set.cfg.openBlocks
	if open == nil {
		open = openBlocks
	}
	dev, err := open(l.spec.Device)
	if err != nil {
		return nil, err
	}
	r, _, err := openRegion(dev, l.spec.Block)
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("link %s, %s: %w", l.spec.Tag, l.spec.Device, err)
	}
	return r, nil
}

// serveDisk runs an open region until a request fails or hangs.
func (l *oneLink) serveDisk(ctx context.Context, r *region) {
	p := &diskPort{news: make(chan struct{}, 1)}
	l.out.Lock()
	l.port, l.full = p, false
	l.out.Unlock()
	l.setUp()
	l.tell(llt.LinkUp{Link: l.id})
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	broken := make(chan error, 2) // one from the reader, one from the writer
	var whole atomic.Bool         // neither left a request behind
	whole.Store(true)
	var both sync.WaitGroup
	run := func(f func(ctx context.Context, r *region) (<-chan struct{}, error)) {
		both.Go(func() {
			late, err := f(inner, r)
			broken <- err
			if !await(ctx, late) {
				whole.Store(false)
			}
		})
	}
	run(l.readSlots)
	run(func(ctx context.Context, r *region) (<-chan struct{}, error) { return l.writeSlot(ctx, r, p) })
	var err error
	select {
	case err = <-broken:
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	l.setDown(err)
	l.out.Lock()
	l.port = nil
	l.dropAll(func(*llt.FrameOut) {})
	l.out.Unlock()
	if ctx.Err() == nil {
		l.log.Warn("link is down", "error", err)
		l.tell(llt.LinkDown{Link: l.id})
	}
	both.Wait()
	if whole.Load() {
		r.close()
	}
}

// diskPort takes beacons from whoever holds the turn, and never waits.
type diskPort struct {
	mu     sync.Mutex
	newest []byte        // nil: nothing to write
	news   chan struct{} // capacity 1: newest is there
}

func (p *diskPort) readers() []reader { return nil }
func (p *diskPort) writable() error   { return nil }
func (p *diskPort) close() error      { return nil }

// write keeps the newest beacon: one that was overtaken need not be written.
func (p *diskPort) write(out []*llt.FrameOut) (int, error) {
	if len(out) == 0 {
		return 0, nil
	}
	p.mu.Lock()
	p.newest = append([]byte(nil), out[len(out)-1].Data...)
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default: // it knows
	}
	return len(out), nil
}

func (p *diskPort) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.newest
	p.newest = nil
	return b
}

// readSlots polls the region twice per heartbeat.
func (l *oneLink) readSlots(ctx context.Context, r *region) (<-chan struct{}, error) {
	poll := time.NewTicker(max(l.set.cfg.Beat/2, time.Millisecond))
	defer poll.Stop()
	var found []llt.Event // of the request under way
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-poll.C:
		}
		found = nil
		began := time.Now()
		var bad int
		late, err := attempt(l.set.cfg.Deadline, func() (err error) {
			bad, err = r.read(func(n llt.NodeID, _ uint64, frame []byte) {
				found = append(found, &llt.FrameIn{Link: l.id, Src: []byte{byte(n)}, Data: append([]byte(nil), frame...)})
			})
			return err
		})
		if err != nil {
			return late, err
		}
		l.disk.bad.Add(uint64(bad))
		if time.Since(began) > l.set.cfg.Beat {
			l.disk.late.Add(1)
		}
		if len(found) > 0 {
			l.set.cfg.Take(found)
		}
	}
}

// writeSlot writes beacons as they come.
func (l *oneLink) writeSlot(ctx context.Context, r *region, p *diskPort) (<-chan struct{}, error) {
	seq := uint64(time.Now().UnixNano()) // another one than any earlier start's
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.news:
		}
		beacon := p.take()
		if beacon == nil || !l.set.cfg.MayGo() {
			continue
		}
		seq++
		began := time.Now()
		late, err := attempt(l.set.cfg.Deadline, func() error { return r.write(l.set.cfg.Node, seq, beacon) })
		if err != nil {
			l.txErrors.Add(1)
			return late, err
		}
		if time.Since(began) > l.set.cfg.Beat {
			l.disk.late.Add(1)
		}
	}
}
