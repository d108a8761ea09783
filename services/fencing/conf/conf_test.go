package conf

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

func TestGolden(t *testing.T) {
	datadriven.RunTest(t, "testdata/conf.txt", func(t *testing.T, d *datadriven.TestData) string {
		c, err := Parse("fencing.conf", []byte(d.Input))
		if err != nil {
			var at *Error
			if !errors.As(err, &at) {
				t.Fatalf("%v is no *Error", err)
			}
			return err.Error() + "\n"
		}
		var b strings.Builder
		fmt.Fprintf(&b, "mode %s delay %v timeout %v\n", c.Mode, c.RaceDelay, c.RaceTimeout)
		for i, p := range c.Points {
			fmt.Fprintf(&b, "point%d %v\n", i+1, p)
		}
		fmt.Fprintf(&b, "self-stop in a lab %s, elsewhere %s", c.Action(true), c.Action(false))
		if c.SelfStopExec != "" {
			fmt.Fprintf(&b, " %s", c.SelfStopExec)
		}
		if c.PowerSwitch != "" {
			fmt.Fprintf(&b, "\npower switch %s", c.PowerSwitch)
		}
		return b.String() + "\n"
	})
}

func FuzzParse(f *testing.F) {
	f.Add("vxfen_mode=customized\npoint1=file:/a\npoint2=file:/b\npoint3=file:/c\n")
	f.Add("vxfen_mode = disabled # no\nself_stop=exec\nself_stop_exec=/bin/x")
	f.Add("race_delay_ms=“300”")
	f.Add("point99=file:\npoint=\n=\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", []byte(text))
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || at.Line < 1 || at.Col < 1 {
				t.Fatalf("error without a position: %v", err)
			}
			return
		}
		if c.Mode == Customized && (len(c.Points) < 3 || len(c.Points)%2 == 0) {
			t.Fatalf("accepted %d points", len(c.Points))
		}
		if c.Mode != Customized && c.Mode != Disabled {
			t.Fatalf("accepted mode %q", c.Mode)
		}
	})
}
