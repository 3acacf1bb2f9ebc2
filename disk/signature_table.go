package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// table is a partition table read from the disk itself.
type table struct {
	signature  Signature
	partitions []Partition
}

// readTables reads GPT and MBR. content's signatures tell a boot sector of a
// file system from a partition table: both end in 55 AA.
func readTables(c *content, found []Signature) []table {
	var tables []table
	if t, ok := readGPT(c); ok {
		return append(tables, t)
	}
	for _, s := range found {
		switch s.Type {
		case "vfat", "ntfs", "exfat", "bitlocker", "refs":
			return tables
		}
	}
	if t, ok := readMBR(c); ok {
		tables = append(tables, t)
	}
	return tables
}

// readGPT reads the primary table, else the backup at the disk's end, else one
// written for another sector size (a disk that moved out of a USB enclosure).
// A header whose checksum is wrong still counts as a GPT: somebody's data.
func readGPT(c *content) (table, bool) {
	type place struct{ offset, sector uint64 }
	places := []place{{c.sector, c.sector}}
	if c.size >= 2*c.sector {
		places = append(places, place{c.size&^(c.sector-1) - c.sector, c.sector})
	}
	for _, other := range []uint64{512, 4096} {
		if other != c.sector {
			places = append(places, place{other, other})
		}
	}
	damaged, uuid := -1, ""
	for i, p := range places {
		if !c.is(p.offset, "EFI PART") {
			continue
		}
		t, ok := gptAt(c, p.offset, p.sector)
		if ok {
			return t, true
		}
		if damaged < 0 || uuid == "" {
			damaged, uuid = i, t.signature.UUID
		}
	}
	if damaged >= 0 {
		return table{signature: Signature{Type: "gpt", UUID: uuid, Offset: places[damaged].offset}}, true
	}
	return table{}, false
}

// gptAt reads the table whose header is at offset, see UEFI 2.10 chapter 5.3.
// A header that is valid alone, without its entries, still gives the GUID.
func gptAt(c *content, offset, sector uint64) (table, bool) {
	raw := c.at(offset, min(sector, 512))
	if len(raw) < 92 {
		return table{}, false
	}
	h := append([]byte(nil), raw...)
	size := binary.LittleEndian.Uint32(h[12:])
	if size < 92 || uint64(size) > uint64(len(h)) {
		return table{}, false
	}
	sum := binary.LittleEndian.Uint32(h[16:])
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:size]) != sum {
		return table{}, false
	}
	t := table{signature: Signature{Type: "gpt", UUID: guidText(h[56:72]), Offset: offset}}
	count, width := uint64(binary.LittleEndian.Uint32(h[80:])), uint64(binary.LittleEndian.Uint32(h[84:]))
	first := binary.LittleEndian.Uint64(h[72:])
	if width < 128 || width > 4096 || count == 0 || count > 1024 || first > c.size/sector {
		return table{}, false
	}
	entries := c.at(first*sector, count*width)
	if entries == nil || crc32.ChecksumIEEE(entries) != binary.LittleEndian.Uint32(h[88:]) {
		return t, false
	}
	for i := range count {
		e := entries[i*width : (i+1)*width]
		if allZero(e[:16]) {
			continue
		}
		from, to := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if from > to || to >= c.size/sector {
			continue
		}
		t.partitions = append(t.partitions, Partition{
			Number: int(i) + 1, Start: from * sector, Size: (to - from + 1) * sector,
			Type: guidText(e[0:16]), GUID: guidText(e[16:32]), Label: utf16Text(e[56:128]),
		})
	}
	return t, true
}

// guidText formats a GUID, whose first three fields are little endian.
func guidText(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b),
		binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// readMBR reads the four entries of a DOS table and the chain of an extended
// partition. A protective entry of a GPT that is gone counts as an MBR.
func readMBR(c *content) (table, bool) {
	b := c.at(0, 512)
	if b == nil || b[510] != 0x55 || b[511] != 0xaa {
		return table{}, false
	}
	t := table{signature: Signature{Type: "mbr", Offset: 510}}
	if id := binary.LittleEndian.Uint32(b[440:]); id != 0 {
		t.signature.UUID = fmt.Sprintf("%08x", id)
	}
	for i := range 4 {
		e := b[446+16*i:]
		kind, from, length := mbrEntry(e)
		if e[0]&0x7f != 0 {
			return table{}, false // boot code of something else
		}
		if kind == 0 || length == 0 {
			continue
		}
		p := Partition{Number: i + 1, Start: from * c.sector, Size: length * c.sector, Type: fmt.Sprintf("0x%02x", kind)}
		if p.Start > c.size || p.Size > c.size-p.Start {
			if kind != 0xee { // a protective entry may claim 2 TiB of a smaller disk
				continue
			}
			p.Size = c.size - min(p.Start, c.size)
		}
		t.partitions = append(t.partitions, p)
		if kind == 0x05 || kind == 0x0f || kind == 0x85 {
			t.partitions = append(t.partitions, logicalPartitions(c, from)...)
		}
	}
	return t, true
}

// logicalPartitions follows the chain of extended boot records from the
// extended partition's first sector, at most 124 links.
func logicalPartitions(c *content, extended uint64) []Partition {
	var found []Partition
	for at, number := extended, 5; number < 129; number++ {
		b := c.at(at*c.sector, 512)
		if b == nil || b[510] != 0x55 || b[511] != 0xaa {
			break
		}
		kind, from, length := mbrEntry(b[446:])
		start := (at + from) * c.sector
		if kind != 0 && length != 0 && start < c.size && length*c.sector <= c.size-start {
			found = append(found, Partition{Number: number, Start: start, Size: length * c.sector, Type: fmt.Sprintf("0x%02x", kind)})
		}
		_, next, _ := mbrEntry(b[462:])
		if next == 0 || extended+next <= at { // the chain only goes up; anything else is a loop
			break
		}
		at = extended + next
	}
	return found
}

func mbrEntry(e []byte) (kind byte, from, length uint64) {
	return e[4], uint64(binary.LittleEndian.Uint32(e[8:])), uint64(binary.LittleEndian.Uint32(e[12:]))
}
