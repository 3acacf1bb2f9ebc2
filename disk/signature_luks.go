package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
)

// The second header follows the first's JSON area, of which there are nine
// sizes, each twice the one before.
const (
	luksSecondary = "SKUL\xba\xbe"
	secondFrom    = 0x4000
	secondTo      = 0x400000
)

// readLUKS reads LUKS1 (on-disk format 1.2.3) and LUKS2 (1.1.0) headers. A
// LUKS2 volume whose first header is destroyed is found by its second.
func readLUKS(c *content) []Signature {
	if c.is(0, "LUKS\xba\xbe") {
		return luksSignature(c, 0)
	}
	for offset := uint64(secondFrom); offset <= secondTo; offset *= 2 {
		if c.is(offset, luksSecondary) {
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
	if binary.BigEndian.Uint16(h[6:]) == 1 {
		return []Signature{{Type: "luks1", UUID: text(h[168:208]), Cipher: text(h[8:40]) + "-" + text(h[40:72]), Offset: offset}}
	}
	tokens := luksTokens(c, offset)
	// Where the first copy is torn, nothing that it says counts beside a second
	// one that is whole.
	for second := uint64(secondFrom); tokens == nil && offset == 0 && second <= secondTo; second *= 2 {
		if !c.is(second, luksSecondary) {
			continue
		}
		if tokens = luksTokens(c, second); tokens != nil {
			h = c.at(second, 512)
		}
	}
	s := Signature{Type: "luks2", UUID: text(h[168:208]), Label: text(h[24:72]), Subsystem: text(h[208:256]), Offset: offset}
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
	if size < secondFrom || size > secondTo || !powerOfTwo(size) || offset != 0 && size != offset || text(head[72:104]) != "sha256" {
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
