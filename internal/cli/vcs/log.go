package vcs

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"

	"github.com/evenkeel/evenkeel/internal/messagelog"
)

// logActions are those of halog.
func logActions() map[string]action {
	return map[string]action{
		"add":     {usage: "MESSAGE [-sys S] [-msgid ID] [-parameters P...] [-encoding utf8]", options: []string{"sys=", "msgid=", "parameters*", "encoding="}, least: 1, most: 1, run: logAdd},
		"info":    {run: func(_ context.Context, s *session, _ line) error { return s.logInfo(s.Root.LogDir(), "engine_A") }},
		"cache":   {run: logTags},
		"addtags": {usage: "TAG...", least: 1, most: -1, run: logTags}, "deltags": {usage: "TAG...", least: 1, most: -1, run: logTags},
	}
}

func logTags(context.Context, *session, line) error {
	return warning(idUnsupported, "There are no tags to choose what is logged: everything is; hamsg chooses what is shown")
}

// maxMessage bounds a line of halog -add, in bytes.
const maxMessage = 4096

// logAdd writes a line into the engine's log of this system. The log is opened
// for appending, as the engine does: lines of both stay whole.
func logAdd(_ context.Context, s *session, l line) error {
	if e := strings.ToLower(strings.ReplaceAll(l.value("encoding"), "-", "")); e != "" && e != "utf8" && e != "ascii" && e != "c" {
		return warning(idUnsupported, "Encoding %s is not taken: logs are UTF-8", l.value("encoding"))
	}
	here, err := s.here()
	if err != nil {
		return err
	}
	if there := l.value("sys"); there != "" && there != here {
		return warning(idUnsupported, "The log of system %s is written there only: run halog on %s", there, there)
	}
	id := orElse(l.value("msgid"), fmt.Sprint(idAdded))
	if strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsDigit(r) }) {
		return fmt.Errorf("-msgid takes a number, not %q: %w", id, errUsage)
	}
	text := l.names[0]
	for i, p := range l.values["parameters"] {
		text = strings.ReplaceAll(text, fmt.Sprintf("%%%d", i+1), p)
	}
	who := "uid " + fmt.Sprint(os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	r := messagelog.Record{Time: time.Now(), Severity: "INFO", ID: "V-16-1-" + id, Host: here, System: here, Head: here,
		Text: fmt.Sprintf("User %s logs: %s", who, strings.ToValidUTF8(text, "?"))}
	if len(r.Text) > maxMessage {
		return warning(idLog, "The message is longer than %d bytes", maxMessage)
	}
	for suffix, record := range map[string]string{".log": r.Line(), ".json": string(r.JSON())} {
		if err := appendTo(s.Root.Log("engine_A"+suffix), record+"\n"); err != nil {
			return warning(idLog, "%v", err)
		}
	}
	return nil
}

func appendTo(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
