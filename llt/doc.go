// Package llt is the core of Low Latency Transport: it knows which systems of
// the cluster are alive over which links, and carries messages between them.
//
// It is pure. The shell (services/gab/server with llt/link) hands in frames,
// link states, send requests and the time, and carries out the effects. The
// normative text is docs/spec/llt.md; the frame layout is in package
// llt/frame.
//
// What a user of the core may rely on, per peer:
//
//   - PeerUp opens a connection, PeerDown ends it. Between two PeerUps of one
//     node there is always a PeerDown, and a connection that ended on one side
//     ends on the other before either opens the next.
//   - Within one connection the messages of Send arrive as Deliver complete,
//     in the order of their sends, each exactly once, or the connection ends.
//   - Every Send gets exactly one SendDone. Failed means that the connection
//     ended first; the peer may have received the message all the same.
//   - Nothing of a peer counts, not even a heartbeat, before its boot id
//     answered a fresh challenge (R20).
package llt
