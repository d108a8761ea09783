// Package mountclaim proves between machines that a file system is mounted by
// one system only. The claim lies on the file system's own device, in the boot
// sector that ext2, ext3 and ext4 leave unused (bytes 0 to 511; the superblock
// begins at byte 1024), so it needs no second place that could disagree, and
// nothing of one kernel's tables: a device that another machine has mounted is
// refused at once, without the 11 seconds of ext4's multi-mount protection.
//
// A mount writes its claim with direct I/O, waits longer than two writers can
// overlap, and reads it back: of two systems that claim at once at most one
// reads its own. Whether a foreign claim may be replaced is decided by
// evidence (safety rule R4), not by age: a paused owner cannot renew anything.
//
// Layout, big endian: magic "EVKLMNT1", incarnation u64, nonce u64, length of
// the name u8, name, zeroes up to byte 508, CRC-32 (IEEE) of all before it. A
// sector of zeroes is free.
package mountclaim

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	magic  = "EVKLMNT1"
	sector = 512
	// settle is longer than a direct write of one sector takes on storage
	// that is fit for a cluster.
	settle = 60 * time.Millisecond
)

// Claim says who has the file system mounted.
type Claim struct {
	// System that claims it, "" if nobody does.
	System string
	// Incarnation of that system's gab.
	Incarnation uint64
	// Nonce tells two claims of one system apart.
	Nonce uint64
}

// ErrOccupied is returned when the boot sector holds something else.
var ErrOccupied = errors.New("the boot sector holds data that is not Evenkeel's")

// ErrTaken is returned when another system claimed the device meanwhile.
var ErrTaken = errors.New("another system claimed it at the same moment")

// Read reads the claim from the device itself, past every cache.
func Read(device string) (Claim, error) {
	file, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return Claim{}, fmt.Errorf("read mount claim: %w", err)
	}
	defer file.Close()
	_, text, err := readBlock(file)
	if err != nil {
		return Claim{}, fmt.Errorf("read mount claim on %s: %w", device, err)
	}
	return Decode(text[:sector])
}

// Take writes a claim for the named system and returns when it is certain
// that it stands alone. The caller has looked at the former claim and may
// replace it.
func Take(device, system string, incarnation uint64) error {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("draw nonce: %w", err)
	}
	claim := Claim{System: system, Incarnation: incarnation, Nonce: binary.BigEndian.Uint64(nonce[:])}
	if err := write(device, claim); err != nil {
		return err
	}
	time.Sleep(settle)
	now, err := Read(device)
	if err != nil {
		return err
	}
	if now != claim {
		return fmt.Errorf("%w: %s", ErrTaken, now.System)
	}
	return nil
}

// Release frees the device if the claim is this system's; another's is left.
func Release(device, system string) error {
	now, err := Read(device)
	if err != nil || now.System != system {
		return err
	}
	return write(device, Claim{})
}

func write(device string, claim Claim) error {
	text, err := Encode(claim)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(device, os.O_RDWR|unix.O_DIRECT|unix.O_SYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("write mount claim: %w", err)
	}
	defer file.Close()
	size, block, err := readBlock(file)
	if err != nil {
		return fmt.Errorf("write mount claim on %s: %w", device, err)
	}
	if _, err := Decode(block[:sector]); err != nil {
		return fmt.Errorf("write mount claim on %s: %w", device, err)
	}
	copy(block, text)
	if _, err := file.WriteAt(block[:size], 0); err != nil {
		return fmt.Errorf("write mount claim on %s: %w", device, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write mount claim on %s: %w", device, err)
	}
	return nil
}

// readBlock reads the first logical block of the device, at least one sector,
// into memory that direct I/O can use.
func readBlock(file *os.File) (int, []byte, error) {
	size := sector
	if n, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKSSZGET); err == nil && n > size {
		size = n
	}
	raw := make([]byte, size+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(&raw[0]))%4096)
	block := raw[skip : skip+size]
	if _, err := file.ReadAt(block, 0); err != nil {
		return 0, nil, err
	}
	return size, block, nil
}

// Encode returns the 512 bytes of a claim; all zeroes for nobody's.
func Encode(claim Claim) ([]byte, error) {
	text := make([]byte, sector)
	if claim.System == "" {
		return text, nil
	}
	if len(claim.System) > 255 {
		return nil, fmt.Errorf("write mount claim: system name of %d bytes; 255 are possible", len(claim.System))
	}
	copy(text, magic)
	binary.BigEndian.PutUint64(text[8:], claim.Incarnation)
	binary.BigEndian.PutUint64(text[16:], claim.Nonce)
	text[24] = byte(len(claim.System))
	copy(text[25:], claim.System)
	binary.BigEndian.PutUint32(text[sector-4:], crc32.ChecksumIEEE(text[:sector-4]))
	return text, nil
}

// Decode reads the 512 bytes of a boot sector. A torn or foreign sector is
// ErrOccupied: better to ask a person than to mount twice.
func Decode(text []byte) (Claim, error) {
	if len(text) != sector {
		return Claim{}, fmt.Errorf("mount claim of %d bytes, want %d", len(text), sector)
	}
	if bytes.Equal(text, make([]byte, sector)) {
		return Claim{}, nil
	}
	if !bytes.HasPrefix(text, []byte(magic)) {
		return Claim{}, ErrOccupied
	}
	if crc32.ChecksumIEEE(text[:sector-4]) != binary.BigEndian.Uint32(text[sector-4:]) {
		return Claim{}, fmt.Errorf("%w: a mount claim with a wrong checksum", ErrOccupied)
	}
	name := int(text[24])
	if name == 0 {
		return Claim{}, fmt.Errorf("%w: a mount claim without a name", ErrOccupied)
	}
	return Claim{
		System:      string(text[25 : 25+name]),
		Incarnation: binary.BigEndian.Uint64(text[8:]),
		Nonce:       binary.BigEndian.Uint64(text[16:]),
	}, nil
}
