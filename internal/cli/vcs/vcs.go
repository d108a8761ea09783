// Package vcs is the commands of the engine under their VCS names: hastatus,
// hagrp, hares, hasys, hatype, haattr, haclus, hauser, haconf, hacf, hastart,
// hastop, haagent, hamsg, halog and halogin. Options,
// layouts, message ids and exit codes are those that scripts written for VCS
// rely on.
package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/hacf"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/release"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Surroundings are what a command finds around it.
type Surroundings struct {
	Root     paths.Root
	In       io.Reader
	Out, Err io.Writer
	// Compat is EVENKEEL_VCS_COMPAT: "3.5" prints bare states.
	Compat string
	// Programs is the folder of the daemons, for hastart.
	Programs string
}

// message is a refusal of a command itself, in VCS's form.
type message struct{ severity, id, text string }

func (m message) Error() string { return fmt.Sprintf("VCS %s %s %s", m.severity, m.id, m.text) }

// Message ids of our own, where VCS's documents give no number. Those of the
// configuration are in maincf: 90003 is an attribute that does not exist.
const (
	idOtherCluster = 90501 // -clus names a cluster that is not this one
	idUnsupported  = 90502 // something of VCS that this cluster does not have
	idState        = 90503 // a state that does not exist
	idNoValue      = 90504 // an attribute has no value on that system
	idLog          = 90505 // a log does not exist or cannot be read
	idUser         = 90506 // users, which come from main.cf
	idWhichSystem  = 90507 // the name of this system is not known
	idRefusedStop  = 90508 // the prompt of hastop was answered with no
	idAdded        = 90509 // the line of halog -add
)

func warning(number int, format string, args ...any) error {
	return message{"WARNING", fmt.Sprintf("V-16-1-%d", number), fmt.Sprintf(format, args...)}
}

// session is one command at work.
type session struct {
	Surroundings
	had *connect.Had
}

// action is one thing that a command does.
type action struct {
	// usage is what stands behind the action, one line for each form; options
	// as parse wants them.
	usage   string
	options []string
	// names is the least and the most number of names, -1 for any number.
	least, most int
	// waits: the action bounds its time itself, or by that of each of many calls. edits: it is an edit of the
	// configuration, whose words are passed on as typed.
	changes, waits, edits bool
	run                   func(ctx context.Context, s *session, l line) error
}

// commands returns each command's actions.
func commands() map[string]map[string]action {
	all := map[string]map[string]action{
		"hagrp": groupActions(), "hares": resourceActions(), "hasys": systemActions(), "hatype": typeActions(),
		"haattr": attributeActions(), "haclus": clusterActions(), "haconf": confActions(), "hauser": userActions(),
		"haagent": agentActions(), "halog": logActions(), "hahb": heartbeatActions(),
	}
	for _, o := range operate.Table() {
		if _, ours := all[o.Command][o.Action]; !ours && all[o.Command] != nil {
			all[o.Command][o.Action] = operation(o)
		}
	}
	for program, actions := range edits {
		for name, usage := range actions {
			all[program][name] = edit(program, name, usage)
		}
	}
	return all
}

// Names are the commands of this package.
func Names() []string {
	return []string{"hastatus", "hagrp", "hares", "hasys", "hatype", "haattr", "haclus", "hauser", "haconf", "hacf",
		"hastart", "hastop", "haagent", "hamsg", "halog", "hahb", "halogin"}
}

// alone are the commands without actions.
var alone = map[string]func(context.Context, *session, []string) error{
	"hastatus": hastatus, "hastart": hastart, "hastop": hastop, "hamsg": hamsg, "halogin": halogin,
}

// Run runs the command of the given name and returns its exit code: 0, 1 if it
// failed, 2 if its options were wrong.
func Run(ctx context.Context, name string, args []string, around Surroundings) int {
	s := &session{Surroundings: around}
	if len(args) == 1 && (args[0] == "-version" || args[0] == "-v" && name == "hastart") {
		fmt.Fprintf(s.Out, "%s %s\n", name, release.Version)
		return 0
	}
	if name == "hacf" {
		return hacf.Run(args, around.Out, around.Err)
	}
	var err error
	if s.had, err = connect.ToHad(around.Root); err == nil {
		defer s.had.Close()
		if run, ok := alone[name]; ok {
			err = run(ctx, s, args)
		} else {
			err = dispatch(ctx, s, name, args)
		}
	}
	return s.report(name, err)
}

// errAction is wrong usage for which no action could be told.
var errAction = errors.New("action")

// said is the text of wrong usage without the marks at its end.
func said(err error) string {
	text := err.Error()
	for _, mark := range []error{errAction, errUsage} {
		text = strings.TrimSuffix(strings.TrimSuffix(text, mark.Error()), ": ")
	}
	return text
}

// usageError is wrong usage of one action: its own forms are shown and not
// those of all others.
type usageError struct {
	action string
	cause  error
}

func (e usageError) Error() string { return e.cause.Error() }
func (e usageError) Unwrap() error { return e.cause }

