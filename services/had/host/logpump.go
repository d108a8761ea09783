package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxLine is the longest line that is read as one; longer ones are cut.
const maxLine = 64 << 10

// pumpLines logs lines until the reader ends.
func pumpLines(r *bufio.Reader, log *slog.Logger) {
	for {
		line, _, err := r.ReadLine()
		if err != nil {
			return
		}
		logLine(line, log)
	}
}

// logLine makes a record of what an agent wrote. A line may be anything: JSON
// of our SDK, of hclog, of something else, or plain text.
func logLine(line []byte, log *slog.Logger) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if line[0] == '{' {
		var fields map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if dec.Decode(&fields) == nil && logFields(fields, log) {
			return
		}
	}
	log.Info("agent output", "text", strings.ToValidUTF8(string(line), "?"))
}

func logFields(fields map[string]any, log *slog.Logger) bool {
	take := func(names ...string) string {
		for _, name := range names {
			if text, ok := fields[name].(string); ok {
				delete(fields, name)
				return text
			}
		}
		return ""
	}
	msg := take("msg", "@message", "message")
	if msg == "" {
		return false
	}
	level := slog.LevelInfo
	switch strings.ToUpper(take("level", "@level")) {
	case "TRACE", "DEBUG":
		level = slog.LevelDebug
	case "WARN", "WARNING":
		level = slog.LevelWarn
	case "ERROR", "FATAL":
		level = slog.LevelError
	}
	_, hclog := fields["@timestamp"]
	delete(fields, "@timestamp")
	delete(fields, "@module")
	at, err := time.Parse(time.RFC3339Nano, take("time"))
	if err != nil {
		at = time.Now()
	}
	delete(fields, "time")
	delete(fields, "type") // the agent's log has it already
	if hclog {             // go-plugin's own chatter
		level = min(level, slog.LevelDebug)
	}
	var attrs []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(name, fields[name]))
	}
	// The record keeps the agent's own time: a busy machine may bring it late.
	if ctx := context.Background(); log.Enabled(ctx, level) {
		record := slog.NewRecord(at, level, msg, 0)
		record.AddAttrs(attrs...)
		_ = log.Handler().Handle(ctx, record)
	}
	return true
}
