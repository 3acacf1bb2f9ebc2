package disk

import "encoding/binary"

// readMD reads Linux md superblocks in their four places, see md(4): 0.90
// 64 KiB before the end, 1.0 8 KiB before it, 1.1 at the beginning, 1.2 at
// 4 KiB.
func readMD(c *content) []Signature {
	const magic = "\xfc\x4e\x2b\xa9"
	var found []Signature
	if c.size >= 128<<10 {
		offset := c.size&^0xffff - 0x10000
		if sb := c.at(offset, 4096); sb != nil && string(sb[:4]) == magic && binary.LittleEndian.Uint32(sb[4:]) == 0 {
			found = append(found, Signature{
				Type: "md", Offset: offset, UUID: uuidText(md090UUID(sb)),
				Members: int(binary.LittleEndian.Uint32(sb[40:]) & 0xffff),
			})
		}
	}
	places := []uint64{0, 4096}
	if c.size >= 16<<10 {
		places = append(places, (c.size-8192)&^0xfff)
	}
	for _, offset := range places {
		sb := c.at(offset, 256)
		if sb == nil || string(sb[:4]) != magic || binary.LittleEndian.Uint32(sb[4:]) != 1 ||
			binary.LittleEndian.Uint64(sb[144:])*512 != offset {
			continue
		}
		found = append(found, Signature{
			Type: "md", UUID: uuidText(sb[16:32]), Label: text(sb[32:64]), Offset: offset,
			Members: int(binary.LittleEndian.Uint32(sb[92:]) & 0xffff),
		})
	}
	return found
}

// md090UUID collects the UUID, of which the first word is apart from the rest
// and each is in the byte order of the machine.
func md090UUID(sb []byte) []byte {
	uuid := make([]byte, 0, 16)
	for _, at := range []int{20, 52, 56, 60} {
		uuid = binary.BigEndian.AppendUint32(uuid, binary.LittleEndian.Uint32(sb[at:]))
	}
	return uuid
}

// readFirmwareRAID knows Intel's and the DDF metadata at a disk's end, which
// mainboards write and which no partition table shows.
func readFirmwareRAID(c *content) []Signature {
	if c.size < 64<<10 {
		return nil
	}
	var found []Signature
	if offset := c.size - 2*c.sector; c.is(offset, "Intel Raid ISM Cfg Sig. ") {
		found = append(found, Signature{Type: "intel-raid", Offset: offset})
	}
	if offset := c.size - c.sector; c.is(offset, "\xde\x11\xde\x11") {
		found = append(found, Signature{Type: "ddf-raid", Offset: offset})
	}
	return found
}

// readLVM2 reads a physical volume's label, in any of the first four sectors.
func readLVM2(c *content) []Signature {
	for offset := uint64(0); offset < 2048; offset += 512 {
		l := c.at(offset, 512)
		if l == nil || string(l[:8]) != "LABELONE" || string(l[24:32]) != "LVM2 001" {
			continue
		}
		id := printable(string(l[32:64]))
		if len(id) == 32 {
			id = id[0:6] + "-" + id[6:10] + "-" + id[10:14] + "-" + id[14:18] + "-" + id[18:22] + "-" + id[22:26] + "-" + id[26:32]
		}
		return []Signature{{Type: "lvm2", UUID: id, Offset: offset}}
	}
	return nil
}

// readBcache reads bcache and bcachefs superblocks, which share a place and,
// in old versions, a magic.
func readBcache(c *content) []Signature {
	sb := c.at(4096, 512)
	if sb == nil {
		return nil
	}
	switch string(sb[24:40]) {
	case "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81":
		return []Signature{{Type: "bcache", UUID: uuidText(sb[40:56]), Label: text(sb[72:104]), Offset: 4096}}
	case "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef":
		return []Signature{{Type: "bcachefs", UUID: uuidText(sb[56:72]), Label: text(sb[72:104]), Offset: 4096}}
	}
	return nil
}
