//go:build !race

package engine

// plansPerWorld times rapid's 100 worlds is how many plans are compared with
// what happens: 11,000.
const plansPerWorld = 110
