// Package window fixes the flow-control windows of gRPC between the daemons of
// one system.
//
// By default gRPC measures the link with an HTTP/2 PING for each burst of data,
// to size its windows. On a unix socket there is nothing to measure, and the
// pings double the wake-ups of daemons that exchange a lease every 75 ms.
package window

import "google.golang.org/grpc"

// Bytes that may be under way unread: in one stream, and in one connection.
const (
	stream     = 1 << 20
	connection = 4 << 20
)

// buffer is what one read or write of the socket takes at most.
const buffer = 128 << 10

// Dial are the options of a client.
func Dial() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithStaticStreamWindowSize(stream), grpc.WithStaticConnWindowSize(connection),
		grpc.WithWriteBufferSize(buffer), grpc.WithReadBufferSize(buffer)}
}

// Serve are the options of a server.
func Serve() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.StaticStreamWindowSize(stream), grpc.StaticConnWindowSize(connection),
		grpc.WriteBufferSize(buffer), grpc.ReadBufferSize(buffer)}
}
