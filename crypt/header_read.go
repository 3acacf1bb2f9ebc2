package crypt

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strconv"
)

// ReadHeader reads the header of a device or file.
func ReadHeader(path string) (Header, error) {
	file, err := os.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer file.Close()
	h, err := ParseHeader(file)
	if err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

var (
	magicPrimary   = []byte("LUKS\xba\xbe")
	magicSecondary = []byte("SKUL\xba\xbe")
)

// secondaryOffsets are where the second copy can be: the sizes that a header
// may have.
var secondaryOffsets = []int64{0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000}

// ParseHeader reads both copies and returns the newer of those that are valid.
func ParseHeader(r io.ReaderAt) (Header, error) {
	start := make([]byte, 4096)
	if _, err := r.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return Header{}, fmt.Errorf("reading the header: %w", err)
	}
	if bytes.HasPrefix(start, magicPrimary) && binary.BigEndian.Uint16(start[6:]) == 1 {
		return Header{Version: 1, UUID: field(start[168:208]), Cipher: field(start[8:40]) + "-" + field(start[40:72])}, nil
	}
	primary, first := parseCopy(r, 0, magicPrimary)
	if first == nil {
		first = primary.metadata()
	}
	offsets := secondaryOffsets
	if first == nil {
		offsets = []int64{primary.size}
	}
	secondary, second := headerCopy{}, error(ErrNoHeader)
	for _, offset := range offsets {
		secondary, second = parseCopy(r, offset, magicSecondary)
		if second == nil && secondary.size != offset { // another header's, in what is behind this one
			second = ErrNoHeader
		}
		if second == nil {
			break
		}
	}
	if second == nil && (first != nil || secondary.sequence > primary.sequence) {
		second = secondary.metadata() // it counts
	}
	hasFirst, hasSecond := first == nil, second == nil
	switch {
	case hasFirst && (!hasSecond || primary.sequence >= secondary.sequence):
		primary.header.Damaged = !hasSecond || primary.sequence != secondary.sequence
		return primary.header, nil
	case hasSecond:
		secondary.header.Damaged, secondary.header.second = true, secondary.size
		return secondary.header, nil
	}
	return Header{Unfinished: bytes.HasPrefix(start, magicPrimary)}, ErrNoHeader
}

type headerCopy struct {
	header   Header
	size     int64
	sequence uint64
	json     []byte
}

// metadata fills the header from the JSON area.
func (c *headerCopy) metadata() error {
	if err := c.header.metadata(c.json); err != nil {
		return fmt.Errorf("reading the header's JSON: %w", err)
	}
	return nil
}

func parseCopy(r io.ReaderAt, offset int64, magic []byte) (headerCopy, error) {
	head := make([]byte, 512)
	if _, err := r.ReadAt(head, offset); err != nil || !bytes.HasPrefix(head, magic) || binary.BigEndian.Uint16(head[6:]) != 2 {
		return headerCopy{}, ErrNoHeader
	}
	size := int64(binary.BigEndian.Uint64(head[8:]))
	if !slices.Contains(secondaryOffsets, size) {
		return headerCopy{}, fmt.Errorf("a header size of %d is not known", size)
	}
	all := make([]byte, size)
	if _, err := r.ReadAt(all, offset); err != nil {
		return headerCopy{}, fmt.Errorf("reading the header: %w", err)
	}
	sum := slices.Clone(all[headerChecksum : headerChecksum+64])
	clear(all[headerChecksum : headerChecksum+64])
	var h hash.Hash
	switch field(head[headerChecksumName : headerChecksumName+32]) {
	case "sha256":
		h = sha256.New()
	case "sha512":
		h = sha512.New()
	default:
		return headerCopy{}, fmt.Errorf("checksum %q is not known", field(head[headerChecksumName:headerChecksumName+32]))
	}
	h.Write(all)
	if !bytes.Equal(h.Sum(nil), sum[:h.Size()]) {
		return headerCopy{}, errors.New("the header's checksum is wrong")
	}
	c := headerCopy{size: size, sequence: binary.BigEndian.Uint64(head[16:])}
	c.header = Header{Version: 2, UUID: field(head[168:208]), Label: field(head[24:72]), Subsystem: field(head[208:256])}
	c.json, _, _ = bytes.Cut(all[headerJSON:], []byte{0})
	return c, nil
}

func field(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// metadata reads the JSON area.
func (h *Header) metadata(text []byte) error {
	var m struct {
		Keyslots map[string]struct {
			Priority *int `json:"priority"`
			KDF      struct {
				Type       string `json:"type"`
				Iterations int    `json:"iterations"`
				Time       int    `json:"time"`
				Memory     int    `json:"memory"`
				Cpus       int    `json:"cpus"`
			} `json:"kdf"`
		} `json:"keyslots"`
		Tokens   map[string]json.RawMessage `json:"tokens"`
		Digests  json.RawMessage            `json:"digests"`
		Segments map[string]struct {
			Offset     string `json:"offset"`
			Encryption string `json:"encryption"`
			SectorSize int    `json:"sector_size"`
		} `json:"segments"`
		Config struct {
			Flags []string `json:"flags"`
		} `json:"config"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	h.KeyDigest = keyDigest(m.Digests)
	h.Flags, h.Slots, h.Tokens, h.Marks = m.Config.Flags, map[int]Slot{}, map[int]Token{}, map[int]json.RawMessage{}
	for id, s := range m.Keyslots {
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("keyslot %q: %w", id, err)
		}
		slot := Slot{KDF: s.KDF.Type, Iterations: s.KDF.Iterations, Cost: Cost{s.KDF.Time, s.KDF.Memory, s.KDF.Cpus}, Priority: 1}
		if s.Priority != nil {
			slot.Priority = *s.Priority
		}
		h.Slots[n] = slot
	}
	for id, raw := range m.Tokens {
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("token %q: %w", id, err)
		}
		var t struct {
			Token
			Keyslots []string `json:"keyslots"`
		}
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("token %d: %w", n, err)
		}
		for _, slot := range t.Keyslots {
			s, err := strconv.Atoi(slot)
			if err != nil {
				return fmt.Errorf("token %d: keyslot %q: %w", n, slot, err)
			}
			t.Slots = append(t.Slots, s)
		}
		h.Tokens[n] = t.Token
		if t.Type == TokenHost {
			h.Marks[n] = raw
		}
	}
	if s, there := m.Segments["0"]; there {
		h.Sector, h.Cipher = s.SectorSize, s.Encryption
		offset, err := strconv.ParseUint(s.Offset, 10, 64)
		if err != nil {
			return fmt.Errorf("segment 0: %w", err)
		}
		h.Offset = offset
	}
	return nil
}