func dispatch(ctx context.Context, s *session, name string, args []string) error {
	actions, known := commands()[name]
	if !known {
		return fmt.Errorf("no such command: %w", errUsage)
	}
	if len(args) == 0 {
		return errUsage
	}
	if !strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("an action comes first, such as -%s, not %s: %w", slices.Min(slices.Collect(maps.Keys(actions))), args[0], errAction)
	}
	names := append(slices.Collect(maps.Keys(actions)), "help", "version")
	chosen, err := complete(args[0][1:], names)
	if err != nil {
		return fmt.Errorf("%s: %w", said(err), errAction)
	}
	a := actions[chosen]
	switch chosen {
	case "help":
		return s.help(name, actions, args[1:])
	case "version":
		return fmt.Errorf("-version takes no words: %w", errUsage)
	}
	if err := perform(ctx, s, chosen, a, args[1:]); errors.Is(err, errUsage) {
		return usageError{chosen, err}
	} else {
		return err
	}
}

func perform(ctx context.Context, s *session, name string, a action, words []string) error {
	l := line{typed: words}
	if !a.edits {
		var err error
		if l, err = parse(words, a.options); err != nil {
			return err
		}
		switch n := len(l.names); {
		case n < a.least:
			return fmt.Errorf("-%s: %s: %w", name, counted("missing", a.least-n), errUsage)
		case a.most >= 0 && n > a.most:
			return fmt.Errorf("-%s: %s behind what it takes: %s: %w", name, counted("too many", n-a.most), strings.Join(l.names[a.most:], " "), errUsage)
		}
	}
	limit := connect.ReadTimeout
	if a.changes || a.edits {
		limit = connect.ChangeTimeout
	}
	if !a.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if err := s.thisCluster(ctx, l); err != nil {
		return err
	}
	return a.run(ctx, s, l)
}

func counted(what string, n int) string {
	if n == 1 {
		return "1 word is " + what
	}
	return fmt.Sprintf("%d words are %s", n, what)
}

// help prints the whole synopsis, or with -ACTION the forms of that action.
func (s *session) help(name string, actions map[string]action, words []string) error {
	if len(words) == 0 {
		fmt.Fprint(s.Out, usage(name, ""))
		return nil
	}
	if len(words) > 1 || !strings.HasPrefix(words[0], "-") {
		return fmt.Errorf("-help takes one action, such as -help -list: %w", errUsage)
	}
	chosen, err := complete(words[0][1:], slices.Collect(maps.Keys(actions)))
	if err != nil {
		return fmt.Errorf("%s: %w", said(err), errAction)
	}
	fmt.Fprint(s.Out, usage(name, chosen))
	return nil
}

// thisCluster refuses -clus for any cluster but this one.
func (s *session) thisCluster(ctx context.Context, l line) error {
	want := l.value("clus")
	if want == "" {
		return nil
	}
	a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
	if err != nil {
		return err
	}
	if have := a.GetCluster().GetName(); have != want {
		return warning(idOtherCluster, "Cluster %s is not known here; this cluster is %s", want, have)
	}
	return nil
}

// operation is the VCS form of a row of the table.
func operation(o operate.Operation) action {
	letter := strings.ToUpper(o.Object[:1])
	if o.Object == "agent" {
		letter = "T" // an agent is named by its type
	}
	a := action{usage: letter, least: 1, most: 1, changes: true, options: []string{"localclus", "clus="}}
	target := "sys"
	if o.Target != "" {
		target = o.Target
	}
	switch o.System {
	case operate.SystemOptional:
		a.usage += " [-" + target + " S]"
	case operate.SystemRequired:
		a.usage += " -" + target + " S"
	case operate.SystemOrAny:
		a.usage += " -" + target + " S|-any"
	}
	if o.System != operate.NoSystem {
		a.options = append(a.options, target+"=")
	}
	if o.System == operate.SystemOrAny {
		a.options = append(a.options, "site=")
	}
	for _, option := range o.Options {
		name := option.VCS
		if option.Text != nil {
			name += "="
		}
		a.options = append(a.options, name)
		switch {
		case option.Text != nil:
			a.usage += " [-" + option.VCS + " S]"
		case option.VCS != "any":
			a.usage += " [-" + option.VCS + "]"
		}
	}
	a.options = append(a.options, accepted[o.Command+" "+o.Action]...)
	limit := connect.ChangeTimeout
	if o.Action == "switch" {
		limit, a.waits = connect.SwitchTimeout, true
	}
	a.run = func(ctx context.Context, s *session, l line) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		r := operate.Request{Name: l.names[0], System: l.value(target)}
		for _, option := range o.Options {
			if option.Text != nil {
				*option.Text(&r) = l.value(option.VCS)
			} else {
				*option.Set(&r) = l.flags[option.VCS]
			}
		}
		switch {
		case l.value("site") != "":
			return warning(idUnsupported, "Site %s does not exist: this cluster has no sites; name a system: -%s", l.value("site"), target)
		case o.System == operate.SystemRequired && r.System == "":
			return fmt.Errorf("which system? Name it: -%s S: %w", target, errUsage)
		case o.System == operate.SystemOrAny && (r.System == "") != r.Any:
			return fmt.Errorf("which system? Either -%s S or -any: %w", target, errUsage)
		}
		if l.flags["ifprobed"] {
			if err := s.probed(ctx, r); err != nil {
				return err
			}
		}
		answer, err := o.Do(ctx, s.had, r)
		if err != nil {
			return err
		}
		s.notices(answer)
		return nil
	}
	return a
}

