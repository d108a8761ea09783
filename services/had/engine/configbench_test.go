package engine_test

import (
	"fmt"
	"testing"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// BenchmarkChange is one edit of one resource: it costs what it touches, and
// what every change costs (an index of the whole).
func BenchmarkChange(b *testing.B) {
	for _, s := range shapes[:2] {
		b.Run(shapeName(s), func(b *testing.B) {
			c := s.Boot()
			c.Apply(s.System(0), engine.Command{Kind: engine.CommandConfigWritable})
			n := 0
			for b.Loop() {
				c.Apply(s.System(0), engine.Command{Kind: engine.CommandConfigChange, Edits: [][]string{{
					"hagrp", "-modify", s.Group(n % s.Groups), "Load", fmt.Sprint(n % 7)}}})
				n++
			}
		})
	}
}
