package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/llt"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

// Rotation of the cluster key (R20). The steps are ordered messages, so every
// member takes them at the same place of the total order:
//
//	install  every member accepts the new key too and has it on disk
//	use      all have said so: from here on every member seals with it
//	drop     all have said that it is in their key file: the old one counts
//	         for nothing any more
//
// The lowest member drives: it says use and drop, and begins again with install
// when somebody joins meanwhile. So the death of any member stops nothing.
const (
	controlKey byte = 'K'

	stepInstall   byte = 1 // id, key
	stepInstalled byte = 2 // id
	stepUse       byte = 3 // id
	stepUsed      byte = 4 // id
	stepDrop      byte = 5 // id
	stepAbort     byte = 6 // id, why
)

// rotation is what this system knows of the rotation under way.
type rotation struct {
	id    uint64
	key   llt.Key
	phase byte   // stepInstall or stepUse
	done  uint64 // nodes that have done it
	said  byte   // the last step that this driver ordered
	begun uint64 // members when it began; another set begins again
}

// rotationWait is a RotateKey call.
type rotationWait struct {
	id   uint64
	done chan error // bound 1
}

func keyMessage(step byte, id uint64, rest []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{controlKey, 1, step}, id)
	return append(b, rest...)
}

// control orders a message of the daemons.
func (l *loop) control(b []byte) { l.gabQueue = append(l.gabQueue, gab.Control{Payload: b}) }

// controlIn takes an ordered message of the daemons.
func (l *loop) controlIn(e gab.ControlOrdered) {
	b := e.Payload
	if len(b) < 11 || b[0] != controlKey || b[1] != 1 {
		return // another version's; nothing depends on it
	}
	step, id, rest := b[2], binary.BigEndian.Uint64(b[3:]), b[11:]
	if step == stepInstall {
		l.installKey(id, bytes.Clone(rest))
		return
	}
	r := l.rot
	if r == nil || r.id != id {
		return
	}
	switch step {
	case stepInstalled, stepUsed:
		if (step == stepInstalled) == (r.phase == stepInstall) {
			r.done |= 1 << e.From.Node
		}
		l.drive()
	case stepUse:
		l.useKey(r)
	case stepDrop:
		l.dropKeys(r)
	case stepAbort:
		l.abortRotation(r, string(rest))
	}
}

func (l *loop) installKey(id uint64, key llt.Key) {
	if l.rot != nil && l.rot.id != id {
		l.endRotation(id, errors.New("another rotation is under way"))
		return
	}
	if len(l.s.cfg.Key) == 0 || len(key) < 32 {
		l.log.Error("a rotation of the cluster key reached a system that cannot take part: it runs without encryption")
		return
	}
	l.rot = &rotation{id: id, key: key, phase: stepInstall, begun: l.memberMask()}
	l.s.cfg.NextKey = key
	l.lltQueue = append(l.lltQueue, llt.InstallKey{Key: key})
	l.onDisk(id, stepInstalled, func() error { return writeKey(l.s.cfg.KeyFile+".new", key) })
}

func (l *loop) useKey(r *rotation) {
	r.phase, r.done = stepUse, 0
	old := l.s.cfg.Key
	if !bytes.Equal(old, r.key) {
		l.s.cfg.OldKeys = append(l.s.cfg.OldKeys, old)
	}
	l.s.cfg.Key, l.s.cfg.NextKey = r.key, nil
	l.lltQueue = append(l.lltQueue, llt.UseKey{ID: r.key.ID()})
	l.onDisk(r.id, stepUsed, func() error { return replaceKey(l.s.cfg.KeyFile, r.key) })
}

// dropKeys ends the rotation: only the new key counts from here on.
func (l *loop) dropKeys(r *rotation) {
	for _, id := range l.llt.Keys() {
		if id != r.key.ID() {
			l.lltQueue = append(l.lltQueue, llt.DropKey{ID: id})
		}
	}
	l.log.Info("the cluster key was changed", "key", fmt.Sprintf("%08x", r.key.ID()), "id", "V-14-1-20007")
	l.rot = nil
	l.endRotation(r.id, nil)
}

