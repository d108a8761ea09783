package gab

// Broken returns cfg with a deliberate fault of that name, for a simulator that
// proves that its checks can fail; false for an unknown name. Nothing else
// uses it.
func Broken(cfg Config, name string) (Config, bool) {
	faults := []struct {
		name string
		mut  mutation
	}{
		{"deliver-early", mutDeliverEarly}, {"forget-flush", mutForgetFlush}, {"flush-before-fence", mutFlushBeforeFence},
		{"reuse-generation", mutReuseGeneration}, {"drop-tail", mutDropTail}, {"two-views", mutTwoViews},
	}
	for _, f := range faults {
		if f.name == name {
			cfg.mutation = f.mut
			return cfg, true
		}
	}
	return cfg, false
}
