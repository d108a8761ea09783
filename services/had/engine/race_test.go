//go:build race

package engine

// The race detector makes an engine ten times slower; the long run goes
// without it.
const plansPerWorld = 8
