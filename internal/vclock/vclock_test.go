package vclock

import "testing"

func TestAddSaturates(t *testing.T) {
	if got := (Never - 5).Add(10); got != Never {
		t.Fatalf("(Never-5)+10 = %v, want never", got)
	}
	if got := Never.Add(-1); got != Never {
		t.Fatalf("never-1 = %v, want never", got)
	}
	if got := Time(5).Add(-3); got != 2 {
		t.Fatalf("5-3 = %d", got)
	}
	if s := Time(1_500_000_123).String(); s != "1.500000s" {
		t.Fatalf("String() = %q", s)
	}
}
