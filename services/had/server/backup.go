package server

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// backUp writes a backup of the configuration that runs when one is due.
func (l *loop) backUp(now vclock.Time) {
	if !l.running || l.backingUp || now < l.backupLook {
		return
	}
	minute := l.cfg.BackupMinute
	if minute <= 0 {
		minute = time.Minute
	}
	l.backupLook = now.Add(minute / 4)
	config := l.config()
	if config == nil {
		return
	}
	every, _ := config.ClusterAttr("BackupInterval")
	st := l.engine.ConfigStatus()
	if !l.backups.Due(now, st.Writable, every.Int(), minute, st.Sequence) {
		return
	}
	source := l.engine.Source()
	l.backingUp = true
	l.workers.Go(func() {
		err := diskOf(l.root).Backup(source.Files())
		l.post(func() {
			l.backingUp = false
			if err != nil {
				l.engineLine("WARNING", "V-16-1-90058", fmt.Sprintf("The backup of the configuration is not written on %s: %v", l.self, err))
				return
			}
			l.log.Info("the configuration is backed up", "sequence", st.Sequence)
		})
	})
}
