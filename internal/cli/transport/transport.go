// Package transport is the commands about LLT and GAB under their VCS names:
// lltstat, lltconfig and gabconfig. Their layouts are what scripts parse; they
// talk to the local gab and to nobody else.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// deadline bounds every command: monitoring kills what takes two seconds.
const deadline = 1800 * time.Millisecond

// errUsage asks for the usage text.
var errUsage = errors.New("usage")

// Streams are a command's outputs.
type Streams struct {
	Out, Err io.Writer
}

// command is one of the commands: it runs against the daemon and prints.
type command struct {
	// family is the message family: 14 is LLT, 15 is GAB.
	family string
	title  string
	usage  string
	run    func(ctx context.Context, c clients, args []string, out io.Writer) error
	// local: it works without the daemon, for as long as it takes.
	local bool
}

type clients struct {
	gab gabv1.GabServiceClient
	llt gabv1.LltServiceClient
}

var commands = map[string]command{
	"lltstat": {family: "14", title: "LLT lltstat", run: lltstat,
		usage: "usage: lltstat [-n | -nv | -nvv [active|configured]] [-N] [-l] [-c] [-C] [-p] [-P] [-t] [-v] [-e] [-z] [-q] [-a]\n  without options: packet statistics   -v traffic, losses and round trips by peer and link   -e errors by cause\n  -C cluster id   -p ports   -P port statistics   -t tunables   -z zero the counters   -q nothing, the exit code tells   -a all of it\n"},
	"lltconfig": {family: "14", title: "LLT lltconfig", run: lltconfig, usage: lltconfigUsage},
	"gabdiskconf": {family: "15", title: "GAB gabdiskconf", run: gabdiskconf, local: true,
		usage: "usage: gabdiskconf -i DEVICE -s BLOCK [-S SIGNATURE] [-o]\n  -i makes an empty heartbeat region from the block on (512 bytes each, a multiple of 8)   -o overwrites what is there\n  then, on every system, in llttab: link TAG DEVICE - disk BLOCK -\n"},
	"gabdiskhb": {family: "15", title: "GAB gabdiskhb", run: gabdiskhb,
		usage: "usage: gabdiskhb -a DEVICE -s BLOCK [-t TAG] | -d DEVICE | -l\n  -a uses the heartbeat region until the next start   -d no longer   -l lists the regions\n"},
	"gabconfig": {family: "15", title: "GAB gabconfig", run: gabconfig,
		usage: "usage: gabconfig -a [-C] | -C | -l | -e | -v | -W | -c [-n COUNT] [-x] | -x | -U\n" +
			"       gabconfig [-j|-J] [-k] [-b|-B] [-p|-P] [-q|-d] [-S isolate_time:MS]\n" +
			"  -a memberships of the ports   -C names of clients   -l configuration   -e what is fixed   -W protocol\n" +
			"  -n systems to be seen before seeding   -x seed now   -U leave the cluster\n" +
			"  -j stop instead of rejoining after a split   -k no isolation for a client that cannot be killed\n" +
			"  -b stop when a client hangs   -p stop when had dies   -q stop when less than half is left\n"},
}

// Names are the commands of this package, in order.
func Names() []string {
	return []string{"lltstat", "lltconfig", "gabconfig", "gabdiskconf", "gabdiskhb"}
}

// Run runs the command of the given name and returns its exit code: 0, or 1 if
// it failed, or 2 if its options were wrong.
func Run(ctx context.Context, root paths.Root, name string, args []string, s Streams) int {
	c, known := commands[name]
	if !known {
		fmt.Fprintf(s.Err, "%s: unknown command; known are %s\n", name, strings.Join(Names(), ", "))
		return 2
	}
	if !c.local {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	conn, err := grpc.NewClient("unix:"+root.Socket("gab"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		defer conn.Close()
		err = c.run(ctx, clients{gab: gabv1.NewGabServiceClient(conn), llt: gabv1.NewLltServiceClient(conn)}, args, s.Out)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(s.Err, c.usage)
		return 2
	case name == "lltconfig" && len(args) == 0:
		fmt.Fprintln(s.Out, "LLT is not running")
		return 1
	default:
		fmt.Fprintf(s.Err, "%s ERROR V-%s-2-10000 %s\n", c.title, c.family, reason(err, root))
		return 1
	}
}

// reason says what went wrong in a sentence.
func reason(err error, root paths.Root) string {
	text := status.Convert(err).Message()
	if strings.Contains(text, "connect: no such file") || strings.Contains(text, "connection refused") {
		return fmt.Sprintf("gab does not run on this system (%s); start it with: ha node start", root.Socket("gab"))
	}
	return text
}

// flags splits options into the letters given and the words left over.
func flags(args []string) (letters string, words []string) {
	for _, arg := range args {
		if rest, ok := strings.CutPrefix(arg, "-"); ok {
			letters += rest
		} else {
			words = append(words, arg)
		}
	}
	return letters, words
}
