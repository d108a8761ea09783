// Package sim runs whole clusters in virtual time: on each system the real
// cores of LLT (with its frames and seals), gab, fencing, the engine, join, the
// agent scheduler and the watch over the daemons (verdict); around them models
// of everything that shells touch: links, coordination points, the power
// switch, clocks that drift and jump, processes that die or stand still, disks
// with labels, entry points, and the applications themselves.
//
// One goroutine, one heap of (time, serial), one seed that is forked for each
// subsystem: the same Options give the same steps and the same trace hash, on
// every run and machine, with words of 32 or 64 bits.
//
// Draw makes the Plan of a seed: how the world behaves, and a list of faults of
// which any can be taken out. Options.Cores replaces the makers of the cores,
// which is how a deliberate fault gets in.
//
// The oracle (invariants I1 to I5 and I7 of safety.md) looks at modelled
// applications, addresses and disks, and at what came out of the total order,
// never at what an engine believes of the world. docs/testing.md tells what is
// modelled and what is not.
package sim
