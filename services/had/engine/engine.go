// Package engine is the replicated core of had: one state machine that every
// system runs over the same totally ordered events, so that all of them come
// to the same decisions without asking each other. It has no clock, no I/O
// and no randomness; its time is the sum of Clock events (R21).
//
// The rules, with their numbers, are in docs/spec/engine.md.
package engine
