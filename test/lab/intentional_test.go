package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIntentionalOffline: what somebody stops on purpose outside of the cluster
// is no fault: its group goes offline and stays so; what somebody starts brings
// it online there; what dies fails over (E114, E115).
func TestIntentionalOffline(t *testing.T) {
	needsRoot(t)
	conf := t.TempDir()
	if err := os.CopyFS(conf, os.DirFS("testdata/intentional")); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(conf, "main.cf")
	text, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"/service"`), []byte(`"`+filepath.Join(Repository(), "bin", "lab-service")+`"`), 1)
	if err := os.WriteFile(main, text, 0o644); err != nil {
		t.Fatal(err)
	}
	c := start(t, conf, false)
	c.probed("svc")
	c.must("A", "hagrp", "-online", "svc", "-sys", "A")
	c.waitGroup("B", "svc", "A", online, 20*time.Second)

	c.must("A", "sh", "-c", "touch /run/svc.app.stopped; rm /run/svc.app")
	c.waitGroup("B", "svc", "A", offline, 20*time.Second)
	for _, s := range []string{"A", "B"} {
		if state := c.must(s, "hares", "-state", "svc_app"); strings.Contains(state, "FAULTED") || strings.Contains(state, "ONLINE") {
			t.Errorf("after it was stopped on purpose:\n%s", state)
		}
	}
	if _, err := c.Must(c.within(5*time.Second), "A", "ls", "/run/svc.flag"); err == nil {
		t.Error("what it stood on is still there (OfflineGroup)")
	}
	if why := c.must("B", "ha", "group", "explain", "svc"); !strings.Contains(why, "on purpose") {
		t.Errorf("nobody says why it is offline:\n%s", why)
	}

	c.must("B", "touch", "/run/svc.app", "/run/svc.flag")
	c.must("A", "hares", "-probe", "svc_flag", "-sys", "B")
	c.waitGroup("A", "svc", "B", online, 20*time.Second)

	c.must("B", "rm", "/run/svc.app")
	c.waitGroup("A", "svc", "A", online, 30*time.Second)
	if state := c.must("A", "hares", "-state", "svc_app", "-sys", "B"); !strings.Contains(state, "FAULTED") {
		t.Errorf("what died is %s on B", strings.TrimSpace(state))
	}
}
