// Package diskgroup is the agent of the resource type DiskGroup: a set of
// volumes on shared storage that one system at a time imports. The volumes
// appear as /dev/vx/dsk/GROUP/VOLUME.
//
// The backend image keeps volumes as image files on storage that all systems
// see, attaches them to loop devices, and has an owner label (package
// ownerlabel) that stops a second import. A foreign label is taken over only
// on evidence (safety rule R4).
package diskgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/plugins/internal/evidence"
	"github.com/evenkeel/evenkeel/plugins/internal/loopdev"
	"github.com/evenkeel/evenkeel/plugins/internal/ownerlabel"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

// detachWait is how long the kernel may take to let a volume go.
const detachWait = 5 * time.Second

// diskGroup is the agent; its fields are where it finds things.
type diskGroup struct {
	storageConf string
	runDir      string
	devices     string
}

// New returns the agent with this system's paths.
func New() agent.Agent {
	root := filepath.Join("/", os.Getenv("EVENKEEL_ROOT"))
	return &diskGroup{
		storageConf: filepath.Join(root, "etc/evenkeel/storage.conf"),
		runDir:      evidence.RunDir(),
		devices:     filepath.Join(root, "dev/vx/dsk"),
	}
}

// Describe implements agent.Agent.
func (*diskGroup) Describe() agent.Description {
	return agent.Description{Type: "DiskGroup", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "DiskGroup", Kind: agent.String, Required: true, Doc: "Disk group as storage.conf names it."},
		{Name: "StartVolumes", Kind: agent.String, Default: "1", Doc: "1: start all volumes after the import."},
		{Name: "StopVolumes", Kind: agent.String, Default: "1", Doc: "1: stop all volumes before the deport."},
	}}
}

// group is one resource's disk group as it is now.
type group struct {
	backend
	name    string
	volumes []string
	label   ownerlabel.Label
}

func (d *diskGroup) look(r *agent.Resource) (group, error) {
	name := r.String("DiskGroup")
	found, err := readStorage(d.storageConf, name)
	if err != nil {
		return group{}, err
	}
	volumes, err := found.volumes()
	if err != nil {
		return group{}, fmt.Errorf("disk group %s: %w", name, err)
	}
	label, err := ownerlabel.Read(found.dir)
	if err != nil {
		return group{}, fmt.Errorf("disk group %s: %w", name, err)
	}
	if label.Number > 0 && label.Group != name {
		return group{}, fmt.Errorf("disk group %s: the label in %s says group %s; is storage.conf right?", name, found.dir, label.Group)
	}
	return group{backend: found, name: name, volumes: volumes, label: label}, nil
}

// link is the volume's device path.
func (d *diskGroup) link(g group, volume string) string {
	return filepath.Join(d.devices, g.name, volume)
}

// attached returns the loop device of a started volume, "" if it is stopped.
func (d *diskGroup) attached(g group, volume string) (string, error) {
	device, err := os.Readlink(d.link(g, volume))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", volume, err)
	}
	backing, err := loopdev.Backing(device)
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", volume, err)
	}
	if !sameFile(backing, g.image(volume)) {
		return "", nil
	}
	return device, nil
}

// sameFile compares a path from the kernel's tables with one of ours. The
// kernel may show it from another mount namespace, so inodes do not help; the
// end of the path must agree.
func sameFile(kernel, ours string) bool {
	return kernel == ours || kernel != "" && strings.HasSuffix(kernel, "/"+filepath.Join(filepath.Base(filepath.Dir(ours)), filepath.Base(ours)))
}

// Online imports the disk group: the label first, then the volumes.
func (d *diskGroup) Online(_ context.Context, r *agent.Resource) error {
	began := time.Now()
	g, err := d.look(r)
	if err != nil {
		return err
	}
	known, err := evidence.Read(d.runDir)
	if err != nil {
		return err
	}
	if g.label.System != known.Self || g.label.Incarnation != known.Incarnation() {
		if err := d.takeLabel(r, g, known); err != nil {
			return err
		}
	}
	if r.String("StartVolumes") != "0" {
		for _, volume := range g.volumes {
			if err := d.start(g, volume); err != nil {
				return fmt.Errorf("import disk group %s: %w", g.name, err)
			}
		}
	}
	r.Log.Info("imported", "diskgroup", g.name, "volumes", len(g.volumes), "took_ms", time.Since(began).Milliseconds())
	return nil
}