// abortRotation goes back to the key in use, if nobody uses the new one yet.
func (l *loop) abortRotation(r *rotation, why string) {
	if r.phase != stepInstall {
		l.log.Error("the new cluster key is in use, but a system could not write its key file; it must be copied there before gab starts again", "why", why)
		return
	}
	l.rot, l.s.cfg.NextKey = nil, nil
	l.lltQueue = append(l.lltQueue, llt.DropKey{ID: r.key.ID()})
	file := l.s.cfg.KeyFile + ".new"
	l.workers.Go(func() { _ = os.Remove(file) }) // one file; a leftover is overwritten by the next rotation
	l.endRotation(r.id, fmt.Errorf("the cluster key stays as it was: %s", why))
}

func (l *loop) endRotation(id uint64, err error) {
	var left []rotationWait
	for _, w := range l.rotWaits {
		if w.id != id {
			left = append(left, w)
			continue
		}
		w.done <- err
	}
	l.rotWaits = left
}

// onDisk does something with the key file, away from the turn, and orders the
// word that it is done.
func (l *loop) onDisk(id uint64, done byte, f func() error) {
	l.workers.Go(func() { // ends with the write and the turn after it
		err := f()
		_ = l.do(l.background, func() { // the incarnation may be over: then nobody waits
			if err != nil {
				l.log.Error("the key file cannot be written", "error", err)
				l.control(keyMessage(stepAbort, id, []byte(fmt.Sprintf("%s: %.300s", l.name(gab.NodeID(l.s.cfg.Node)), err))))
				return
			}
			l.control(keyMessage(done, id, nil))
		})
	})
}

// memberMask are the systems of the view.
func (l *loop) memberMask() (mask uint64) {
	for _, m := range l.gab.Status().Systems {
		mask |= 1 << m.Node
	}
	return mask
}

// drive goes on with the rotation, if this system is the lowest member.
func (l *loop) drive() {
	r := l.rot
	mask := l.memberMask()
	if r == nil || mask == 0 || bits.TrailingZeros64(mask) != int(l.s.cfg.Node) {
		return
	}
	if mask&^r.begun != 0 { // somebody came who may know nothing of it
		r.begun, r.said = mask, 0
		l.control(keyMessage(stepInstall, r.id, r.key))
		return
	}
	next := stepUse
	if r.phase == stepUse {
		next = stepDrop
	}
	if r.done&mask == mask && r.said != next {
		r.said = next
		l.control(keyMessage(next, r.id, nil))
	}
}

// keyAdopted follows LLT, which saw that the others use the key that an earlier
// rotation left here.
func (l *loop) keyAdopted() {
	key, file := l.s.cfg.NextKey, l.s.cfg.KeyFile
	if key == nil {
		return
	}
	l.s.cfg.OldKeys = append(l.s.cfg.OldKeys, l.s.cfg.Key)
	l.s.cfg.Key, l.s.cfg.NextKey = key, nil
	l.log.Warn("the cluster key was changed while this system was down; it had the new one already and uses it now", "key", fmt.Sprintf("%08x", key.ID()), "id", "V-14-1-20007")
	l.workers.Go(func() {
		if err := replaceKey(file, key); err != nil {
			l.log.Error("the key file cannot be written", "error", err)
		}
	})
}

