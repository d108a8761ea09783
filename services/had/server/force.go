package server

import (
	"context"
	"fmt"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

// buildTime is how long hasys -force waits to hear what came of the build.
const buildTime = 1500 * time.Millisecond

// systemWait hears the states that one system goes through.
type systemWait struct {
	system string
	states chan engine.SystemState // bound 16, more than a build has; full: the rest is not told
}

func (w *systemWait) tell(system, state string) {
	if system != w.system {
		return
	}
	select {
	case w.states <- engine.SystemState(state):
	default:
	}
}

// ForceSystem orders a system to build from its disk and says what came of it:
// a file that is still wrong is an error, not a success.
func (a systemAPI) ForceSystem(ctx context.Context, r *hadv1.ForceSystemRequest) (*hadv1.ForceSystemResponse, error) {
	w := &systemWait{system: r.GetName(), states: make(chan engine.SystemState, 16)}
	if err := a.do(ctx, func() { a.loop.systemWaits[w] = true }); err != nil {
		return nil, err
	}
	// Nobody waits for the loop here: ctx may be done.
	defer a.loop.post(func() { delete(a.loop.systemWaits, w) })
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandSystemForce, System: r.GetName()}, r.GetPlan())
	if err == nil && !r.GetPlan() {
		err = a.built(ctx, w, op.GetRepeatedRequest())
	}
	if err != nil {
		return nil, err
	}
	return &hadv1.ForceSystemResponse{Operation: op}, nil
}

// built waits until the forced system has built, or has given up. A repeated
// request finds what became of the first one.
func (a systemAPI) built(ctx context.Context, w *systemWait, repeated bool) error {
	late := time.NewTimer(buildTime)
	defer late.Stop()
	var state engine.SystemState
	if repeated {
		if err := a.do(ctx, func() { state = a.loop.engine.SystemStatus(w.system).State }); err != nil {
			return err
		}
	}
	for {
		switch state {
		case engine.SystemAdminWait, engine.SystemStaleAdminWait:
			return a.notBuilt(ctx, w.system, state)
		case "", engine.SystemLocalBuild, engine.SystemIniting:
		default:
			return nil
		}
		select {
		case state = <-w.states:
		case <-late.C:
			return nil // It builds still; hasys -state shows what comes of it.
		case <-ctx.Done():
			return nil
		}
	}
}

func (a systemAPI) notBuilt(ctx context.Context, system string, state engine.SystemState) error {
	why := fmt.Sprintf("hacf -verify on %s says what is wrong with its files", system)
	if err := a.do(ctx, func() {
		if system == a.loop.self {
			why = a.loop.join.WaitingFor()
		}
	}); err != nil {
		return err
	}
	return refusal(codes.FailedPrecondition, "BUILD_FAILED", "V-16-1-10624", "ERROR",
		fmt.Sprintf("System %s has not built: it is in %s again: %s", system, state, why))
}
