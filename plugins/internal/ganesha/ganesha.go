// Package ganesha runs and steers NFS-Ganesha, the user-space NFS server, for
// the agents NFS and Share of one system: the server with a message bus of its
// own, and exports that come and go while it runs.
package ganesha

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Dir is where one system keeps the server's files.
type Dir struct {
	// Run holds bus, pid files and export blocks; it is gone after a reboot.
	Run string
	// State holds the recovery directory; it outlives a reboot.
	State string
	// Log is the server's log file.
	Log string
}

// Here returns the directories of this system, below EVENKEEL_ROOT.
func Here() Dir {
	root := filepath.Join("/", os.Getenv("EVENKEEL_ROOT"))
	return Dir{
		Run:   filepath.Join(root, "run/evenkeel/nfs"),
		State: filepath.Join(root, "var/lib/evenkeel/nfs"),
		Log:   filepath.Join(root, "var/log/evenkeel/ganesha.log"),
	}
}

// Bus is the path of the bus's socket.
func (d Dir) Bus() string { return filepath.Join(d.Run, "bus") }

// BusPID is the file with the bus daemon's process id.
func (d Dir) BusPID() string { return filepath.Join(d.Run, "bus.pid") }

// PID is the file with the server's process id.
func (d Dir) PID() string { return filepath.Join(d.Run, "ganesha.pid") }

// Config is the server's configuration file.
func (d Dir) Config() string { return filepath.Join(d.Run, "ganesha.conf") }

// exports holds one file with one EXPORT block for each share.
func (d Dir) exports() string { return filepath.Join(d.Run, "exports.d") }

// Options are the server's settings.
type Options struct {
	// Workers is the number of worker threads, at least 1.
	Workers int
	// GraceSeconds is the time after a take-over in which clients reclaim
	// their locks; the lease is the same. 1 to 180.
	GraceSeconds int
}