// RotateKey changes the cluster key of all members while they run.
func (s *Server) RotateKey(ctx context.Context, r *gabv1.RotateKeyRequest) (*gabv1.RotateKeyResponse, error) {
	key := llt.Key(bytes.Clone(r.GetKey()))
	if len(key) == 0 {
		key = make(llt.Key, 32)
		rand.Read(key)
	}
	if len(key) < 32 || len(key) > 256 {
		return nil, status.Errorf(codes.InvalidArgument, "the new key has %d bytes; 32 to 256 random ones are needed", len(key))
	}
	out := &gabv1.RotateKeyResponse{KeyId: key.ID()}
	wait := rotationWait{id: random64(), done: make(chan error, 1)}
	var l *loop
	err := s.change(ctx, func(now *loop) error {
		l = now
		switch {
		case !l.llt.Encrypted():
			return status.Error(codes.FailedPrecondition, "frames are not encrypted (set-key-file none in llttab), so there is no key to change; stop all systems and give them a key")
		case !l.standing.Load() || l.memberMask() == 0:
			return status.Error(codes.FailedPrecondition, "this system is in no membership; the key is changed where the cluster runs: gabconfig -a")
		case l.rot != nil:
			return status.Errorf(codes.FailedPrecondition, "a rotation is under way: %s", l.rotationText())
		case key.ID() == l.s.cfg.Key.ID():
			return status.Error(codes.InvalidArgument, "that is the key in use")
		}
		mask := l.memberMask()
		for _, n := range s.cfg.Hosts.IDs() {
			if mask&(1<<n) != 0 {
				out.Systems = append(out.Systems, l.name(gab.NodeID(n)))
			} else {
				out.Absent = append(out.Absent, l.name(gab.NodeID(n)))
			}
		}
		l.rotWaits = append(l.rotWaits, wait)
		l.control(keyMessage(stepInstall, wait.id, key))
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case err = <-wait.done:
	case <-l.done:
		err = errors.New("this system left the cluster; ask a member what became of the rotation: ha key list")
	case <-ctx.Done():
		return nil, status.Error(codes.DeadlineExceeded, "the rotation goes on: ha key list")
	}
	if err != nil {
		return nil, status.Error(codes.Aborted, err.Error())
	}
	return out, nil
}

// rotationText says what the rotation under way waits for.
func (l *loop) rotationText() string {
	r := l.rot
	if r == nil {
		return ""
	}
	what := "to accept the new key"
	if r.phase == stepUse {
		what = "to keep the new key on disk"
	}
	text := fmt.Sprintf("key %08x: waits for", r.key.ID())
	for _, m := range l.gab.Status().Systems {
		if r.done&(1<<m.Node) == 0 {
			text += " " + l.name(m.Node)
		}
	}
	return text + " " + what
}

// GetKeys tells which cluster keys are accepted and used.
func (s *Server) GetKeys(ctx context.Context, _ *gabv1.GetKeysRequest) (*gabv1.GetKeysResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.GetKeysResponse{}
	err = l.do(ctx, func() {
		out.Encrypted, out.Accepted, out.Rotation = l.llt.Encrypted(), l.llt.Keys(), l.rotationText()
		if len(out.Accepted) > 0 {
			out.Used, out.File = out.Accepted[0], s.cfg.KeyFile
		}
		seen := map[int]bool{}
		for _, t := range l.llt.Troubles(l.last) {
			if t.Cause == "old-key" && !seen[t.Node] && l.conns[t.Node] == 0 {
				seen[t.Node] = true
				out.OldKeyNodeIds = append(out.OldKeyNodeIds, uint32(t.Node))
			}
		}
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}

// writeKey writes a key file as a whole or not at all, for root only.
func writeKey(path string, key llt.Key) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	defer os.Remove(f.Name()) // of no effect once it was renamed
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// replaceKey makes a key that of the file; the one before stays beside it as
// .old, so that who comes with it is told from a stranger.
func replaceKey(path string, key llt.Key) error {
	before, err := readKey(path)
	if err == nil && bytes.Equal(before, key) {
		return os.RemoveAll(path + ".new")
	}
	if err == nil {
		if err := writeKey(path+".old", before); err != nil {
			return err
		}
	}
	if err := writeKey(path, key); err != nil {
		return err
	}
	return os.RemoveAll(path + ".new")
}
