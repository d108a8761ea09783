package server

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"golang.org/x/sys/unix"
)

const (
	// meterPeriod is how often a system looks at its own meters, and so the
	// most often that it tells the others.
	meterPeriod = 10 * time.Second
	// meterStep is by how many points of a hundred a meter must have moved to
	// be told before its interval is over.
	meterStep = 5
)

// procReader reads the meters of this machine from a folder like /proc. It is
// used by one goroutine.
type procReader struct {
	dir       string
	at        time.Time
	idle, all uint64        // of /proc/stat
	stalled   time.Duration // of pressure/io
}

// read measures since the read before; the first one returns nothing.
func (p *procReader) read(now time.Time) ([]engine.Meter, error) {
	mem, err := p.memory()
	if err != nil {
		return nil, fmt.Errorf("read meters: %w", err)
	}
	idle, all, cpus, err := p.cpu()
	if err != nil {
		return nil, fmt.Errorf("read meters: %w", err)
	}
	stalled, hasIO := p.stall()
	lasted := now.Sub(p.at)
	if p.at.IsZero() || all <= p.all || lasted <= 0 {
		mem = nil
	} else {
		total := int64(cpus) * 100
		busy := (all - p.all) - min(idle-p.idle, all-p.all)
		mem = append(mem, engine.Meter{Name: "CPU", Total: total, Used: total * int64(busy) / int64(all-p.all)})
		if hasIO {
			mem = append(mem, engine.Meter{Name: "IO", Total: 10000, Used: min(10000, int64((stalled-p.stalled)*10000/lasted))})
		}
	}
	p.at, p.idle, p.all, p.stalled = now, idle, all, stalled
	return mem, nil
}

// cpu returns the idle and the whole time since boot, in ticks of all
// processors, and their number.
func (p *procReader) cpu() (idle, all uint64, cpus int, err error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "stat"))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 5 || !strings.HasPrefix(words[0], "cpu") {
			continue
		}
		if words[0] != "cpu" {
			cpus++
			continue
		}
		for i, w := range words[1:min(len(words), 9)] { // guest time is part of user time
			n, err := strconv.ParseUint(w, 10, 64)
			if err != nil {
				return 0, 0, 0, fmt.Errorf("%s/stat: %q is no number", p.dir, w)
			}
			all += n
			if i == 3 || i == 4 { // idle, and idle while a disk is waited for
				idle += n
			}
		}
	}
	if cpus == 0 || all == 0 {
		return 0, 0, 0, fmt.Errorf("%s/stat has no line about processors", p.dir)
	}
	return idle, all, cpus, nil
}

// memory returns the meters Mem and Swap, in MiB.
func (p *procReader) memory() ([]engine.Meter, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "meminfo"))
	if err != nil {
		return nil, err
	}
	kib := map[string]int64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			kib[strings.TrimSuffix(words[0], ":")] = n
		}
	}
	if kib["MemTotal"] == 0 {
		return nil, fmt.Errorf("%s/meminfo has no MemTotal", p.dir)
	}
	return []engine.Meter{
		{Name: "Mem", Total: kib["MemTotal"] >> 10, Used: (kib["MemTotal"] - kib["MemAvailable"]) >> 10},
		{Name: "Swap", Total: kib["SwapTotal"] >> 10, Used: (kib["SwapTotal"] - kib["SwapFree"]) >> 10},
	}, nil
}

// stall returns for how long since boot some task waited for a disk; false on
// a kernel without pressure.
func (p *procReader) stall() (time.Duration, bool) {
	text, err := os.ReadFile(filepath.Join(p.dir, "pressure", "io"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "some ") {
			continue
		}
		_, total, found := strings.Cut(strings.TrimSpace(line), "total=")
		us, err := strconv.ParseInt(total, 10, 64)
		return time.Duration(us) * time.Microsecond, found && err == nil
	}
	return 0, false
}

// metering is what this system last told of its meters.
type metering struct {
	told map[string]engine.Meter
	at   vclock.Time
	// problem is the last reason why nothing could be measured.
	problem string
}

// readMeters measures every meterPeriod and gives the loop what it found.
func (l *loop) readMeters(read func(time.Time) ([]engine.Meter, error)) {
	for next := time.Second; l.ctx.Err() == nil; next = meterPeriod { // what is first seen is told soon
		meters, err := read(time.Now())
		l.post(func() { l.measured(meters, err) })
		wait(l.ctx, next)
	}
}

// measured tells all engines what this system measured, if that is worth an
// event: something moved by meterStep points, or the interval is over.
func (l *loop) measured(meters []engine.Meter, err error) {
	if err != nil {
		if text := err.Error(); text != l.metering.problem {
			l.metering.problem = text
			l.log.Warn("this system cannot be measured; BiggestAvailable does without it", "error", err)
		}
		return
	}
	l.metering.problem = ""
	wanted := l.engine.MeterPolicy()
	if !l.running || l.leaveBy != 0 || !wanted.Wanted || len(meters) == 0 {
		return
	}
	now := boottime()
	due := l.metering.told == nil || now >= l.metering.at.Add(wanted.Interval)
	for _, m := range meters {
		due = due || points(m)-points(l.metering.told[m.Name]) >= meterStep || points(l.metering.told[m.Name])-points(m) >= meterStep
	}
	if !due {
		return
	}
	ev := engine.Metered{System: l.self, Meters: meters}
	if l.metering.told != nil {
		ev.Elapsed = now.Sub(l.metering.at)
	}
	l.metering.told, l.metering.at = map[string]engine.Meter{}, now
	for _, m := range meters {
		l.metering.told[m.Name] = m
	}
	l.broadcastEvent(ev)
}

// points is the share in use in points of a hundred, 0 without a total.
func points(m engine.Meter) int64 {
	if m.Total <= 0 {
		return 0
	}
	return m.Used * 100 / m.Total
}

// describe tells all engines what machine this is.
func (l *loop) describe() {
	l.broadcastEvent(engine.SystemDescribed{System: l.self, Info: sysInfo(), Version: Version})
}

// sysInfo is VCS's SysInfo: operating system, node, release, version, machine.
func sysInfo() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	var parts []string
	for _, field := range [][65]byte{u.Sysname, u.Nodename, u.Release, u.Version, u.Machine} {
		parts = append(parts, unix.ByteSliceToString(field[:]))
	}
	return parts[0] + ":" + strings.Join(parts[1:], ",")
}