// takeLabel makes this system the owner. R4: a foreign owner needs evidence.
func (d *diskGroup) takeLabel(r *agent.Resource, g group, known evidence.Known) error {
	if err := known.MayTakeOver(g.label.System, g.label.Incarnation); err != nil {
		return fmt.Errorf("import disk group %s: %w", g.name, err)
	}
	if g.label.System != "" && g.label.System != known.Self {
		r.Log.Warn("taking over the owner label", "diskgroup", g.name, "from", g.label.System)
	}
	next := ownerlabel.Label{System: known.Self, Incarnation: known.Incarnation(), Group: g.name}
	if err := ownerlabel.Replace(g.dir, g.label, next); err != nil {
		return fmt.Errorf("import disk group %s: %w", g.name, err)
	}
	return nil
}

func (d *diskGroup) start(g group, volume string) error {
	device, err := d.attached(g, volume)
	if err != nil || device != "" {
		return err
	}
	device, err = loopdev.Attach(g.image(volume))
	if err != nil {
		return fmt.Errorf("start volume %s: %w", volume, err)
	}
	link := d.link(g, volume)
	err = os.MkdirAll(filepath.Dir(link), 0o755)
	if err == nil {
		if err = os.Remove(link); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = os.Symlink(device, link)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start volume %s: %w", volume, err), loopdev.Detach(device, detachWait))
	}
	return nil
}

// Offline deports the disk group: the volumes first, then the label.
func (d *diskGroup) Offline(_ context.Context, r *agent.Resource) error {
	g, err := d.look(r)
	if err != nil {
		return err
	}
	for _, volume := range g.volumes {
		if err := d.stop(g, volume); err != nil {
			return fmt.Errorf("deport disk group %s: %w", g.name, err)
		}
	}
	known, err := evidence.Read(d.runDir)
	if err != nil {
		return err
	}
	if g.label.System != known.Self {
		return nil
	}
	err = ownerlabel.Replace(g.dir, g.label, ownerlabel.Label{Group: g.name})
	if err != nil && !errors.Is(err, ownerlabel.ErrTaken) {
		return fmt.Errorf("deport disk group %s: %w", g.name, err)
	}
	return nil
}

func (d *diskGroup) stop(g group, volume string) error {
	device, err := d.attached(g, volume)
	if err != nil {
		return err
	}
	if device != "" {
		if err := loopdev.Detach(device, detachWait); err != nil {
			return fmt.Errorf("stop volume %s: %w", volume, err)
		}
	}
	if err := os.Remove(d.link(g, volume)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stop volume %s: %w", volume, err)
	}
	os.Remove(filepath.Dir(d.link(g, volume))) // fails while other volumes are there
	return nil
}

// Clean implements agent.OnOnlyController: nothing stronger than Offline is
// safe, because data may still be on its way to a volume in use.
func (d *diskGroup) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return d.Offline(ctx, r)
}

// Monitor implements agent.Agent: imported means that all volumes are started
// under this system's label.
func (d *diskGroup) Monitor(_ context.Context, r *agent.Resource) (agent.Status, error) {
	g, err := d.look(r)
	if err != nil {
		return agent.Status{}, err
	}
	known, err := evidence.Read(d.runDir)
	if err != nil {
		return agent.Status{}, err
	}
	started := 0
	for _, volume := range g.volumes {
		device, err := d.attached(g, volume)
		if err != nil {
			return agent.Status{}, err
		}
		if device != "" {
			started++
		}
	}
	ours := g.label.System == known.Self
	switch {
	case started > 0 && !ours:
		return agent.Status{}, fmt.Errorf("disk group %s: %d volumes are started here, but the label names %q; take the resource offline here", g.name, started, g.label.System)
	case !ours || started == 0 && (len(g.volumes) > 0 && r.String("StartVolumes") != "0"):
		return agent.Status{State: agent.Offline}, nil
	case started < len(g.volumes) && r.String("StartVolumes") != "0":
		return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("%d of %d volumes are started", started, len(g.volumes))}, nil
	default:
		return agent.Status{State: agent.Online}, nil
	}
}

// Info implements agent.Informer.
func (d *diskGroup) Info(_ context.Context, r *agent.Resource) (map[string]string, error) {
	g, err := d.look(r)
	if err != nil {
		return nil, err
	}
	return map[string]string{"Backend": g.kind, "Volumes": strings.Join(g.volumes, " "), "Owner": g.label.System}, nil
}
