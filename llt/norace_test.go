//go:build !race

package llt

const raceEnabled = false
