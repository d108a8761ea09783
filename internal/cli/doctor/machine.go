package doctor

import (
	"fmt"
)

func fencingDown(f *Facts) []Finding {
	if f.FencingDown == "" {
		return nil
	}
	return []Finding{{Severity: isError, What: "fencing does not answer on this system: " + f.FencingDown,
		Why: "no resource of a failover group is started here", Command: "ha node start"}}
}

func fencingBroken(f *Facts) []Finding {
	if !f.Fencing.GetBroken() {
		return nil
	}
	why := "if a system is lost now, its groups wait for an administrator"
	for _, e := range f.Fencing.GetEvidence() {
		if !e.GetAvailable() && e.GetReason() != "" {
			why += "; " + e.GetKind() + ": " + e.GetReason()
		}
	}
	return []Finding{{Severity: isError, What: "no evidence could be had that a lost system is gone", Why: why, Command: "ha fencing status; repair the coordination points or the power switch"}}
}

func selfStop(f *Facts) []Finding {
	if f.Fencing == nil || f.Fencing.GetSelfStop().GetArmed() {
		return nil
	}
	s := f.Fencing.GetSelfStop()
	return []Finding{{Severity: isError, What: fmt.Sprintf("this system cannot stop itself (%s)%s", or(s.GetAction(), "no action"), because(s.GetReason())),
		Why: "so it starts no resource of a failover group", Command: "ha fencing status; correct /etc/evenkeel/fencing.conf"}}
}

func keyPermissions(f *Facts) []Finding {
	if f.KeyMode&0o077 == 0 {
		return nil
	}
	return []Finding{{Severity: isError, What: fmt.Sprintf("%s may be read by others (mode %04o)", f.KeyFile, f.KeyMode),
		Why: "whoever has the key can pose as any system", Command: "chmod 600 " + f.KeyFile}}
}

// roomLeft is how much has to be free: a log is rotated at 32 MiB.
const roomLeft = 128 << 20

func diskFull(f *Facts) (found []Finding) {
	for _, v := range f.Volumes {
		if v.Size == 0 || v.Free >= roomLeft && v.Free*100 >= v.Size*3 {
			continue
		}
		if v.Size < 4*roomLeft && v.Free*10 >= v.Size {
			continue // a small volume of its own
		}
		found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("%s has %d MiB left of %d", v.Path, v.Free>>20, v.Size>>20),
			Why: "lines of the logs are lost, and the configuration cannot be written", Command: "df -h " + v.Path + "; make room"})
	}
	return found
}
