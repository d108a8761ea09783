package server

import "testing"

// A request id vouches for one system: used for another one, the word for the
// first would be taken for the word for the second.
func TestVouchRequestNamesOneSystem(t *testing.T) {
	var v vouches
	seen, first := v.wait("1", "A")
	v.delivered("1")
	<-seen
	if _, again := v.wait("1", "A"); first != "A" || again != "A" {
		t.Errorf("the same again: %s, %s", first, again)
	}
	if _, other := v.wait("1", "B"); other != "A" {
		t.Errorf("the id was taken for B: %s", other)
	}
	v.delivered("2") // asked elsewhere
	if _, mine := v.wait("2", "B"); mine != "B" {
		t.Errorf("an id that was used elsewhere: %s", mine)
	}
}
