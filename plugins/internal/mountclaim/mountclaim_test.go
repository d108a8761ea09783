package mountclaim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func FuzzDecode(f *testing.F) {
	whole, err := Encode(Claim{System: "Server1", Incarnation: 7, Nonce: 9})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(make([]byte, sector))
	f.Add(bytes.Repeat([]byte{0xeb}, sector))
	f.Fuzz(func(t *testing.T, text []byte) {
		claim, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Encode(claim)
		if err != nil {
			t.Fatalf("decoded %+v and cannot encode it: %v", claim, err)
		}
		if back, err := Decode(again); err != nil || back != claim {
			t.Fatalf("decode(encode(%+v)) = %+v, %v", claim, back, err)
		}
	})
}

// The claim lives in the first sector of the device; the file system behind
// it is not touched.
func TestTakeReadRelease(t *testing.T) {
	device := filepath.Join(t.TempDir(), "device")
	rest := bytes.Repeat([]byte{0x5a}, 8192-sector)
	if err := os.WriteFile(device, append(make([]byte, sector), rest...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Take(device, "A", 3); err != nil {
		t.Fatal(err)
	}
	claim, err := Read(device)
	if err != nil || claim.System != "A" || claim.Incarnation != 3 {
		t.Fatalf("read %+v, %v", claim, err)
	}
	if err := Release(device, "B"); err != nil {
		t.Fatal(err)
	}
	if claim, _ := Read(device); claim.System != "A" {
		t.Fatal("B released A's claim")
	}
	if err := Release(device, "A"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(device)
	if err != nil || !bytes.Equal(text, append(make([]byte, sector), rest...)) {
		t.Fatal("taking and releasing left the device changed")
	}
}

func TestTwoClaimsAtOnce(t *testing.T) {
	device := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(device, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for _, name := range []string{"A", "B"} {
		go func() { results <- Take(device, name, 1) }()
	}
	first, second := <-results, <-results
	if first == nil && second == nil {
		t.Fatal("both claims stand")
	}
	for _, err := range []error{first, second} {
		if err != nil && !errors.Is(err, ErrTaken) {
			t.Fatal(err)
		}
	}
}

// A boot loader, or anything else in the boot sector, is never overwritten.
func TestForeignBootSector(t *testing.T) {
	device := filepath.Join(t.TempDir(), "device")
	loader := bytes.Repeat([]byte{0xeb, 0x3c}, 2048)
	if err := os.WriteFile(device, loader, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Take(device, "A", 1); !errors.Is(err, ErrOccupied) {
		t.Fatalf("Take = %v, want ErrOccupied", err)
	}
	if text, _ := os.ReadFile(device); !bytes.Equal(text, loader) {
		t.Fatal("the boot sector was changed")
	}
}
