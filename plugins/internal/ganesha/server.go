package ganesha

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Port is the TCP port of NFS version 4.
const Port = 2049

// Commands returns the programs to start, in order: the bus, then the server.
// WriteConfig must have been called. The caller starts them detached.
func (d Dir) Commands() []*exec.Cmd {
	os.Remove(d.Bus())
	bus := exec.Command("dbus-daemon", "--session", "--address=unix:path="+d.Bus(), "--nofork", "--nopidfile")
	// The server begins when the bus is there, at once or a little later.
	server := exec.Command("/bin/sh", "-c",
		`i=0; while [ ! -S "$1" ] && [ $i -lt 200 ]; do i=$((i+1)); sleep 0.02; done; exec ganesha.nfsd -F -L "$2" -f "$3" -p "$4"`,
		"ganesha.nfsd", d.Bus(), d.Log, d.Config(), d.PID())
	server.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+d.Bus())
	return []*exec.Cmd{bus, server}
}

// WaitReady returns when the server answers a null call and its bus knows it.
func (d Dir) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := Null(ctx, "127.0.0.1")
		if err == nil {
			_, err = d.Show(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start the NFS server: %w (see %s)", err, d.Log)
		case <-tick.C:
		}
	}
}

// Null calls procedure 0 of NFS version 4, which every server answers without
// looking at anything (RFC 7530, section 16.1), over TCP with record marking
// (RFC 5531, section 11).
func Null(ctx context.Context, host string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(Port)))
	if err != nil {
		return fmt.Errorf("call NFS: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("call NFS: %w", err)
		}
	}
	const xid = 0x45564b4c
	// xid, CALL, RPC version 2, program 100003, version 4, procedure 0,
	// empty credentials and verifier.
	words := []uint32{0x80000000 | 40, xid, 0, 2, 100003, 4, 0, 0, 0, 0, 0}
	call := make([]byte, 0, 4*len(words))
	for _, word := range words {
		call = binary.BigEndian.AppendUint32(call, word)
	}
	if _, err := conn.Write(call); err != nil {
		return fmt.Errorf("call NFS: %w", err)
	}
	var reply [12]byte // record mark, xid, REPLY
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return fmt.Errorf("call NFS: %w", err)
	}
	if binary.BigEndian.Uint32(reply[4:]) != xid || binary.BigEndian.Uint32(reply[8:]) != 1 {
		return errors.New("call NFS: the answer is not a reply to the call")
	}
	return nil
}

// Running returns the process ids of the server and its bus that are alive in
// this PID namespace; a zombie is not alive.
func (d Dir) Running() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for the NFS server: %w", err)
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err != nil || len(line) == 0 {
			continue
		}
		arguments := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if d.isOurs(arguments) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// isOurs tells this system's server and bus from others on the machine by the
// paths in their command lines.
func (d Dir) isOurs(arguments []string) bool {
	for _, argument := range arguments[1:] {
		if argument == d.Config() || argument == "--address=unix:path="+d.Bus() {
			return true
		}
	}
	return false
}
