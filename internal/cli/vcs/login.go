package vcs

import (
	"context"
	"fmt"
	"slices"
)

// halogin keeps no session: who asks is known by the uid that the socket of
// had tells. Ending sessions therefore succeeds, and beginning one is refused,
// with what takes its place.
func halogin(_ context.Context, s *session, args []string) error {
	if slices.Equal(args, []string{"-help"}) {
		fmt.Fprint(s.Out, usage("halogin", ""))
		return nil
	}
	l, err := parse(args, []string{"endallsessions", "endsession="})
	if err != nil {
		return err
	}
	ends := l.flags["endallsessions"] || l.value("endsession") != ""
	switch n := len(l.names); {
	case ends && n > 0, l.flags["endallsessions"] && l.value("endsession") != "":
		return fmt.Errorf("one of -endallsessions, -endsession HOST and HOST USER: %w", errUsage)
	case ends:
		return nil
	case n < 2 || n > 3:
		return fmt.Errorf("it takes a host, a user and perhaps a password: %w", errUsage)
	}
	return warning(idUser, "User %s is not logged in: this cluster keeps no passwords, and no login is needed; root may change everything, everybody else of the system may read; run the command on the host itself", l.names[1])
}
