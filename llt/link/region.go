package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// A heartbeat region is RegionBytes of a shared block device, from a block of
// conf.BlockSize bytes on. Numbers are big endian.
//
//	block 0, 4 KiB: magic "EKHBREG1", number of slots 4, bytes of a slot 4,
//	  id of this initialisation 16, length of the signature 1, signature,
//	  zeros, CRC-32C of the rest in the last 4 bytes
//	slot of node N, 4 KiB at 4096*(1+N): magic "EKHB", node 1, 0 1, length of
//	  the frame 2, id of the initialisation 16, sequence 8, the frame (a sealed
//	  beacon), CRC-32C of all before it 4
//
// The CRC tells torn and damaged slots from whole ones; what a slot says is
// authenticated by the seal of the frame in it.
const (
	slotSize    = 4096
	slotHeader  = 4 + 1 + 1 + 2 + regionID + 8
	regionID    = 16
	regionMagic = "EKHBREG1"
	slotMagic   = "EKHB"
	// RegionBytes is the size of a heartbeat region.
	RegionBytes = slotSize * (1 + llt.MaxNodes)
	// MaxBeacon is the largest frame that a slot holds.
	MaxBeacon = slotSize - slotHeader - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockIO is the device below a region; tests give one that hangs or fails.
type blockIO interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// openBlocks opens a device past the page cache: what another system wrote must
// be seen, and what is written must be on its way when the call returns.
func openBlocks(path string) (blockIO, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("open %s: it cannot be used without a cache (O_DIRECT); give a block device that all systems share", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open heartbeat region: %w", err)
	}
	return f, nil
}

// aligned returns memory that O_DIRECT takes; free gives it back.
func aligned(n int) (b []byte, free func(), err error) {
	b, err = unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("allocate a block: %w", err)
	}
	return b, func() { _ = unix.Munmap(b) }, nil
}

// region is an open heartbeat region. Reads and writes may be done by two
// goroutines, one each.
type region struct {
	dev  blockIO
	at   int64
	id   [regionID]byte
	in   []byte // of read
	out  []byte // of write
	seqs [llt.MaxNodes]uint64
}

// RegionInfo is what the first block of a region says.
type RegionInfo struct {
	// ID names this initialisation.
	ID [regionID]byte
	// Signature is the administrator's word, "" if none.
	Signature string
}

func parseRegion(b []byte) (RegionInfo, error) {
	var info RegionInfo
	if len(b) < slotSize || string(b[:8]) != regionMagic {
		return info, errNoRegion
	}
	if crc32.Checksum(b[:slotSize-4], castagnoli) != binary.BigEndian.Uint32(b[slotSize-4:]) {
		return info, errors.New("the first block of the heartbeat region is damaged; initialise it again with gabdiskconf -i while no system uses it")
	}
	if binary.BigEndian.Uint32(b[8:]) != llt.MaxNodes || binary.BigEndian.Uint32(b[12:]) != slotSize {
		return info, errors.New("the heartbeat region has another layout; all systems need the same release")
	}
	copy(info.ID[:], b[16:])
	info.Signature = string(b[33 : 33+int(min(b[32], 64))])
	return info, nil
}

var errNoRegion = errors.New("there is no heartbeat region here; make one, once, on one system: gabdiskconf -i DEVICE -s BLOCK (what lies there is lost)")

// InitRegion writes an empty region. It refuses a device that seems to hold
// something, unless force says to overwrite it.
func InitRegion(path string, block uint64, id [regionID]byte, signature string, force bool) error {
	if len(signature) > 64 {
		return fmt.Errorf("initialise %s: the signature has %d bytes; 64 are possible", path, len(signature))
	}
	dev, err := openBlocks(path)
	if err != nil {
		return err
	}
	defer dev.Close()
	b, free, err := aligned(RegionBytes)
	if err != nil {
		return err
	}
	defer free()
	at := int64(block) * conf.BlockSize
	if _, err := dev.ReadAt(b, at); err != nil {
		return fmt.Errorf("initialise %s: %d KiB from block %d on cannot be read: %w", path, RegionBytes>>10, block, err)
	}
	if !force && len(bytes.Trim(b, "\x00")) > 0 {
		what := "something is stored"
		if _, err := parseRegion(b); err == nil {
			what = "a heartbeat region is"
		}
		return fmt.Errorf("initialise %s: %s there; nothing was written. To overwrite it: gabdiskconf -i %s -s %d -o", path, what, path, block)
	}
	clear(b)
	copy(b, regionMagic)
	binary.BigEndian.PutUint32(b[8:], llt.MaxNodes)
	binary.BigEndian.PutUint32(b[12:], slotSize)
	copy(b[16:], id[:])
	b[32] = byte(len(signature))
	copy(b[33:], signature)
	binary.BigEndian.PutUint32(b[slotSize-4:], crc32.Checksum(b[:slotSize-4], castagnoli))
	if _, err := dev.WriteAt(b, at); err != nil {
		return fmt.Errorf("initialise heartbeat region: %w", err)
	}
	if f, ok := dev.(*os.File); ok {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("initialise heartbeat region: %w", err)
		}
	}
	return nil
}

