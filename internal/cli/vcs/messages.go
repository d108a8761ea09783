package vcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/logfile"
)

// severities are the letters of hamsg -sev.
var severities = map[string]string{"C": "CRITICAL", "E": "ERROR", "W": "WARNING", "N": "NOTICE", "I": "INFO"}

// hamsg shows the logs of this system. It needs no engine.
func hamsg(ctx context.Context, s *session, args []string) error {
	l, err := parse(args, []string{"list", "info=", "any", "all", "tail=", "sev*", "otype*", "oname*", "msgid*", "path=", "lang=", "help"})
	if err != nil {
		return err
	}
	dir := orElse(l.value("path"), s.Root.LogDir())
	switch {
	case l.flags["help"]:
		fmt.Fprint(s.Out, usage("hamsg", ""))
		return nil
	case l.flags["list"]:
		if len(l.names) > 0 {
			return fmt.Errorf("-list takes no log: %w", errUsage)
		}
		logs, err := logfile.Logs(dir)
		if err != nil {
			return warning(idLog, "%v", err)
		}
		if len(logs) == 0 {
			return warning(idLog, "There are no logs in %s", dir)
		}
		for _, name := range logs {
			fmt.Fprintln(s.Out, name)
		}
		return nil
	case l.value("info") != "":
		return s.logInfo(dir, l.value("info"))
	}
	filter, err := messageFilter(&l)
	if err != nil {
		return err
	}
	if len(l.names) != 1 {
		return fmt.Errorf("name one log, such as engine_A; see hamsg -list: %w", errUsage)
	}
	tail := -1
	if text := l.value("tail"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return fmt.Errorf("-tail takes a number of lines, not %q: %w", text, errUsage)
		}
		tail = int(n)
	}
	path, err := logPath(dir, l.names[0])
	if err != nil {
		return err
	}
	return s.messages(ctx, path, filter, tail)
}

// messageFilter reads the filters. Of -sev, -otype and so on, which take
// several words, the last word is the log if no other stands alone.
func messageFilter(l *line) (logfile.Filter, error) {
	f := logfile.Filter{Any: l.flags["any"]}
	if l.flags["any"] && l.flags["all"] {
		return f, fmt.Errorf("-any and -all exclude each other: %w", errUsage)
	}
	if lang := l.value("lang"); lang != "" && lang != "en" && lang != "C" {
		return f, fmt.Errorf("-lang %s: messages are in English, -lang en: %w", lang, errUsage)
	}
	for _, option := range []string{"sev", "otype", "oname", "msgid"} {
		values := l.values[option]
		if len(l.names) == 0 && len(values) > 1 {
			last := len(values) - 1
			l.names, values = []string{values[last]}, values[:last]
		}
		l.values[option] = values
	}
	for _, word := range l.values["sev"] {
		full, ok := severities[strings.ToUpper(word)]
		if !ok {
			return f, fmt.Errorf("-sev %s: it is C, E, W, N or I: %w", word, errUsage)
		}
		f.Severities = append(f.Severities, full)
	}
	for _, word := range l.values["otype"] {
		if !slices.Contains(logfile.Kinds, strings.ToUpper(word)) {
			return f, fmt.Errorf("-otype %s%s; it is %s: %w", word, meant("", word, logfile.Kinds), strings.Join(logfile.Kinds, ", "), errUsage)
		}
		f.Kinds = append(f.Kinds, strings.ToUpper(word))
	}
	f.Names, f.IDs = l.values["oname"], l.values["msgid"]
	return f, nil
}

func (s *session) messages(ctx context.Context, path string, filter logfile.Filter, tail int) error {
	var subjects logfile.Subjects
	if len(filter.Kinds)+len(filter.Names) > 0 {
		var err error
		if subjects, err = logfile.SubjectsOf(ctx, path); err != nil {
			return warning(idLog, "%v", err)
		}
	}
	var last []logfile.Entry // the tail; at most twice as many as asked for
	err := logfile.Read(path, func(e logfile.Entry) bool {
		if e = subjects.About(e); !filter.Takes(e) {
			return true
		}
		if tail < 0 {
			_, err := fmt.Fprintln(s.Out, e.String())
			return err == nil
		}
		if last = append(last, e); len(last) > 2*tail {
			last = slices.Clone(last[len(last)-tail:])
		}
		return true
	})
	if err != nil {
		return warning(idLog, "%v", err)
	}
	if tail >= 0 {
		for _, e := range last[max(0, len(last)-tail):] {
			fmt.Fprintln(s.Out, e.String())
		}
	}
	return nil
}

// logPath finds a log by its name. A name with a folder in it is refused: that
// is what -path is for.
func logPath(dir, name string) (string, error) {
	name = strings.TrimSuffix(name, ".log")
	if name != filepath.Base(name) {
		return "", warning(idLog, "Log %s is a path; name the folder with -path", name)
	}
	path := filepath.Join(dir, name+".log")
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		logs, _ := logfile.Logs(dir)
		return "", warning(idLog, "Log %s does not exist in %s%s", name, dir, meant("", name, logs))
	case err != nil:
		return "", warning(idLog, "%v", err)
	}
	return path, nil
}

func (s *session) logInfo(dir, name string) error {
	path, err := logPath(dir, name)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return warning(idLog, "%v", err)
	}
	lines := 0
	var first, last logfile.Entry
	if err := logfile.Read(path, func(e logfile.Entry) bool {
		if lines++; first.ID == "" {
			first = e
		}
		if e.ID != "" {
			last = e
		}
		return true
	}); err != nil {
		return warning(idLog, "%v", err)
	}
	rows := [][2]string{{"Log", name}, {"File", path}, {"Size", fmt.Sprint(info.Size())}, {"Messages", fmt.Sprint(lines)}}
	if last.ID != "" {
		const day = "2006/01/02 15:04:05"
		rows = append(rows, [2]string{"First", first.Time.Format(day)}, [2]string{"Last", last.Time.Format(day)})
	}
	for _, r := range rows {
		fmt.Fprintf(s.Out, "%-10s %s\n", r[0], r[1])
	}
	return nil
}
