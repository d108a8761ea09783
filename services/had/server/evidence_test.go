package server

import (
	"os"
	"reflect"
	"testing"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// What an agent may take over follows the views: members hold what they have,
// evidence is about one incarnation, and a restarted had knows what the former
// one knew (R4).
func TestEvidenceFollowsTheViews_R4(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(root.RunDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := &gabv1.Member{NodeId: 0, Name: "A", Incarnation: 7}, &gabv1.Member{NodeId: 1, Name: "B", Incarnation: 3}
	table, err := readEvidence(root, "B")
	if err != nil {
		t.Fatal(err)
	}
	id := &gabv1.ViewId{Lineage: 1, Counter: 5}
	table.view(&gabv1.View{Id: id, Members: []*gabv1.Member{b}, Systems: []*gabv1.Member{a, b}})
	if got := table.Systems[0]; got != (standingOf{Name: "A", Incarnation: 7, Member: true}) {
		t.Errorf("a system without had is %+v; it still holds what it has", got)
	}
	table.view(&gabv1.View{Id: id, Members: []*gabv1.Member{b}, Systems: []*gabv1.Member{b},
		Departed: []*gabv1.Departed{{Member: a, Evidence: gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF}}})
	if err := table.write(root); err != nil {
		t.Fatal(err)
	}
	again, err := readEvidence(root, "B")
	if err != nil || !reflect.DeepEqual(again, table) {
		t.Fatalf("read %+v, %v; wrote %+v", again, err, table)
	}
	if got := again.Systems[0]; got != (standingOf{Name: "A", Incarnation: 7, Evidence: "POWERED_OFF"}) {
		t.Errorf("A is %+v", got)
	}
	back := &gabv1.Member{NodeId: 0, Name: "A", Incarnation: 8}
	again.view(&gabv1.View{Id: id, Members: []*gabv1.Member{back, b}, Systems: []*gabv1.Member{back, b}})
	again.departed(&gabv1.Departed{Member: a, Evidence: gabv1.EvidenceKind_EVIDENCE_KIND_VOUCHED})
	if got := again.Systems[0]; got != (standingOf{Name: "A", Incarnation: 8, Member: true}) {
		t.Errorf("late evidence about an old incarnation changed the new one: %+v", got)
	}
}
