package transport

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/internal/release"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// gabOptions are the options of gabconfig, taken apart.
type gabOptions struct {
	letters string            // those without a value, in order
	values  map[byte][]string // of the others
}

// valued are the letters that take a value, attached or as the next word.
const valued = "nftQSVhm"

func parseGab(args []string) (gabOptions, error) {
	o := gabOptions{values: map[byte][]string{}}
	for i := 0; i < len(args); i++ {
		letters, isOption := strings.CutPrefix(args[i], "-")
		if !isOption || letters == "" {
			return o, errUsage
		}
		for k := 0; k < len(letters); k++ {
			if !strings.ContainsRune(valued, rune(letters[k])) {
				o.letters += letters[k : k+1]
				continue
			}
			value := letters[k+1:]
			if value == "" {
				i++
				if i == len(args) {
					return o, errUsage
				}
				value = args[i]
			}
			o.values[letters[k]] = append(o.values[letters[k]], value)
			break
		}
	}
	return o, nil
}

// has reports whether one of the letters was given.
func (o gabOptions) has(letters string) bool { return strings.ContainsAny(o.letters, letters) }

// without are options of VCS that have no counterpart, and what to do instead.
var without = map[byte]string{
	't': "the stable timeout is one of LLT's timers, and leases are reckoned from it: write set-timer stable:TICKS into llttab on all systems and restart gab there",
	'f': "there is no IOFENCE timeout: a client that is put out of its port loses its stream at once; -S isolate_time:MS is how long a hung one may outlive its killing",
	'Q': "flow control goes by what clients have under way and needs no limits",
	'V': "the protocol is the newest that all systems speak; gabconfig -W shows it",
	'h': "disk heartbeats are links of llttab: link TAG DEVICE - disk ...; docs/spec/llt.md",
	'm': "disk heartbeats are links of llttab: link TAG DEVICE - disk ...; docs/spec/llt.md",
	's': "arbitration between parts of a cluster is never off; one link alone is permanent jeopardy",
	'R': "hashadow restarts had; ha node status",
}

func gabconfig(ctx context.Context, c clients, args []string, out io.Writer) error {
	o, err := parseGab(args)
	if err != nil || len(args) == 0 {
		return errUsage
	}
	for letter, why := range without {
		if _, given := o.values[letter]; given || o.has(string(letter)) {
			return fmt.Errorf("-%c has no counterpart: %s", letter, why)
		}
	}
	if strings.Trim(o.letters, "aCcelvWxuUjJkbBpPqd") != "" {
		return errUsage
	}
	if o.has("aCelvW") {
		return show(ctx, c, o, out)
	}
	if o.has("uU") {
		_, err := c.gab.Leave(ctx, &gabv1.LeaveRequest{})
		return err
	}
	return configure(ctx, c, o)
}

// configure is -c with all that may go with it: gab configures itself when it
// starts, so what is left is to change options and to seed.
func configure(ctx context.Context, c clients, o gabOptions) error {
	r := &gabv1.ConfigureRequest{}
	for i := range o.letters {
		on := true
		var to **bool
		switch o.letters[i] {
		case 'j', 'J':
			to, on = &r.HaltOnRejoin, o.letters[i] == 'j'
		case 'k':
			to = &r.KeepKilling
		case 'b', 'B':
			to, on = &r.MissedHeartbeatHalt, o.letters[i] == 'b'
		case 'p', 'P':
			to, on = &r.HaltOnProcessDeath, o.letters[i] == 'p'
		case 'q', 'd':
			to, on = &r.Quorum, o.letters[i] == 'q'
		default:
			continue
		}
		*to = &on
	}
	if err := numbers(o, r); err != nil {
		return err
	}
	if _, err := c.gab.Configure(ctx, r); err != nil {
		return err
	}
	if o.has("x") {
		_, err := c.gab.Seed(ctx, &gabv1.SeedRequest{})
		return err
	}
	return nil
}

func numbers(o gabOptions, r *gabv1.ConfigureRequest) error {
	for _, text := range o.values['n'] {
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil || n > 64 {
			return fmt.Errorf("-n %q is no number of systems from 0 to 64; write -n N, N being the number of systems of the cluster", text)
		}
		count := uint32(n)
		r.SeedCount = &count
	}
	for _, text := range o.values['S'] {
		name, value, _ := strings.Cut(text, ":")
		ms, err := strconv.ParseUint(value, 10, 32)
		switch {
		case name == "kill_ntries":
			return fmt.Errorf("-S kill_ntries has no counterpart: the first kill is one that no process can refuse; -S isolate_time:MS is how long it may take")
		case name != "isolate_time" || err != nil:
			return fmt.Errorf("-S %q: the parameter that can be set is isolate_time:MILLISECONDS", text)
		}
		isolate := uint32(ms)
		r.IsolateMs = &isolate
	}
	return nil
}

// show is the options that only print.
func show(ctx context.Context, c clients, o gabOptions, out io.Writer) error {
	if o.has("v") {
		fmt.Fprintln(out, "GAB version", release.Version)
	}
	if o.has("aC") {
		if err := ports(ctx, c, o, out); err != nil {
			return err
		}
	}
	if !o.has("elW") {
		return nil
	}
	conf, err := c.gab.GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
	if err != nil {
		return err
	}
	if o.has("e") {
		tunables(conf, out)
	}
	if o.has("l") {
		driver(conf, out)
	}
	if o.has("W") {
		fmt.Fprintln(out, "GAB protocol version", conf.GetWireVersion())
	}
	return nil
}