// ReadRegion reads what a region says of itself, and which nodes have a whole
// slot in it with its sequence number.
func ReadRegion(path string, block uint64) (RegionInfo, map[llt.NodeID]uint64, error) {
	dev, err := openBlocks(path)
	if err != nil {
		return RegionInfo{}, nil, err
	}
	r, info, err := openRegion(dev, block)
	if err != nil {
		dev.Close()
		return info, nil, err
	}
	defer r.close()
	seqs := map[llt.NodeID]uint64{}
	_, err = r.read(func(n llt.NodeID, seq uint64, _ []byte) { seqs[n] = seq })
	return info, seqs, err
}

// openRegion reads the first block; the region owns dev from then on.
func openRegion(dev blockIO, block uint64) (*region, RegionInfo, error) {
	r := &region{dev: dev, at: int64(block) * conf.BlockSize}
	var err error
	if r.in, _, err = aligned(RegionBytes); err != nil {
		return nil, RegionInfo{}, err
	}
	if r.out, _, err = aligned(slotSize); err != nil {
		_ = unix.Munmap(r.in)
		return nil, RegionInfo{}, err
	}
	info := RegionInfo{}
	if _, err = dev.ReadAt(r.in[:slotSize], r.at); err != nil {
		err = fmt.Errorf("read heartbeat region: %w", err)
	} else {
		info, err = parseRegion(r.in)
	}
	if err != nil {
		_, _ = unix.Munmap(r.in), unix.Munmap(r.out)
		return nil, info, err
	}
	r.id = info.ID
	return r, info, nil
}

// read reads all slots with one request and hands on those that have changed.
// bad counts slots that were damaged, or torn by a write under way.
func (r *region) read(found func(n llt.NodeID, seq uint64, frame []byte)) (bad int, err error) {
	if _, err := r.dev.ReadAt(r.in, r.at); err != nil {
		return 0, fmt.Errorf("read heartbeat region: %w", err)
	}
	info, err := parseRegion(r.in)
	if err != nil {
		return 0, err
	}
	if info.ID != r.id {
		return 0, errors.New("the heartbeat region was initialised again")
	}
	for n := range llt.NodeID(llt.MaxNodes) {
		b := r.in[slotSize*(1+int(n)) : slotSize*(2+int(n))]
		seq, frame, ok := parseSlot(b, n, r.id)
		switch {
		case !ok && b[0] != 0:
			bad++
		case ok && seq != r.seqs[n]:
			r.seqs[n] = seq
			found(n, seq, frame)
		}
	}
	return bad, nil
}

// parseSlot returns what a whole slot of this initialisation holds.
func parseSlot(b []byte, n llt.NodeID, id [regionID]byte) (seq uint64, frame []byte, ok bool) {
	if len(b) < slotHeader+4 || string(b[:4]) != slotMagic || b[4] != byte(n) || b[5] != 0 || !bytes.Equal(b[8:8+regionID], id[:]) {
		return 0, nil, false
	}
	size := int(binary.BigEndian.Uint16(b[6:]))
	if slotHeader+size+4 > len(b) {
		return 0, nil, false
	}
	end := slotHeader + size
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b[8+regionID:]), b[slotHeader:end], true
}

// putSlot is the inverse of parseSlot; b has slotSize bytes.
func putSlot(b []byte, n llt.NodeID, id [regionID]byte, seq uint64, frame []byte) {
	clear(b)
	copy(b, slotMagic)
	b[4] = byte(n)
	binary.BigEndian.PutUint16(b[6:], uint16(len(frame)))
	copy(b[8:], id[:])
	binary.BigEndian.PutUint64(b[8+regionID:], seq)
	copy(b[slotHeader:], frame)
	end := slotHeader + len(frame)
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
}

// write puts a frame into the own slot.
func (r *region) write(n llt.NodeID, seq uint64, frame []byte) error {
	if len(frame) > MaxBeacon {
		return fmt.Errorf("write heartbeat: %d bytes do not fit into a slot", len(frame))
	}
	putSlot(r.out, n, r.id, seq, frame)
	if _, err := r.dev.WriteAt(r.out, r.at+slotSize*(1+int64(n))); err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	return nil
}

// close gives everything back; nothing may be under way.
func (r *region) close() {
	r.dev.Close()
	_ = unix.Munmap(r.in)
	_ = unix.Munmap(r.out)
}
