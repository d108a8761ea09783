package messagelog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// agentID is the message of what an agent writes without an id of its own.
const agentID = "V-16-2-90200"

// To takes records; a Writer does.
type To interface{ Write(Record) }

// Handler lets slog write into the log of one agent.
type Handler struct {
	to    To
	host  string
	agent string
	attrs []slog.Attr
	group string
}

// NewHandler makes a handler for the agent of a type on a host.
func NewHandler(to To, host, agent string) *Handler {
	return &Handler{to: to, host: host, agent: agent}
}

// Enabled: everything from INFO up.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle writes a record: the attributes resource, entry_point and id have
// their own places, all others follow the text.
func (h *Handler) Handle(_ context.Context, in slog.Record) error {
	r := Record{Time: in.Time, Severity: "INFO", ID: agentID, Host: h.host, Head: h.host, System: h.host, Agent: h.agent}
	switch {
	case in.Level >= slog.LevelError:
		r.Severity = "ERROR"
	case in.Level >= slog.LevelWarn:
		r.Severity = "WARNING"
	}
	text := in.Message
	take := func(a slog.Attr) bool {
		switch a.Key {
		case "resource":
			r.Resource = a.Value.String()
		case "entry_point", "entry":
			r.Entry = a.Value.String()
		case "text":
			text += ": " + a.Value.String()
		case "":
		default:
			text += " " + a.Key + "=" + word(a.Value.String())
		}
		return true
	}
	for _, a := range h.attrs {
		take(a)
	}
	in.Attrs(func(a slog.Attr) bool { return take(h.named(a)) })
	r.Text = text
	h.to.Write(r)
	return nil
}

func word(text string) string {
	if strings.ContainsAny(text, " \t\n\"") || text == "" {
		return fmt.Sprintf("%q", text)
	}
	return text
}

func (h *Handler) named(a slog.Attr) slog.Attr {
	if h.group != "" {
		a.Key = h.group + "." + a.Key
	}
	return a
}

// WithAttrs returns a handler that adds attributes to every record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	for i := len(h.attrs); i < len(next.attrs); i++ {
		next.attrs[i] = h.named(next.attrs[i])
	}
	return &next
}

// WithGroup returns a handler that puts a name before the attributes.
func (h *Handler) WithGroup(name string) slog.Handler {
	next := *h
	next.group = strings.TrimPrefix(h.group+"."+name, ".")
	return &next
}
