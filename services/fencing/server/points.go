package server

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/fencing/backend/file"
	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
)

// point is what carries operations out.
type point interface {
	// Do carries out one operation; it ends when ctx does.
	Do(ctx context.Context, op fencing.Operation) fencing.Result
}

// openPoints opens the configured points.
func openPoints(cfg conf.Config, root paths.Root) ([]point, error) {
	points := make([]point, len(cfg.Points))
	for i, p := range cfg.Points {
		if p.Kind != conf.PointFile {
			return nil, fmt.Errorf("open point%d: kind %q is not built in this version", i+1, p.Kind)
		}
		opened, err := file.Open(p.Path, root)
		if err != nil {
			return nil, fmt.Errorf("fencing.conf: point%d: %w", i+1, err)
		}
		points[i] = opened
	}
	return points, nil
}

// powerSwitch asks a power switch.
type powerSwitch interface {
	// Off powers a system off and returns when it is off.
	Off(ctx context.Context, system string) error
	// IsOff asks whether a system is off.
	IsOff(ctx context.Context, system string) (bool, error)
}

// labSwitch is the lab's power switch (R4).
type labSwitch struct{ root paths.Root }

func (s labSwitch) Off(ctx context.Context, system string) error {
	marker, err := lab.ReadMarker(s.root)
	if err != nil {
		return err
	}
	return lab.PowerOff(ctx, marker, system)
}

func (s labSwitch) IsOff(ctx context.Context, system string) (bool, error) {
	marker, err := lab.ReadMarker(s.root)
	if err != nil {
		return false, err
	}
	state, err := lab.PowerState(ctx, marker, system)
	return state == lab.Off, err
}

// Bounds of single operations.
const (
	pointTimeout = time.Second
	powerTimeout = 20 * time.Second
	queryTimeout = time.Second
)

// doPoint runs one operation on a worker and hands its one completion to the
// loop. A point that does not even heed its deadline completes as failed; what
// it may do later is harmless: victims are named with their incarnation.
func (d *Daemon) doPoint(ctx context.Context, e fencing.PointOp) {
	d.workers.Go(func() {
		result := d.try(ctx, e.Point, e.Op)
		d.post(ctx, fencing.PointDone{ID: e.ID, Result: result})
	})
}

// try carries out an operation with the bound of one.
func (d *Daemon) try(ctx context.Context, number int, op fencing.Operation) fencing.Result {
	ctx, cancel := context.WithTimeout(ctx, min(pointTimeout, max(d.cfg.Fencing.RaceTimeout/4, 50*time.Millisecond)))
	defer cancel()
	done := make(chan fencing.Result, 1) // one result; the sender never blocks
	go func() { done <- d.points[number].Do(ctx, op) }()
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return fencing.Result{Outcome: fencing.Failed, Detail: fmt.Sprintf("no answer: %v", ctx.Err())}
	}
}

func (d *Daemon) doPowerOff(ctx context.Context, e fencing.PowerOff) {
	d.workers.Go(func() {
		once, cancel := context.WithTimeout(ctx, powerTimeout)
		defer cancel()
		begin := time.Now()
		err := d.power.Off(once, e.System.Name)
		done := fencing.PowerDone{ID: e.ID, Off: err == nil}
		if err != nil {
			done.Detail = err.Error()
		}
		d.log.Info("power off", "system", e.System.Name, "off", done.Off, "took", time.Since(begin), "error", done.Detail)
		d.post(ctx, done)
	})
}

func (d *Daemon) doPowerQuery(ctx context.Context, e fencing.PowerQuery) {
	d.workers.Go(func() {
		once, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		off, err := d.power.IsOff(once, e.System.Name)
		done := fencing.PowerDone{ID: e.ID, Off: off && err == nil}
		if err != nil {
			done.Detail = err.Error()
		}
		d.post(ctx, done)
	})
}
