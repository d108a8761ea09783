package confdisk

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/engine"
)

// Backups says when the configuration that runs is written beside that which
// was dumped (BackupInterval): while it is writable, every so many minutes, if
// it was changed since. The zero value has written nothing.
type Backups struct {
	since    vclock.Time // of the last backup, or of becoming writable
	counts   bool
	sequence uint64 // of the last backup
	written  bool
}

// Due says whether a backup of the configuration with this sequence is due,
// and takes it for written. minutes 0 means never; minute is how long one is.
func (b *Backups) Due(now vclock.Time, writable bool, minutes int, minute time.Duration, sequence uint64) bool {
	if !writable || minutes <= 0 {
		b.counts = false
		return false
	}
	if !b.counts {
		b.since, b.counts = now, true
	}
	if now < b.since.Add(time.Duration(minutes)*minute) {
		return false
	}
	b.since = now
	if b.written && b.sequence == sequence {
		return false
	}
	b.sequence, b.written = sequence, true
	return true
}

// Backup writes the files as NAME.autobackup beside those of the configuration
// folder, each as a whole, main.cf last. Nothing reads them but people.
func (d Disk) Backup(files []engine.File) error {
	local := Local(files)
	for i := len(local) - 1; i >= 0; i-- {
		if err := d.replaceFile(filepath.Join(d.Config, local[i].Name)+".autobackup", []byte(local[i].Text)); err != nil {
			return fmt.Errorf("back up configuration: %w", err)
		}
	}
	return nil
}
