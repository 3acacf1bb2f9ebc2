package disk

import "encoding/binary"

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
	if binary.BigEndian.Uint16(h[6:]) >= 2 {
		s.Type, s.Label, s.Subsystem = "luks2", text(h[24:72]), text(h[208:256])
	} else {
		s.Type, s.Cipher = "luks1", text(h[8:40])+"-"+text(h[40:72])
	}
	return []Signature{s}
}
