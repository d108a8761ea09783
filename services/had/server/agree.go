package server

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/join"
)

// mark asks all RUNNING engines to be hashed at its place in the order.
type mark struct{}

// vote is one engine's hash at a mark.
type vote struct {
	N    uint64 `json:"n"`
	Hash uint64 `json:"hash"`
}

// castVote hashes the engine at the place of a mark.
func (l *loop) castVote(e join.Vote) {
	l.broadcast(nil, encodeJSON(kindVote, vote{N: e.N, Hash: l.engine.HashPart(e.N)}))
}

// diverged ends had: what its engine believes is not what the others know. It
// raises nothing more; applications stay, as always when had goes, and the had
// that hashadow starts takes the state of a peer and probes everything (R22).
func (l *loop) diverged(e join.Diverged) {
	l.check(fmt.Errorf("the engine of this system is not what %s have; had starts anew and takes their state (applications are left as they are)", strings.Join(e.With, ", ")))
}
