package lab

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/evenkeel/evenkeel/internal/localrpc/rpctest"
	_ "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1" // the contracts whose calls are made
	_ "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// TestAnyRequestToGabAndFencing: whatever the fields of a request hold, the
// daemons that a system's life hangs on answer in time and go on; nothing
// leaves the membership. Calls that are meant to end or change something are
// left out: they would do what they are for.
func TestAnyRequestToGabAndFencing(t *testing.T) {
	c := start(t, "testdata/documented", true)
	c.waitGroup("sysA", "app", "sysA", online, 30*time.Second)
	st, err := c.Status(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := c.must("sysA", "gabconfig", "-a")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	meant := map[string]bool{"Leave": true, "Seed": true, "SetTimer": true, "DeclareProtection": true, "ClearKeys": true,
		"Configure": true, "RemoveLink": true, "SetLinkPriority": true, "SetAddress": true, "SetNodes": true}
	for _, daemon := range []string{"gab", "fencing"} {
		conn, err := grpc.NewClient("unix:"+filepath.Join(st.Systems[0].Root, "run/evenkeel", daemon+".sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		calls := 0
		for range 100 {
			for _, m := range rpctest.Methods(protoreflect.FullName("evenkeel." + daemon + ".v1")) {
				if meant[string(m.Name())] {
					continue
				}
				limit := 5 * time.Second
				if m.IsStreamingServer() {
					limit = 50 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(c.ctx, limit)
				err := rpctest.Do(ctx, conn, m, m.Request(r, []string{"sysA", "sysB", "a", "h", "heartbeat"}))
				cancel()
				if m.IsStreamingServer() && status.Code(err) == codes.DeadlineExceeded {
					err = nil
				}
				if wrong := rpctest.Wrong(err); wrong != "" {
					t.Errorf("%s: %s", m.Path(), wrong)
				}
				calls++
			}
		}
		if calls < 300 {
			t.Errorf("only %d calls to %s", calls, daemon)
		}
	}
	if now := c.must("sysA", "gabconfig", "-a"); now != before {
		t.Errorf("the membership changed:\n%s\nbefore:\n%s", now, before)
	}
	c.waitGroup("sysB", "app", "sysA", online, 5*time.Second)
}
