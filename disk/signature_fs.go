package disk

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// readBtrfs reads the superblock, see btrfs's on-disk format: at 64 KiB, with
// a copy at 64 MiB. The copy counts only where the first MiB is otherwise
// empty: a reformatted disk often still has it.
func readBtrfs(c *content) []Signature {
	const magic = "_BHRfS_M"
	for _, offset := range []uint64{64 << 10, 64 << 20} {
		if offset > windowSize && !c.zero(0, windowSize) {
			return nil
		}
		sb := c.at(offset, 4096)
		if sb == nil || string(sb[0x40:0x48]) != magic {
			continue
		}
		return []Signature{{
			Type:    "btrfs",
			UUID:    uuidText(sb[0x20:0x30]),
			Label:   text(sb[0x12b : 0x12b+256]),
			Offset:  offset,
			Members: int(min(binary.LittleEndian.Uint64(sb[0x88:]), 1<<20)),
		}}
	}
	return nil
}

// readExt tells ext2, 3 and 4 apart by their features, as the kernel does.
func readExt(c *content) []Signature {
	sb := c.at(1024, 1024)
	if sb == nil || binary.LittleEndian.Uint16(sb[56:]) != 0xef53 || binary.LittleEndian.Uint32(sb[24:]) > 6 {
		return nil
	}
	compat := binary.LittleEndian.Uint32(sb[92:])
	incompat := binary.LittleEndian.Uint32(sb[96:])
	roCompat := binary.LittleEndian.Uint32(sb[100:])
	const journal, journalDevice = 0x4, 0x8
	// What ext3 knows: filetype, recover, meta_bg; sparse_super, large_file, btree_dir.
	const incompatExt3, roCompatExt3 = 0x2 | 0x4 | 0x10, 0x1 | 0x2 | 0x4
	kind := "ext2"
	switch {
	case incompat&journalDevice != 0:
		kind = "jbd"
	case incompat&^uint32(incompatExt3) != 0 || roCompat&^uint32(roCompatExt3) != 0:
		kind = "ext4"
	case compat&journal != 0:
		kind = "ext3"
	}
	return []Signature{{Type: kind, UUID: uuidText(sb[104:120]), Label: text(sb[120:136]), Offset: 1024}}
}

func readXFS(c *content) []Signature {
	sb := c.at(0, 512)
	if sb == nil || string(sb[:4]) != "XFSB" || !powerOfTwo(binary.BigEndian.Uint32(sb[4:])) {
		return nil
	}
	return []Signature{{Type: "xfs", UUID: uuidText(sb[32:48]), Label: text(sb[108:120])}}
}

// readISO9660 gives the UUID that udev gives: the volume's creation time.
func readISO9660(c *content) []Signature {
	d := c.at(32768, 2048)
	if d == nil || string(d[1:6]) != "CD001" {
		return nil
	}
	s := Signature{Type: "iso9660", Label: text(d[40:72]), Offset: 32768}
	created := string(d[813:829])
	if strings.Trim(created, "0123456789") == "" && strings.Trim(created, "0") != "" {
		s.UUID = fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", created[0:4], created[4:6], created[6:8],
			created[8:10], created[10:12], created[12:14], created[14:16])
	}
	return []Signature{s}
}

func readF2FS(c *content) []Signature {
	sb := c.at(1024, 124+1024)
	if sb == nil || binary.LittleEndian.Uint32(sb) != 0xf2f52010 {
		return nil
	}
	return []Signature{{Type: "f2fs", UUID: uuidText(sb[108:124]), Label: utf16Text(sb[124:]), Offset: 1024}}
}

func readReiserFS(c *content) []Signature {
	for _, offset := range []uint64{65536, 8192} {
		sb := c.at(offset, 204)
		if sb == nil {
			continue
		}
		switch magic := text(sb[52:62]); magic {
		case "ReIsErFs", "ReIsEr2Fs", "ReIsEr3Fs":
			return []Signature{{Type: "reiserfs", UUID: uuidText(sb[84:100]), Label: text(sb[100:116]), Offset: offset}}
		}
	}
	return nil
}

func readJFS(c *content) []Signature {
	sb := c.at(32768, 184)
	if sb == nil || string(sb[:4]) != "JFS1" {
		return nil
	}
	return []Signature{{Type: "jfs", UUID: uuidText(sb[136:152]), Label: text(sb[152:168]), Offset: 32768}}
}

func readErofs(c *content) []Signature {
	sb := c.at(1024, 128)
	if sb == nil || binary.LittleEndian.Uint32(sb) != 0xe0f5e1e2 {
		return nil
	}
	return []Signature{{Type: "erofs", UUID: uuidText(sb[48:64]), Label: text(sb[64:80]), Offset: 1024}}
}

func readAPFS(c *content) []Signature {
	sb := c.at(0, 4096)
	if sb == nil || string(sb[32:36]) != "NXSB" {
		return nil
	}
	return []Signature{{Type: "apfs", UUID: uuidText(sb[72:88])}}
}

func readHFSPlus(c *content) []Signature {
	sb := c.at(1024, 512)
	if sb == nil || (string(sb[:4]) != "H+\x00\x04" && string(sb[:4]) != "HX\x00\x05") {
		return nil
	}
	return []Signature{{Type: "hfsplus", Offset: 1024}}
}

// readSwap knows swap areas of every page size, and a hibernated system's
// memory, which takes the same place.
func readSwap(c *content) []Signature {
	for _, page := range []uint64{4096, 8192, 16384, 65536} {
		magic := string(c.at(page-10, 10))
		kind := ""
		switch {
		case magic == "SWAPSPACE2" || magic == "SWAP-SPACE":
			kind = "swap"
		case strings.HasPrefix(magic, "S1SUSPEND") || strings.HasPrefix(magic, "S2SUSPEND") || strings.HasPrefix(magic, "LINHIB0001"):
			kind = "hibernation"
		default:
			continue
		}
		h := c.at(1024, 64)
		if h == nil {
			return nil
		}
		return []Signature{{Type: kind, UUID: uuidText(h[12:28]), Label: text(h[28:44]), Offset: page - 10}}
	}
	return nil
}
