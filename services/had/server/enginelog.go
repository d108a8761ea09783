package server

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/evenkeel/evenkeel/internal/messagelog"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// logLine writes what the engine says, with its place in the total order, and
// tells watchers who want to know.
func (l *loop) logLine(e engine.LogLine) {
	r := messagelog.Record{Severity: e.Severity, ID: e.ID, Host: l.self, Head: e.System, System: e.System, Group: e.Group,
		View: l.pos.View, Seq: l.pos.Seq, Text: e.Text}
	l.subject(&r)
	l.record(r)
	l.log.Info(e.Text, "id", e.ID, "severity", e.Severity, "system", r.System, "group", r.Group, "resource", r.Resource,
		"view", l.pos.View, "seq", l.pos.Seq)
}

// engineLine writes what this system says of itself.
func (l *loop) engineLine(severity, id, text string) {
	r := messagelog.Record{Severity: severity, ID: id, Host: l.self, Head: l.self, System: l.self, Text: text}
	l.subject(&r)
	l.record(r)
	l.log.Info(text, "id", id, "severity", severity)
}

func (l *loop) record(r messagelog.Record) {
	l.elog.Write(r)
	l.publish(&event{kind: eventLog, system: r.System, group: r.Group, resource: r.Resource, severity: r.Severity, id: r.ID, text: messagelog.OneLine(r.Text)})
}

// noted writes what the scheduler says of a resource, into the engine log and
// into that of its agent.
func (l *loop) noted(e schedule.Note) {
	r := messagelog.Record{Severity: e.Severity, ID: "V-16-2-" + e.Code, Host: l.self, Head: l.self, System: l.self,
		Group: l.groupOf[e.Resource], Resource: e.Resource, Text: e.Text}
	l.record(r)
	l.log.Info(e.Text, "id", r.ID, "severity", e.Severity, "resource", e.Resource)
	if l.alogs == nil {
		return
	}
	if c := l.config(); c != nil {
		if g := c.Group(r.Group); g != nil && g.Resource(e.Resource) != nil {
			r.Agent = g.Resource(e.Resource).Type
			l.alogs.write(r)
		}
	}
}

// subject completes a record with the resource, its group and the system that
// its text names in the words of VCS's messages.
func (l *loop) subject(r *messagelog.Record) {
	known := l.knownNames()
	words := strings.FieldsFunc(r.Text, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-_.", c)
	})
	for i := 1; i < len(words); i++ {
		name := strings.TrimRight(words[i], ".")
		switch strings.ToLower(words[i-1]) {
		case "resource":
			if group, known := known.groupOf[name]; known && r.Resource == "" {
				r.Resource, r.Group = name, group
			}
		case "group":
			if r.Group == "" && known.groups[name] {
				r.Group = name
			}
		case "system", "sys", "node", "on":
			if r.System == "" && known.systems[name] {
				r.System = name
			}
		}
	}
}

// knownNames are the names of one configuration.
type knownNames struct {
	of              *maincf.Config
	systems, groups map[string]bool
	groupOf         map[string]string // by resource
}

// knownNames are those of the running configuration. With a new one the sizes
// of the logs are taken anew, too.
func (l *loop) knownNames() knownNames {
	c := l.config()
	if c == l.logNames.of {
		return l.logNames
	}
	l.logNames = knownNames{of: c, systems: map[string]bool{}, groups: map[string]bool{}, groupOf: map[string]string{}}
	if c == nil {
		return l.logNames
	}
	for _, s := range c.Systems {
		l.logNames.systems[s.Name] = true
	}
	for _, g := range c.Groups {
		l.logNames.groups[g.Name] = true
		for _, r := range g.Resources {
			l.logNames.groupOf[r.Name] = g.Name
		}
	}
	l.sizeLogs(c)
	return l.logNames
}

// sizeLogs takes the sizes of the logs from the configuration: LogSize of the
// cluster, LogFileSize of each type.
func (l *loop) sizeLogs(c *maincf.Config) {
	if v, ok := c.ClusterAttr("LogSize"); ok {
		l.elog.SetSize(int64(v.Int()))
	}
	if l.alogs == nil {
		return
	}
	for _, t := range c.Types {
		if v, ok := c.TypeAttr(t.Name, "LogFileSize"); ok {
			l.alogs.setSize(t.Name, int64(v.Int()))
		}
	}
}

// agentLogs are the logs <Type>_A.log with their JSON beside them.
type agentLogs struct {
	root     paths.Root
	host     string
	fallback *slog.Logger
	mu       sync.Mutex
	open     map[string]*messagelog.Writer // nil: it could not be opened
	sizes    map[string]int64
	closed   bool
}

func newAgentLogs(root paths.Root, host string, fallback *slog.Logger) *agentLogs {
	return &agentLogs{root: root, host: host, fallback: fallback, open: map[string]*messagelog.Writer{}, sizes: map[string]int64{}}
}

// of is the log that the agent of a type writes into.
func (a *agentLogs) of(typeName string) *slog.Logger {
	if w := a.writer(typeName); w != nil {
		return slog.New(messagelog.NewHandler(guarded{a, w}, a.host, typeName))
	}
	return a.fallback.With("type", typeName)
}

func (a *agentLogs) writer(typeName string) *messagelog.Writer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, tried := a.open[typeName]; tried || a.closed {
		return w
	}
	w, err := messagelog.Open(a.root.Log(filepath.Base(typeName)))
	if err != nil {
		a.fallback.Warn("the log of an agent cannot be written", "type", typeName, "error", err)
	} else {
		w.SetSize(a.sizes[typeName])
	}
	a.open[typeName] = w
	return w
}

// guarded is a writer that may be used after the logs were closed: an agent
// may have last words.
type guarded struct {
	logs *agentLogs
	to   *messagelog.Writer
}

func (g guarded) Write(r messagelog.Record) {
	g.logs.mu.Lock()
	defer g.logs.mu.Unlock()
	if !g.logs.closed {
		g.to.Write(r)
	}
}

func (a *agentLogs) write(r messagelog.Record) {
	if w := a.writer(r.Agent); w != nil {
		guarded{a, w}.Write(r)
	}
}

func (a *agentLogs) setSize(typeName string, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sizes[typeName] = bytes
	if w := a.open[typeName]; w != nil {
		w.SetSize(bytes)
	}
}

// close writes what waits.
func (a *agentLogs) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	for _, w := range a.open {
		if w != nil {
			w.Close()
		}
	}
}
