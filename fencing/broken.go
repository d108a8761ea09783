package fencing

// Broken returns cfg with a deliberate fault of that name, for a simulator that
// proves that its checks can fail; false for an unknown name. Nothing else
// uses it.
func Broken(cfg Config, name string) (Config, bool) {
	faults := []struct {
		name string
		mut  mutation
	}{
		{"majority-of-reachable", mutMajorityOfReachable}, {"conflict-is-won", mutConflictIsWon}, {"no-recheck", mutNoRecheck},
		{"no-prestart-check", mutNoPreStartCheck}, {"answer-unproven", mutAnswerUnproven}, {"register-in-race", mutRegisterInRace},
		{"only-new-losses", mutOnlyNewLosses},
	}
	for _, f := range faults {
		if f.name == name {
			cfg.broken = f.mut
			return cfg, true
		}
	}
	return cfg, false
}