// accepted are options that commands take beside those of the operation.
// -force of -online is about groups that another cluster has authority over,
// of which there are none.
var accepted = map[string][]string{"hagrp online": {"force"}, "hares online": {"force"}, "hagrp offline": {"ifprobed"}}

// probed refuses a group whose resources are not all monitored yet
// (hagrp -offline -ifprobed).
func (s *session) probed(ctx context.Context, r operate.Request) error {
	groups, err := s.had.TheGroups(ctx, []string{r.Name})
	if err != nil {
		return err
	}
	for _, on := range groups[0].GetSystems() {
		if !on.GetProbed() && (r.System == "" || r.System == on.GetSystem()) {
			return warning(10162, "Group %s is not fully probed on system %s", r.Name, on.GetSystem())
		}
	}
	return nil
}

// notices prints what VCS says beside a success.
func (s *session) notices(o *hadv1.Operation) {
	for _, n := range o.GetNotices() {
		fmt.Fprintln(s.Err, message{n.GetSeverity(), n.GetMessageId(), n.GetText()}.Error())
	}
}

// report prints an error as VCS does and returns the exit code.
func (s *session) report(name string, err error) int {
	var refused message
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errAction):
		fmt.Fprintf(s.Err, "%s: %s; %s -help shows all\n", name, said(err), name)
		return 2
	case errors.Is(err, errUsage):
		if text := said(err); text != "" {
			fmt.Fprintf(s.Err, "%s: %s\n", name, strings.TrimPrefix(text, name+" "))
		}
		var of usageError
		errors.As(err, &of)
		fmt.Fprint(s.Err, usage(name, of.action))
		return 2
	case errors.Is(err, errQuiet):
		return 1
	case errors.As(err, &refused):
		fmt.Fprintln(s.Err, refused.Error())
		return 1
	}
	fault := s.had.Fault(err)
	m := message{fault.Severity, fault.MessageID, fault.Text}
	switch {
	case fault.Down && name == "hastatus":
		m = message{"WARNING", "V-16-1-11046", "Local system not available"}
	case fault.Down:
		m = message{"ERROR", "V-16-1-10600", "Cannot connect to VCS engine"}
	case fault.Late:
		m = message{"ERROR", "V-16-1-10805", "Connection timed out: " + fault.Text}
	case m.id == "":
		m.id = "V-16-1-10000"
	}
	if m.severity == "" {
		m.severity = "ERROR"
		if fault.Code == codes.NotFound || fault.Code == codes.FailedPrecondition || fault.Code == codes.InvalidArgument {
			m.severity = "WARNING"
		}
	}
	fmt.Fprintln(s.Err, m.Error())
	return 1
}

// errQuiet is a failure that was told already.
var errQuiet = errors.New("told already")

// fixedUsage is that of the commands without actions.
var fixedUsage = map[string]string{
	"hastatus": `usage:
  hastatus [-sound] [-time] [-group G...] [-localclus|-clus C]
  hastatus -sum[mary] [-localclus|-clus C]
  hastatus -help
`,
	"hastart": `usage:
  hastart [-onenode] [-stale|-force] [-ts]
  hastart -v|-version
  hastart -help
`,
	"hastop": `usage:
  hastop -local [-force | -evacuate | -noautodisable | -evacuate -noautodisable]
  hastop -sys S... [-force | -evacuate | -noautodisable | -evacuate -noautodisable]
  hastop -all [-force]
  hastop -sysoffline [-force | -evacuate | -noautodisable | -evacuate -noautodisable]
  hastop -help
`,
	"hamsg": `usage:
  hamsg -list
  hamsg -info LOG
  hamsg [-any|-all] [-tail N] [-sev C|E|W|N|I] [-otype VCS|RES|GRP|SYS|AGT] [-oname NAME] [-msgid ID] [-path DIR] [-lang LANGUAGE] LOG
  hamsg -help
`,
	"halogin": `usage:
  halogin HOST USER [PASSWORD]
  halogin -endsession HOST
  halogin -endallsessions
  halogin -help
`,
}

// usage is the help of a command, or of one action of it.
func usage(name, one string) string {
	if text, ok := fixedUsage[name]; ok {
		return text
	}
	actions := commands()[name]
	var b strings.Builder
	b.WriteString("usage:\n")
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		if one != "" && action != one {
			continue
		}
		for _, form := range strings.Split(actions[action].usage, "\n") {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight(name+" -"+action+" "+form, " "))
		}
	}
	if one == "" {
		fmt.Fprintf(&b, "  %s -help [-ACTION]\n  %s -version\n", name, name)
	}
	return b.String()
}
