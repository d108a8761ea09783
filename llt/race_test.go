//go:build race

package llt

const raceEnabled = true
