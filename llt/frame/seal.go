package frame

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Key is a cluster key, at least MinKey random bytes.
type Key []byte

// MinKey is the least length of a cluster key in bytes.
const MinKey = 32

// ID names the key in frames without telling anything about it. It is never 0.
func (k Key) ID() uint32 {
	if len(k) == 0 {
		return 0
	}
	sum := sha256.Sum256(append([]byte("evenkeel key id\x00"), k...))
	return max(binary.BigEndian.Uint32(sum[:]), 1)
}

// Sealer seals or opens the frames of one sender: one cluster key, one
// cluster, one node, one boot id (R20). It may be used again and again but not
// by two goroutines at once.
type Sealer struct {
	keyID uint32
	aead  cipher.AEAD
	nonce [12]byte // of the frame under way; here, so that it costs no allocation
}

// NewSealer derives a sender's key.
func NewSealer(k Key, cluster uint16, node uint8, boot [BootSize]byte) (*Sealer, error) {
	if len(k) < MinKey {
		return nil, fmt.Errorf("cluster key: %d bytes are too few; at least %d random bytes are needed", len(k), MinKey)
	}
	info := binary.BigEndian.AppendUint16([]byte("evenkeel llt 1\x00"), cluster)
	info = append(info, node)
	info = append(info, boot[:]...)
	secret, err := hkdf.Key(sha256.New, k, nil, string(info), 32)
	if err != nil {
		return nil, fmt.Errorf("derive sender key: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("derive sender key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive sender key: %w", err)
	}
	return &Sealer{keyID: k.ID(), aead: aead}, nil
}

// KeyID is the id of the cluster key.
func (s *Sealer) KeyID() uint32 { return s.keyID }
