package server

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/evenkeel/evenkeel/internal/journal"
	"github.com/evenkeel/evenkeel/services/had/recorder"
)

// recordHash keeps the hash of the engine now and then, and its state, from
// which a replay can begin when the events before it are dropped.
func (l *loop) recordHash() {
	l.sinceState++
	if l.sinceHash++; l.sinceHash >= hashEvery {
		l.hashNow()
	}
	if l.sinceState >= stateEvery && boottime() >= l.stateAfter {
		l.recordState(false)
	}
}

func (l *loop) hashNow() {
	l.sinceHash = 0
	l.taken.Add(boottime(), recorder.CoreHash, recorder.HashOf(l.engine), 96)
}

// recordState keeps the whole state; anew if no event led to it.
func (l *loop) recordState(anew bool) {
	begin := boottime()
	snapshot := l.engine.Snapshot()
	now := boottime()
	l.taken.Add(now, recorder.CoreState, recorder.State{Anew: anew, Snapshot: snapshot}, len(snapshot))
	l.sinceState, l.stateAfter = 0, now.Add(stateShare*now.Sub(begin))
}

// journalAsked writes the flight recorder when somebody sends SIGUSR1.
func (l *loop) journalAsked() {
	asked := make(chan os.Signal, 1) // one is enough: they all ask for the same
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-asked:
			kept := make(chan struct{})
			l.post(func() {
				l.hashNow()
				close(kept)
			})
			select {
			case <-kept:
				l.writeJournal()
			case <-l.ctx.Done():
				return
			}
		}
	}
}

func (l *loop) writeJournal() {
	path := l.root.State("had.journal")
	if err := journal.Save(path, l.journal, l.taken); err != nil {
		l.log.Error("journal is not saved", "error", err)
		return
	}
	l.log.Info("journal written", "file", path)
}

// saveJournal keeps the flight recorder when had does not end in order. A
// panic of a core goes on; the core is not stepped again.
func (l *loop) saveJournal() {
	broken := recover()
	if broken != nil || l.fatal != nil || !l.left {
		if broken == nil {
			l.hashNow()
		}
		l.writeJournal()
	}
	if broken != nil {
		panic(broken)
	}
}