func ports(ctx context.Context, c clients, o gabOptions, out io.Writer) error {
	answer, err := c.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return err
	}
	if !o.has("a") {
		for _, port := range answer.GetPorts() {
			if port.GetClient() != "" {
				fmt.Fprintf(out, "Port %s client %s\n", port.GetPort(), port.GetClient())
			}
		}
		return nil
	}
	memberships(answer, o.has("C"), out)
	if answer.GetSeeded() {
		return nil
	}
	conf, err := c.gab.GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
	if err == nil {
		fmt.Fprintf(out, "Not seeded; waits for %s\n", conf.GetWaitingFor())
	}
	return err
}

// memberships prints the ports as scripts expect them.
func memberships(answer *gabv1.GetMembershipResponse, clients bool, out io.Writer) {
	fmt.Fprintln(out, "GAB Port Memberships")
	fmt.Fprintln(out, strings.Repeat("=", 63))
	for _, port := range answer.GetPorts() {
		if len(port.GetMembers()) == 0 {
			continue
		}
		name := port.GetPort()
		if client := port.GetClient(); clients && client != "" {
			name += "[" + client + "]"
		}
		fmt.Fprintf(out, "Port %s gen %s membership %s\n", name, port.GetGeneration(), digits(port.GetMembers()))
		var jeopardy []*gabv1.Member
		for _, member := range port.GetMembers() {
			if member.GetJeopardy() {
				jeopardy = append(jeopardy, member)
			}
		}
		if len(jeopardy) > 0 {
			fmt.Fprintf(out, "Port %s gen %s   jeopardy ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(jeopardy), " "))
		}
		if visible := port.GetVisible(); len(visible) > 0 {
			fmt.Fprintf(out, "Port %s gen %s    visible ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(visible), " "))
		}
		if slow := port.GetSlow(); len(slow) > 0 {
			fmt.Fprintf(out, "Port %s gen %s       slow ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(slow), " "))
		}
		if stalled := port.GetStalled(); len(stalled) > 0 {
			fmt.Fprintf(out, "Port %s gen %s    stalled ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(stalled), " "))
		}
	}
	if gate := answer.GetGate(); gate.GetHeld() {
		fmt.Fprintf(out, "Port h is held: %s\n", gate.GetReason())
	}
}

// digits is the positional map of members: the last digit of each id, a blank
// for an id that is no member, and one ';' for each ten passed. In a ten after
// the first, blanks before its first member are left out.
func digits(members []*gabv1.Member) string {
	present := map[uint32]bool{}
	var highest uint32
	for _, member := range members {
		present[member.GetNodeId()] = true
		highest = max(highest, member.GetNodeId())
	}
	var tens []string
	for ten := uint32(0); ten <= highest/10; ten++ {
		var text strings.Builder
		for unit := range uint32(10) {
			if present[10*ten+unit] {
				fmt.Fprint(&text, unit)
			} else {
				text.WriteByte(' ')
			}
		}
		group := strings.TrimRight(text.String(), " ")
		if ten > 0 {
			group = strings.TrimLeft(group, " ")
		}
		tens = append(tens, group)
	}
	return strings.Join(tens, ";")
}

// driver prints the configuration: the lines that VCS has, then what it has
// not.
func driver(conf *gabv1.GetConfigurationResponse, out io.Writer) {
	enabled := func(on bool) string {
		if on {
			return "Enabled"
		}
		return "Disabled"
	}
	fmt.Fprintln(out, "GAB Driver Configuration")
	for _, line := range [][2]string{
		{"Driver state", "Configured"},
		{"Partition arbitration", enabled(true)},
		{"Control port seed", enabled(conf.GetSeedCount() > 0)},
		{"Halt on process death", enabled(conf.GetHaltOnProcessDeath())},
		{"Missed heartbeat halt", enabled(conf.GetMissedHeartbeatHalt())},
		{"Halt on rejoin", enabled(conf.GetHaltOnRejoin())},
		{"Keep on killing", enabled(conf.GetKeepKilling())},
		{"Quorum flag", enabled(conf.GetQuorum())},
		{"Restart", enabled(true)},
		{"Node count", fmt.Sprint(conf.GetSeedCount())},
		{"Send queue limit", fmt.Sprint(conf.GetWindowMessages())},
		{"Stable timeout (ms)", fmt.Sprint(conf.GetStableMs())},
		{"Isolate timeout (ms)", fmt.Sprint(conf.GetIsolateMs())},
		{"Node", fmt.Sprintf("%d %s", conf.GetNodeId(), conf.GetName())},
		{"Membership", conf.GetState()},
		{"Fencing mode", conf.GetFencingMode()},
	} {
		fmt.Fprintf(out, "%-21s: %s\n", line[0], line[1])
	}
	if waiting := conf.GetWaitingFor(); waiting != "" {
		fmt.Fprintf(out, "%-21s: %s\n", "Waiting for", waiting)
	}
}

// tunables prints what is fixed when gab starts.
func tunables(conf *gabv1.GetConfigurationResponse, out io.Writer) {
	for _, line := range [][2]any{
		{"numnids", 64}, {"numports", 26}, {"flowctrl", conf.GetWindowMessages()}, {"isolate_time", conf.GetIsolateMs()},
	} {
		fmt.Fprintf(out, "%-13s: %v\n", line[0], line[1])
	}
}