// WriteConfig writes the server's configuration with the exports that exist
// now, so that a restarted server serves them again at once.
func (d Dir) WriteConfig(o Options) error {
	for _, dir := range []string{d.Run, d.exports(), filepath.Join(d.State, "recovery"), filepath.Dir(d.Log)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare the NFS server: %w", err)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, `NFS_CORE_PARAM { Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; NFS_Port = 2049; }
NFS_KRB5 { Active_krb5 = false; }
NFSv4 { Grace_Period = %d; Lease_Lifetime = %d; RecoveryBackend = fs; RecoveryRoot = %s; Minor_Versions = 0,1,2; }
LOG { Default_Log_Level = EVENT; }
_9P { }
`, o.GraceSeconds, o.GraceSeconds, filepath.Join(d.State, "recovery"))
	entries, err := os.ReadDir(d.exports())
	if err != nil {
		return fmt.Errorf("prepare the NFS server: %w", err)
	}
	for _, entry := range entries {
		block, err := os.ReadFile(filepath.Join(d.exports(), entry.Name()))
		if err != nil {
			return fmt.Errorf("prepare the NFS server: %w", err)
		}
		text.Write(block)
	}
	if err := os.WriteFile(d.Config(), []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("prepare the NFS server: %w", err)
	}
	return nil
}

// Export is one exported directory.
type Export struct {
	// Path is the exported directory and the path that clients see.
	Path string
	// Clients are hosts or networks that may use it; empty means all.
	Clients []string
	// ReadOnly forbids writing.
	ReadOnly bool
	// RootSquash maps the client's root to nobody.
	RootSquash bool
}

// ID is the export's number, the same on every system: it is part of the file
// handles, so clients keep theirs over a failover.
func (e Export) ID() uint16 {
	return uint16(crc32.ChecksumIEEE([]byte(e.Path))%65000) + 100
}

// Block is the server's configuration block for the export.
func (e Export) Block() string {
	access, squash := "RW", "None"
	if e.ReadOnly {
		access = "RO"
	}
	if e.RootSquash {
		squash = "Root"
	}
	allowed := access
	clients := ""
	if len(e.Clients) > 0 {
		allowed = "None"
		clients = fmt.Sprintf(" CLIENT { Clients = %s; Access_Type = %s; }", strings.Join(e.Clients, ", "), access)
	}
	return fmt.Sprintf("EXPORT { Export_Id = %d; Path = %q; Pseudo = %q; Filesystem_Id = %d.%d; Access_Type = %s; Squash = %s; SecType = sys; Protocols = 4;%s FSAL { Name = VFS; } }\n",
		e.ID(), e.Path, e.Path, e.ID(), e.ID(), allowed, squash, clients)
}

func (d Dir) blockFile(e Export) string {
	return filepath.Join(d.exports(), fmt.Sprintf("%d.conf", e.ID()))
}

// Add exports a directory on the running server; others are not disturbed.
// Adding what is exported already is no error.
func (d Dir) Add(ctx context.Context, e Export) error {
	shown, err := d.Show(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.blockFile(e), []byte(e.Block()), 0o644); err != nil {
		return fmt.Errorf("export %s: %w", e.Path, err)
	}
	if slices.Contains(shown, e.Path) {
		return nil
	}
	err = d.call(ctx, "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportmgr.AddExport", nil,
		d.blockFile(e), fmt.Sprintf("EXPORT(Export_Id=%d)", e.ID()))
	if err != nil {
		os.Remove(d.blockFile(e))
		return fmt.Errorf("export %s: %w", e.Path, err)
	}
	return nil
}

// Remove ends an export on the running server. Removing what is not exported
// is no error.
func (d Dir) Remove(ctx context.Context, e Export) error {
	if err := os.Remove(d.blockFile(e)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end export of %s: %w", e.Path, err)
	}
	shown, err := d.Show(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(shown, e.Path) {
		return nil
	}
	if err := d.call(ctx, "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportmgr.RemoveExport", nil, e.ID()); err != nil {
		return fmt.Errorf("end export of %s: %w", e.Path, err)
	}
	return nil
}

// Show returns the exported paths.
func (d Dir) Show(ctx context.Context) ([]string, error) {
	var body []any
	if err := d.call(ctx, "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportmgr.ShowExports", &body); err != nil {
		return nil, fmt.Errorf("ask the NFS server for its exports: %w", err)
	}
	var paths []string
	for _, value := range body {
		rows, ok := value.([][]any)
		if !ok {
			continue
		}
		for _, row := range rows {
			if len(row) > 1 {
				if path, ok := row[1].(string); ok {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths, nil
}

// Grace begins the time in which clients of a failed system reclaim their
// locks; nobody else gets new ones meanwhile (RFC 7530, section 9.6.2).
func (d Dir) Grace(ctx context.Context) error {
	if err := d.call(ctx, "/org/ganesha/nfsd/admin", "org.ganesha.nfsd.admin.grace", nil, "0"); err != nil {
		return fmt.Errorf("begin the NFS grace period: %w", err)
	}
	return nil
}

// InGrace reports whether the server is in its grace period.
func (d Dir) InGrace(ctx context.Context) (bool, error) {
	var body []any
	if err := d.call(ctx, "/org/ganesha/nfsd/admin", "org.ganesha.nfsd.admin.get_grace", &body); err != nil {
		return false, fmt.Errorf("ask for the NFS grace period: %w", err)
	}
	for _, value := range body {
		if in, ok := value.(bool); ok {
			return in, nil
		}
	}
	return false, fmt.Errorf("ask for the NFS grace period: unexpected answer %v", body)
}

func (d Dir) call(ctx context.Context, object, method string, body *[]any, args ...any) error {
	bus, err := dbus.Connect("unix:path="+d.Bus(), dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reach the NFS server's bus %s: %w (is the NFS resource online here?)", d.Bus(), err)
	}
	defer bus.Close()
	answer := bus.Object("org.ganesha.nfsd", dbus.ObjectPath(object)).CallWithContext(ctx, method, 0, args...)
	if answer.Err != nil {
		return fmt.Errorf("%s: %w", method, answer.Err)
	}
	if body != nil {
		*body = answer.Body
	}
	return nil
}
