package server

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

// logBound is how many lines wait for the disk; more are dropped and counted,
// because the engine never waits for a log.
const logBound = 4096

// rotateAt is LogSize's default in bytes; the file becomes _B, that one _C.
const rotateAt = 32 << 20

// engineLog writes VCS's engine log, engine_A.log.
type engineLog struct {
	lines   chan string // bound logBound; full: dropped and counted
	dropped atomic.Int64
	done    sync.WaitGroup
}

// openEngineLog starts the writer of the log that lies at prefix + "_A.log".
func openEngineLog(prefix string) (*engineLog, error) {
	file, err := os.OpenFile(prefix+"_A.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open engine log: %w", err)
	}
	l := &engineLog{lines: make(chan string, logBound)}
	l.done.Go(func() { l.write(file, prefix) })
	return l, nil
}

func (l *engineLog) write(file *os.File, prefix string) {
	size := int64(0)
	if st, err := file.Stat(); err == nil {
		size = st.Size()
	}
	for line := range l.lines {
		n, _ := file.WriteString(line)
		if n := l.dropped.Swap(0); n > 0 {
			fmt.Fprintf(file, "%s VCS WARNING V-16-1-10196 %d lines of this log were lost\n", time.Now().Format("2006/01/02 15:04:05"), n)
		}
		if size += int64(n); size < rotateAt {
			continue
		}
		file.Close()
		_ = os.Rename(prefix+"_B.log", prefix+"_C.log")
		_ = os.Rename(prefix+"_A.log", prefix+"_B.log")
		next, err := os.OpenFile(prefix+"_A.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			for range l.lines { // nothing to write to; end with the channel
			}
			return
		}
		file, size = next, 0
	}
	file.Close()
}

// Line writes one line with the time of day, which is for people only.
func (l *engineLog) Line(text string) {
	select {
	case l.lines <- time.Now().Format("2006/01/02 15:04:05") + " " + oneLine(text) + "\n":
	default:
		l.dropped.Add(1)
	}
}

// oneLine keeps names that somebody made up from forging lines of their own.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return ' '
		}
		return r
	}, text)
}

// Close writes what waits and ends the writer.
func (l *engineLog) Close() {
	close(l.lines)
	l.done.Wait()
}
