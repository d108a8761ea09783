package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/test/lab"
)

const (
	// callTime is how long a client waits for an answer. It is shorter than
	// had's own bound, so that clients give up on calls that are then carried out.
	callTime = 1500 * time.Millisecond
	// reachTime is how long it takes to believe that nobody listens.
	reachTime = 400 * time.Millisecond
	// tries bounds the calls of one operation.
	tries = 4
)

var systems = []string{"A", "B", "C"}

// errNotReached: the call was not made.
var errNotReached = errors.New("no had listens")

// places knows where the systems' sockets are; a boot moves them.
type places struct {
	lab   *lab.Lab
	mu    sync.Mutex
	roots map[string]string
	power map[string]string
}

func (p *places) refresh(ctx context.Context) error {
	st, err := p.lab.Status(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roots, p.power = map[string]string{}, map[string]string{}
	for _, s := range st.Systems {
		p.roots[s.Name], p.power[s.Name] = s.Root, s.State
	}
	return nil
}

func (p *places) root(system string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.power[system] != "on" {
		return ""
	}
	return p.roots[system]
}

// client is one operator: one operation at a time, at any system.
type client struct {
	number int
	places *places
	begin  time.Time
	random *rand.Rand
	seed   uint64
	ops    []Op
	conns  map[string]*grpc.ClientConn
}

func newClient(number int, p *places, begin time.Time, seed uint64) *client {
	return &client{number: number, places: p, begin: begin, seed: seed, random: rand.New(rand.NewPCG(seed, uint64(number))),
		conns: map[string]*grpc.ClientConn{}}
}

func (c *client) close() {
	for _, conn := range c.conns {
		_ = conn.Close() // nothing is outstanding
	}
}

func (c *client) now() int64 { return int64(time.Since(c.begin)) }

// reach returns a connection that stands.
func (c *client) reach(ctx context.Context, system string) (*grpc.ClientConn, error) {
	root := c.places.root(system)
	if root == "" {
		return nil, errNotReached
	}
	conn := c.conns[root]
	if conn == nil {
		var err error
		conn, err = grpc.NewClient("unix:"+filepath.Join(root, "run/evenkeel/had.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		c.conns[root] = conn
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	for {
		state := conn.GetState()
		if state == connectivity.Ready {
			return conn, nil
		}
		if state == connectivity.TransientFailure {
			conn.ResetConnectBackoff()
		}
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return nil, errNotReached
		}
	}
}

// ordered is a changing call.
type ordered func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error)

// attempt makes one call and says what is known afterwards.
func (c *client) attempt(ctx context.Context, system, id string, call ordered) Try {
	t := Try{System: system, Outcome: Void}
	conn, err := c.reach(ctx, system)
	if err != nil {
		t.Said = err.Error()
		return t
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	op, err := call(ctx, conn, id)
	if err == nil {
		t.Outcome, t.Repeated, t.Pos = OK, op.GetRepeatedRequest(), position(op.GetPosition())
		return t
	}
	t.Outcome, t.Said = Unknown, err.Error()
	st := status.Convert(err)
	for _, detail := range st.Details() {
		info, is := detail.(*errdetails.ErrorInfo)
		if !is {
			continue
		}
		t.No = info.GetMetadata()["message_id"]
		switch {
		case info.GetReason() == "OUTCOME_UNKNOWN":
		case st.Code() == codes.Unavailable || info.GetReason() == "NOT_RUNNING":
			t.Outcome = Void // contract of shared.proto: it was not taken
		default:
			t.Outcome = Refused
		}
	}
	return t
}

func position(p *hadv1.Position) Position {
	return Position{Lineage: p.GetLineage(), View: p.GetView(), Seq: p.GetSeq()}
}

// order carries an operation through: where the outcome is unknown, it is asked
// for again with the same request id at another system; now and then also where
// it is known, as if the answer had been lost.
func (c *client) order(ctx context.Context, op Op, call ordered) Op {
	op.Client, op.Call, op.Outcome = c.number, c.now(), Void
	op.ID = fmt.Sprintf("linear-%d-%d-%d", c.seed, c.number, len(c.ops))
	where := c.random.IntN(len(systems))
	again := c.random.IntN(8) == 0
	for range tries {
		t := c.attempt(ctx, systems[where], op.ID, call)
		op.Tries = append(op.Tries, t)
		where = (where + 1 + c.random.IntN(len(systems)-1)) % len(systems)
		switch {
		case op.Outcome == OK || op.Outcome == Refused: // asked again, and answers compares
		case t.Outcome == OK || t.Outcome == Refused:
			op.Outcome, op.Pos, op.No, op.System, op.Return = t.Outcome, t.Pos, t.No, t.System, c.now()
		case t.Outcome == Unknown:
			op.Outcome, op.System = Unknown, t.System
		}
		if (op.Outcome == OK || op.Outcome == Refused) && !again {
			break
		}
		if op.Outcome == OK || op.Outcome == Refused {
			again = false
		}
		if ctx.Err() != nil {
			break
		}
	}
	if op.Return == 0 {
		op.Return = c.now()
	}
	c.ops = append(c.ops, op)
	return op
}

// edit is a change of the configuration in the words of a command.
func edit(args ...string) ordered {
	return func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
		r, err := hadv1.NewConfigServiceClient(conn).ChangeConfig(ctx, &hadv1.ChangeConfigRequest{RequestId: id, Edits: []*hadv1.ConfigEdit{{Args: args}}})
		return r.GetOperation(), err
	}
}

func makeWritable(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
	r, err := hadv1.NewConfigServiceClient(conn).MakeWritable(ctx, &hadv1.MakeWritableRequest{RequestId: id})
	return r.GetOperation(), err
}

func makeReadOnly(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
	r, err := hadv1.NewConfigServiceClient(conn).DumpConfig(ctx, &hadv1.DumpConfigRequest{RequestId: id, MakeReadonly: true})
	return r.GetOperation(), err
}

func freeze(group string) ordered {
	return func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
		r, err := hadv1.NewGroupServiceClient(conn).FreezeGroup(ctx, &hadv1.FreezeGroupRequest{RequestId: id, Name: group})
		return r.GetOperation(), err
	}
}

func unfreeze(group string) ordered {
	return func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
		r, err := hadv1.NewGroupServiceClient(conn).UnfreezeGroup(ctx, &hadv1.UnfreezeGroupRequest{RequestId: id, Name: group})
		return r.GetOperation(), err
	}
}

