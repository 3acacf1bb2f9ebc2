package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
)

// readLUKS reads LUKS1 (on-disk format 1.2.3) and LUKS2 (1.1.0) headers. A
// LUKS2 volume whose first header is destroyed is found by its second.
func readLUKS(c *content) []Signature {
	const primary, secondary = "LUKS\xba\xbe", "SKUL\xba\xbe"
	if c.is(0, primary) {
		return luksSignature(c, 0)
	}
	// The second header follows the first's JSON area, of which there are
	// nine sizes.
	for offset := uint64(0x4000); offset <= 0x400000; offset *= 2 {
		if c.is(offset, secondary) {
			return luksSignature(c, offset)
		}
	}
	return nil
}

func luksSignature(c *content, offset uint64) []Signature {
	h := c.at(offset, 512)
	if h == nil {
		return nil
	}
	s := Signature{UUID: text(h[168:208]), Offset: offset}
	if binary.BigEndian.Uint16(h[6:]) < 2 {
		s.Type, s.Cipher = "luks1", text(h[8:40])+"-"+text(h[40:72])
		return []Signature{s}
	}
	s.Type, s.Label, s.Subsystem = "luks2", text(h[24:72]), text(h[208:256])
	tokens := luksTokens(c, offset)
	if tokens == nil && offset == 0 { // the first copy is torn
		tokens = luksTokens(c, binary.BigEndian.Uint64(h[8:]))
	}
	s.Mark, s.Sticks = readTokens(tokens)
	return []Signature{s}
}

// luksTokens are the tokens in the copy of a LUKS2 header at offset; nil where
// that copy is not valid.
func luksTokens(c *content, offset uint64) map[string]json.RawMessage {
	head := c.at(offset, 512)
	if head == nil {
		return nil
	}
	size := binary.BigEndian.Uint64(head[8:])
	if size < 0x4000 || size > 0x400000 || size&(size-1) != 0 || text(head[72:104]) != "sha256" {
		return nil
	}
	all := slices.Clone(c.at(offset, size))
	if all == nil {
		return nil
	}
	const checksum = 448
	sum := slices.Clone(all[checksum : checksum+sha256.Size])
	clear(all[checksum:512])
	if have := sha256.Sum256(all); !bytes.Equal(have[:], sum) {
		return nil
	}
	area, _, _ := bytes.Cut(all[4096:], []byte{0})
	var metadata struct {
		Tokens map[string]json.RawMessage `json:"tokens"`
	}
	if json.Unmarshal(area, &metadata) != nil {
		return nil
	}
	if metadata.Tokens == nil {
		return map[string]json.RawMessage{}
	}
	return metadata.Tokens
}

// readTokens finds the mark, and the VFAT serials of the sticks that open the
// volume. Two marks that differ are none that can be read.
func readTokens(tokens map[string]json.RawMessage) (mark *Mark, sticks []string) {
	for id := range 32 { // LUKS2 has no more
		token, there := tokens[strconv.Itoa(id)]
		if !there {
			continue
		}
		var t struct {
			Type  string `json:"type"`
			Stick string `json:"stick"`
		}
		if json.Unmarshal(token, &t) != nil {
			continue
		}
		switch t.Type {
		case MarkToken:
			found := parseMark(token)
			if mark != nil && *mark != *found {
				found = &Mark{}
			}
			mark = found
		case "hvinstall-key":
			if stick := printable(t.Stick); stick != "" && !slices.Contains(sticks, stick) {
				sticks = append(sticks, stick)
			}
		}
	}
	return mark, sticks
}
