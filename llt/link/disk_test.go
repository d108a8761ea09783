package link

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// diskImage is a file that stands for a shared disk, behind a loop device where
// that is possible.
func diskImage(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", "disk") // not /tmp: it may be in memory and refuse O_DIRECT
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, err := filepath.Abs(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", path).CombinedOutput()
	if err != nil {
		t.Logf("no loop device (%v: %s); the file itself is the disk", err, bytes.TrimSpace(out))
		return path
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	return device
}

func initialise(t *testing.T, path string) {
	t.Helper()
	var id [16]byte
	rand.Read(id[:])
	if err := InitRegion(path, 16, id, "test", true); err != nil {
		t.Skipf("nothing here takes O_DIRECT: %v", err)
	}
}

// TestRegion: a region is refused where something lies, slots come back as they
// were written, torn and damaged ones count for nothing.
func TestRegion(t *testing.T) {
	path := diskImage(t)
	if _, _, err := ReadRegion(path, 16); err == nil || !strings.Contains(err.Error(), "gabdiskconf -i") {
		t.Errorf("an empty disk: %v", err)
	}
	initialise(t, path)
	if err := InitRegion(path, 16, [16]byte{9}, "", false); err == nil || !strings.Contains(err.Error(), "a heartbeat region is there") {
		t.Errorf("a second initialisation: %v", err)
	}
	dev, err := openBlocks(path)
	if err != nil {
		t.Fatal(err)
	}
	r, info, err := openRegion(dev, 16)
	if err != nil || info.Signature != "test" {
		t.Fatal(info, err)
	}
	defer r.close()
	got := map[llt.NodeID]string{}
	look := func() int {
		clear(got)
		bad, err := r.read(func(n llt.NodeID, _ uint64, frame []byte) { got[n] = string(frame) })
		if err != nil {
			t.Fatal(err)
		}
		return bad
	}
	for _, n := range []llt.NodeID{0, 63} {
		if err := r.write(n, 5, []byte("beacon")); err != nil {
			t.Fatal(err)
		}
	}
	if bad := look(); bad != 0 || len(got) != 2 || got[63] != "beacon" {
		t.Errorf("read %v, %d bad", got, bad)
	}
	if look(); len(got) != 0 {
		t.Errorf("a slot that has not changed came again: %v", got)
	}
	// A torn write: the first sector is new, the rest is not.
	putSlot(r.out, 0, r.id, 6, bytes.Repeat([]byte("x"), 2000))
	clear(r.out[512:])
	if _, err := dev.WriteAt(r.out, r.at+slotSize); err != nil {
		t.Fatal(err)
	}
	if bad := look(); bad != 1 || len(got) != 0 {
		t.Errorf("a torn slot gave %v, %d bad", got, bad)
	}
	if err := r.write(1, 1, make([]byte, MaxBeacon+1)); err == nil {
		t.Error("a frame larger than a slot was written")
	}
}

// FuzzSlot: what parses is what was put.
func FuzzSlot(f *testing.F) {
	b := make([]byte, slotSize)
	putSlot(b, 3, [16]byte{1}, 7, []byte("beacon"))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseRegion(b); err == nil && len(b) < slotSize {
			t.Error("a short block is a region")
		}
		seq, frame, ok := parseSlot(b, 3, [16]byte{1})
		if !ok {
			return
		}
		again := make([]byte, slotSize)
		putSlot(again, 3, [16]byte{1}, seq, frame)
		if n := slotHeader + len(frame) + 4; !bytes.Equal(again[:n], b[:n]) {
			t.Error("another slot came out")
		}
	})
}

// hanging is a disk whose requests do not come back while it hangs.
type hanging struct {
	blockIO
	mu    sync.Mutex
	hangs chan struct{} // nil: it works
}

func (h *hanging) wait() {
	h.mu.Lock()
	c := h.hangs
	h.mu.Unlock()
	if c != nil {
		<-c
	}
}

func (h *hanging) ReadAt(b []byte, at int64) (int, error) { h.wait(); return h.blockIO.ReadAt(b, at) }
func (h *hanging) WriteAt(b []byte, at int64) (int, error) {
	h.wait()
	return h.blockIO.WriteAt(b, at)
}

func (h *hanging) hang(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if on {
		h.hangs = make(chan struct{})
	} else if h.hangs != nil {
		close(h.hangs)
		h.hangs = nil
	}
}

// TestHungDisk: a disk that does not come back takes its own link down and
// nothing else, neither the other link nor Close; when it is back, so is the
// link.
func TestHungDisk(t *testing.T) {
	path := diskImage(t)
	initialise(t, path)
	disk := &hanging{}
	events := make(chan string, 1024)
	set, err := Open(Config{
		Links: []conf.Link{{Tag: "disk1", Kind: conf.Disk, Device: path, Block: 16}}, Node: 2,
		MayGo: func() bool { return true }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Beat: 20 * time.Millisecond, Deadline: 200 * time.Millisecond,
		Take: func(evs []llt.Event) {
			for _, ev := range evs {
				if f, ok := ev.(*llt.FrameIn); ok {
					events <- "frame " + string(f.Data)
				} else {
					events <- ev.String()
				}
			}
		},
		openBlocks: func(path string) (blockIO, error) {
			dev, err := openBlocks(path)
			disk.blockIO = dev
			return disk, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(want string) {
		t.Helper()
		over := time.After(20 * time.Second)
		for {
			select {
			case got := <-events:
				if got == want {
					return
				}
			case <-over:
				t.Fatalf("%q did not come: %+v", want, set.Stats()[0])
			}
		}
	}
	say := func(text string) {
		set.Send(&llt.FrameOut{Data: []byte(text), Urgent: true})
		set.Flush(func(*llt.FrameOut) {})
	}
	wait("link-up link=0")
	say("one")
	wait("frame one")
	disk.hang(true)
	wait("link-down link=0")
	if s := set.Stats()[0]; s.Up || !strings.Contains(s.Reason, "does not come back") {
		t.Errorf("stats of a hung disk: %+v", s)
	}
	say("lost") // nobody waits for the disk
	disk.hang(false)
	wait("link-up link=0")
	say("two")
	wait("frame two")
	disk.hang(true)
	closed := make(chan struct{})
	go func() { set.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("Close waits for a disk that hangs")
	}
	disk.hang(false)
}