func (c *client) move(system string) ordered {
	what := c.random.IntN(4)
	return func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
		groups := hadv1.NewGroupServiceClient(conn)
		switch what {
		case 0:
			r, err := groups.OfflineGroup(ctx, &hadv1.OfflineGroupRequest{RequestId: id, Name: "moves", AnySystem: true})
			return r.GetOperation(), err
		case 1:
			r, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{RequestId: id, Name: "moves", System: system})
			return r.GetOperation(), err
		}
		r, err := groups.SwitchGroup(ctx, &hadv1.SwitchGroupRequest{RequestId: id, Name: "moves", ToSystem: system})
		return r.GetOperation(), err
	}
}

// look reads a replica; nil if its had is not RUNNING.
func (c *client) look(ctx context.Context, system string) (map[string]string, Position, error) {
	conn, err := c.reach(ctx, system)
	if err != nil {
		return nil, Position{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	st, err := hadv1.NewClusterServiceClient(conn).GetStatus(ctx, &hadv1.GetStatusRequest{})
	if err != nil {
		return nil, Position{}, err
	}
	if st.GetLocalState() != "RUNNING" {
		return nil, Position{}, fmt.Errorf("%s is %s", system, st.GetLocalState())
	}
	seen := map[string]string{"group x0": "0", "group x1": "0", "writable": "0", "frozen": "0"}
	for _, a := range st.GetCluster().GetAttributes() {
		if a.GetName() == "ReadOnly" && a.GetValue() == "0" {
			seen["writable"] = "1"
		}
	}
	for _, g := range st.GetGroups() {
		switch g.GetName() {
		case "x0", "x1":
			seen["group "+g.GetName()] = "1"
		case "still":
			if g.GetFrozen() {
				seen["frozen"] = "1"
			}
		case "r0", "r1":
			for _, a := range g.GetAttributes() {
				if a.GetName() == "UserStrGlobal" {
					seen[g.GetName()] = a.GetValue()
				}
			}
		}
	}
	return seen, position(st.GetPosition()), nil
}

// read reads the replica of a system.
func (c *client) read(ctx context.Context, system string) {
	op := Op{Client: c.number, Kind: "read", System: system, Call: c.now(), Outcome: Void}
	if seen, at, err := c.look(ctx, system); err == nil {
		op.Seen, op.At, op.Outcome = seen, at, OK
	}
	op.Return = c.now()
	c.ops = append(c.ops, op)
}

// barrier reads a system's replica behind an ordered operation of its own: what
// was answered before it began is in what it sees.
func (c *client) barrier(ctx context.Context, system string) bool {
	op := Op{Client: c.number, Kind: "barrier", System: system, Call: c.now(), Outcome: Void,
		ID: fmt.Sprintf("linear-%d-%d-%d", c.seed, c.number, len(c.ops))}
	t := c.attempt(ctx, system, op.ID, func(ctx context.Context, conn *grpc.ClientConn, id string) (*hadv1.Operation, error) {
		r, err := hadv1.NewSystemServiceClient(conn).SetSystemLoad(ctx, &hadv1.SetSystemLoadRequest{RequestId: id, Name: system, Load: int32(c.number)})
		return r.GetOperation(), err
	})
	op.Tries = []Try{t}
	if t.Outcome == OK {
		if seen, at, err := c.look(ctx, system); err == nil {
			op.Seen, op.At, op.Pos, op.Outcome = seen, at, t.Pos, OK
		} else {
			op.Tries = nil // an operation of no consequence, and nothing read
		}
	}
	op.Return = c.now()
	c.ops = append(c.ops, op)
	return op.Outcome == OK
}

// act does one random thing.
func (c *client) act(ctx context.Context) {
	system := systems[c.random.IntN(len(systems))]
	home := systems[c.number%len(systems)]
	on := fmt.Sprint(c.random.IntN(2))
	set := c.random.IntN(2) == 0
	switch n := c.random.IntN(100); {
	case n < 28:
		value := fmt.Sprintf("v%d-%d", c.number, len(c.ops))
		c.order(ctx, Op{Kind: "write", Object: "r" + on, Value: value}, edit("hagrp", "-modify", "r"+on, "UserStrGlobal", value))
	case n < 38 && set:
		c.order(ctx, Op{Kind: "set", Object: "group x" + on}, edit("hagrp", "-add", "x"+on))
	case n < 38:
		c.order(ctx, Op{Kind: "clear", Object: "group x" + on}, edit("hagrp", "-delete", "x"+on))
	case n < 50 && set:
		c.order(ctx, Op{Kind: "set", Object: "frozen"}, freeze("still"))
	case n < 50:
		c.order(ctx, Op{Kind: "clear", Object: "frozen"}, unfreeze("still"))
	case n < 56:
		c.order(ctx, Op{Kind: "set", Object: "writable"}, makeWritable)
	case n < 58:
		c.order(ctx, Op{Kind: "clear", Object: "writable"}, makeReadOnly)
	case n < 64:
		c.order(ctx, Op{Kind: "move"}, c.move(system))
	case n < 76:
		c.barrier(ctx, system)
	case n < 90:
		c.read(ctx, home)
	default:
		c.read(ctx, system)
	}
}

// settle gives every object a value that all systems have.
func (c *client) settle(ctx context.Context) (map[string]string, error) {
	want := map[string]string{"writable": "1", "group x0": "0", "group x1": "0", "frozen": "0",
		"r0": fmt.Sprintf("begin-%d", c.seed), "r1": fmt.Sprintf("begin-%d", c.seed)}
	orders := []struct {
		object string
		call   ordered
	}{{"writable", makeWritable}, {"group x0", edit("hagrp", "-delete", "x0")}, {"group x1", edit("hagrp", "-delete", "x1")},
		{"frozen", unfreeze("still")}, {"r0", edit("hagrp", "-modify", "r0", "UserStrGlobal", want["r0"])},
		{"r1", edit("hagrp", "-modify", "r1", "UserStrGlobal", want["r1"])}}
	err := lab.Until(ctx, "the objects to have their first values everywhere", func(ctx context.Context) (bool, string) {
		for _, o := range orders {
			if seen, _, err := c.look(ctx, "A"); err == nil && seen[o.object] != want[o.object] {
				c.order(ctx, Op{Kind: "settle"}, o.call)
			}
		}
		for _, s := range systems {
			if seen, _, err := c.look(ctx, s); err != nil || !maps.Equal(seen, want) {
				return false, fmt.Sprint(s, seen, err, last(c.ops).Tries)
			}
		}
		return true, ""
	})
	return want, err
}

func last(ops []Op) Op {
	if len(ops) == 0 {
		return Op{}
	}
	return ops[len(ops)-1]
}

// whole says whether every system is RUNNING and sees the others so.
func (c *client) whole(ctx context.Context) (bool, string) {
	for _, s := range systems {
		conn, err := c.reach(ctx, s)
		if err != nil {
			return false, s + ": " + err.Error()
		}
		limited, cancel := context.WithTimeout(ctx, callTime)
		st, err := hadv1.NewClusterServiceClient(conn).GetStatus(limited, &hadv1.GetStatusRequest{Brief: true})
		cancel()
		if err != nil {
			return false, s + ": " + err.Error()
		}
		if st.Gate != nil || len(st.GetSystems()) != len(systems) {
			return false, fmt.Sprintf("%s knows %d systems; gate %q", s, len(st.GetSystems()), st.GetGate())
		}
		for _, x := range st.GetSystems() {
			if x.GetState() != "RUNNING" || x.GetFreshness().GetStale() {
				return false, fmt.Sprintf("%s says %s is %s", s, x.GetName(), x.GetState())
			}
		}
	}
	return true, ""
}
