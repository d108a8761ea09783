package messagelog

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// bound is how many records wait for the disk; more are dropped and counted,
// because nobody waits for a log.
const bound = 4096

// closePatience is how long Close waits for a disk that hangs.
const closePatience = 2 * time.Second

// DefaultSize is LogSize's default in bytes.
const DefaultSize = 32 << 20

// lostID is the message of lines that were lost.
const lostID = "V-16-1-10196"

// Writer writes the files PREFIX_A.log and PREFIX_A.json. It may be used by
// several goroutines.
type Writer struct {
	prefix  string
	records chan Record // bound; full: dropped and counted
	lost    atomic.Int64
	size    atomic.Int64
	done    chan struct{}
	open    func(path string) (io.WriteCloser, int64, error)
}

// Open starts a writer of the log at a prefix such as
// /var/log/evenkeel/engine. The error is that of the first opening; later ones
// are tried again with each record.
func Open(prefix string) (*Writer, error) {
	w := newWriter(prefix, openFile)
	f := w.file(".log")
	if err := f.reopen(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	go w.run(f, w.file(".json")) // ends with Close
	return w, nil
}

func newWriter(prefix string, open func(string) (io.WriteCloser, int64, error)) *Writer {
	w := &Writer{prefix: prefix, records: make(chan Record, bound), done: make(chan struct{}), open: open}
	w.size.Store(DefaultSize)
	return w
}

func openFile(path string) (io.WriteCloser, int64, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, 0, err
	}
	size := int64(0)
	if st, err := file.Stat(); err == nil {
		size = st.Size()
	}
	return file, size, nil
}

// SetSize sets the size in bytes at which the files are rotated; 0 or less
// means the default.
func (w *Writer) SetSize(bytes int64) {
	if bytes <= 0 {
		bytes = DefaultSize
	}
	w.size.Store(bytes)
}

// Write takes a record, with the present time if it has none. It never waits:
// what a full or slow disk cannot take is dropped, counted, and told of in the
// log itself as soon as it takes something again.
func (w *Writer) Write(r Record) {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	select {
	case w.records <- r:
	default:
		w.lost.Add(1)
	}
}

// Close writes what waits and ends the writer; it does not wait long for a
// disk that hangs. Nothing may be written afterwards.
func (w *Writer) Close() {
	close(w.records)
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C: // the goroutine ends when the disk answers, or with the process
	}
}

func (w *Writer) run(text, structured *rotating) {
	defer close(w.done)
	defer text.close()
	defer structured.close()
	host := ""
	for r := range w.records {
		host = r.Host
		w.both(text, structured, r)
		if n := w.lost.Swap(0); n > 0 {
			w.tell(text, structured, host, n)
		}
	}
}

// both writes a record to both files. One file that fails costs the line of
// that file; the record is lost if the text has failed.
func (w *Writer) both(text, structured *rotating, r Record) {
	if !text.write([]byte(r.Line())) {
		w.lost.Add(1)
		return
	}
	structured.write(r.JSON())
}

// tell says how many were lost; if that fails too they stay counted.
func (w *Writer) tell(text, structured *rotating, host string, n int64) {
	r := Record{Time: time.Now(), Severity: "WARNING", ID: lostID, Host: host, Head: host,
		Text: fmt.Sprintf("%d lines of this log were lost: the disk is full or too slow", n)}
	if !text.write([]byte(r.Line())) {
		w.lost.Add(n)
		return
	}
	structured.write(r.JSON())
}

// rotating is one file with its former ones.
type rotating struct {
	w      *Writer
	suffix string
	file   io.WriteCloser // nil: to be opened
	size   int64
	// torn: the last line has no end.
	torn bool
}

func (w *Writer) file(suffix string) *rotating { return &rotating{w: w, suffix: suffix} }

func (f *rotating) name(letter string) string { return f.w.prefix + "_" + letter + f.suffix }

func (f *rotating) reopen() (err error) {
	f.file, f.size, err = f.w.open(f.name("A"))
	return err
}

func (f *rotating) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// write appends one line and reports whether all of it was taken.
func (f *rotating) write(line []byte) bool {
	if f.file == nil && f.reopen() != nil {
		return false
	}
	line = append(line, '\n')
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.file.Write(line)
	f.size += int64(n)
	if n > 0 {
		f.torn = n < len(line)
	}
	if f.size >= f.w.size.Load() {
		f.rotate()
	}
	return err == nil
}

// rotate makes _A the new _B and _B the new _C; the next line begins a new _A.
func (f *rotating) rotate() {
	f.close()
	_ = os.Rename(f.name("B"), f.name("C"))
	_ = os.Rename(f.name("A"), f.name("B"))
	f.torn = false
}
