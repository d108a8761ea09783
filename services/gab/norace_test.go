//go:build !race

package gab

const raceEnabled = false
