package server

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/evenkeel/evenkeel/internal/messagelog"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// A request for a snapshot that comes out of the order after the last RUNNING
// peer left begins no spool: nothing would end it, and hasys -force would never
// be answered.
func TestLateRequestBeginsNoSpool(t *testing.T) {
	root := newLab(t, "disabled").root("A", twoSystems)
	l, err := newLoop(Config{Root: root, Name: "A", Log: slog.New(slog.DiscardHandler)}, readDisk(root, "A"))
	if err != nil {
		t.Fatal(err)
	}
	l.ctx, l.stop = context.WithCancel(t.Context())
	for _, dir := range []string{root.StateDir(), root.RunDir(), root.LogDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if l.elog, err = messagelog.Open(root.Log("engine")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.elog.Close)
	seq := uint64(0)
	view := func(first bool, names ...string) {
		seq++
		v := &gabv1.View{Id: &gabv1.ViewId{Lineage: 1, Counter: seq}, Seq: seq, First: first}
		for _, name := range names {
			v.Members = append(v.Members, &gabv1.Member{NodeId: uint32(name[0] - 'A'), Name: name})
		}
		v.Systems = v.Members
		l.viewed(v)
	}
	say := func(from uint32, payload []byte) {
		seq++
		l.message(&gabv1.Message{View: &gabv1.ViewId{Lineage: 1, Counter: 1}, Seq: seq, FromNodeId: from, Payload: payload})
	}
	view(true, "A", "B")
	say(1, encodeJSON(kindAnnounce, announce{State: join.Running, View: 1}))
	say(0, encodeJSON(kindAnnounce, announce{State: join.CurrentDiscoverWait, View: 1}))
	if l.join.State() != join.RemoteBuild || l.wantBuild == 0 {
		t.Fatalf("state %s, build %d: no snapshot was asked for", l.join.State(), l.wantBuild)
	}
	request := encodeJSON(kindWanted, wanted{l.wantBuild})
	view(false, "A")
	if l.join.State() != join.AdminWait {
		t.Fatalf("state %s without a RUNNING peer", l.join.State())
	}
	say(0, request)
	if l.spooling {
		t.Error("events are kept for a snapshot that nobody sends")
	}
}

// A caller repeats an operation whose answer it gave up on, at the same system;
// the first message is lost in a change of the membership, the second is on its
// way. Only the first may hear that nobody took the operation (R15).
func TestLostIsSaidOfOneMessage_R15(t *testing.T) {
	l := &loop{waiters: map[string][]*waiter{}, bySend: map[uint64]string{}, asked: map[uint64]*waiter{}, onLost: map[uint64]func(){}}
	first, second := &waiter{reply: make(chan answer, 1), said: 7}, &waiter{reply: make(chan answer, 1), said: 7}
	for i, w := range []*waiter{first, second} {
		l.waiters["one"] = append(l.waiters["one"], w)
		l.bySend[uint64(i+1)], l.asked[uint64(i+1)] = "one", w
	}
	l.outcome(&gabv1.Outcome{MessageId: 1, Result: gabv1.SendResult_SEND_RESULT_LOST})
	if got := <-first.reply; got.err == nil {
		t.Fatal("the caller whose message nobody got was told nothing")
	}
	select {
	case got := <-second.reply:
		t.Fatalf("the second caller was told %v although its message may yet be carried out", got.err)
	default:
	}
	l.answer(engine.CommandResult{RequestID: "one", Said: 7, Code: engine.CodeOK, Pos: engine.Pos{Seq: 9}})
	if got := <-second.reply; got.err != nil || got.result.Pos.Seq != 9 {
		t.Errorf("the second caller was told %+v", got)
	}
	if len(l.waiters) != 0 {
		t.Errorf("%d still wait", len(l.waiters))
	}
}
