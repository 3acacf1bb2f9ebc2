package disk

import (
	"encoding/binary"
	"fmt"
)

// bootSector is the BIOS parameter block of a FAT, or ok false where the
// sector is none; the tests are those of the kernel's fat_fill_super.
type bootSector struct {
	sector, cluster  uint64 // bytes
	reserved, fats   uint64 // sectors, count
	rootEntries      uint64
	fatSectors       uint64
	fat32            bool
	rootCluster      uint64
	serial, bootName []byte
}

func readBootSector(b []byte) (bootSector, bool) {
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xaa || (b[0] != 0xeb && b[0] != 0xe9) {
		return bootSector{}, false
	}
	sector := binary.LittleEndian.Uint16(b[11:])
	perCluster := b[13]
	media := b[21]
	v := bootSector{
		sector: uint64(sector), cluster: uint64(sector) * uint64(perCluster),
		reserved: uint64(binary.LittleEndian.Uint16(b[14:])), fats: uint64(b[16]),
		rootEntries: uint64(binary.LittleEndian.Uint16(b[17:])),
		fatSectors:  uint64(binary.LittleEndian.Uint16(b[22:])),
		serial:      b[39:43], bootName: b[43:54],
	}
	if !powerOfTwo(sector) || sector < 512 || sector > 4096 || !powerOfTwo(perCluster) ||
		v.reserved == 0 || v.fats == 0 || v.fats > 4 || (media != 0xf0 && media < 0xf8) {
		return bootSector{}, false
	}
	if v.fatSectors == 0 { // FAT32 has its length, and all that follows, elsewhere
		v.fat32 = true
		v.fatSectors = uint64(binary.LittleEndian.Uint32(b[36:]))
		v.rootCluster = uint64(binary.LittleEndian.Uint32(b[44:]) & 0x0fffffff)
		v.serial, v.bootName = b[67:71], b[71:82]
		if v.fatSectors == 0 || v.rootCluster < 2 {
			return bootSector{}, false
		}
	} else if v.rootEntries == 0 {
		return bootSector{}, false
	}
	return v, true
}

// readFAT reads FAT12, 16 and 32, all called vfat as the kernel does. The
// label is that of the root directory; the boot sector's copy is often stale.
func readFAT(c *content) []Signature {
	v, ok := readBootSector(c.at(0, 512))
	if !ok {
		return nil
	}
	s := Signature{Type: "vfat", UUID: serialText(v.serial)}
	afterFATs := (v.reserved + v.fats*v.fatSectors) * v.sector
	root, length := afterFATs, v.rootEntries*32
	if v.fat32 {
		// One cluster is enough: mkfs.vfat and Windows write the label first.
		root, length = afterFATs+(v.rootCluster-2)*v.cluster, v.cluster
	}
	s.Label = fatLabel(c.at(root, min(length, c.size)))
	if s.Label == "" {
		if name := text(v.bootName); name != "NO NAME" {
			s.Label = name
		}
	}
	return []Signature{s}
}

// fatLabel finds the volume label in a directory.
func fatLabel(dir []byte) string {
	const free, volume, longName, folder = 0xe5, 0x08, 0x0f, 0x10
	for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
		attributes := dir[11]
		if dir[0] != free && attributes&0x3f != longName && attributes&(volume|folder) == volume {
			return text(dir[:11])
		}
	}
	return ""
}

// readExFAT reads the volume serial, and the label out of the root folder's
// first cluster, where mkfs.exfat and Windows put it.
func readExFAT(c *content) []Signature {
	b := c.at(0, 512)
	if b == nil || string(b[3:11]) != "EXFAT   " || b[108] < 9 || b[108] > 12 || b[109] > 25 {
		return nil
	}
	s := Signature{Type: "exfat", UUID: serialText(b[100:104])}
	sector := uint64(1) << b[108]
	cluster := sector << b[109]
	heap := uint64(binary.LittleEndian.Uint32(b[88:])) * sector
	root := uint64(binary.LittleEndian.Uint32(b[96:]))
	if root < 2 {
		return []Signature{s}
	}
	dir := c.at(heap+(root-2)*cluster, min(cluster, 64<<10))
	for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
		const labelEntry = 0x83
		if n := int(dir[1]); dir[0] == labelEntry && n <= 11 {
			s.Label = utf16Text(dir[2 : 2+2*n])
			break
		}
	}
	return []Signature{s}
}

// readNTFS reads the volume serial, and the label from the fourth record of
// the master file table, $Volume.
func readNTFS(c *content) []Signature {
	b := c.at(0, 512)
	if b == nil || string(b[3:11]) != "NTFS    " {
		return nil
	}
	s := Signature{Type: "ntfs", UUID: fmt.Sprintf("%016X", binary.LittleEndian.Uint64(b[0x48:]))}
	sector, perCluster := uint64(binary.LittleEndian.Uint16(b[11:])), uint64(b[13])
	if perCluster > 128 { // a negative power of two, for clusters beyond 64 KiB
		perCluster = 1 << (256 - perCluster)
	}
	cluster := sector * perCluster
	record := uint64(b[0x40]) * cluster
	if b[0x40] > 128 {
		record = 1 << min(256-uint64(b[0x40]), 16)
	}
	table := binary.LittleEndian.Uint64(b[0x30:])
	if record < 512 || record > 64<<10 || cluster == 0 || table > c.size/cluster {
		return []Signature{s}
	}
	s.Label = ntfsLabel(c.at(table*cluster+3*record, record))
	return []Signature{s}
}

// ntfsLabel finds the attribute $VOLUME_NAME in a file record.
func ntfsLabel(record []byte) string {
	const volumeName, end = 0x60, 0xffffffff
	if len(record) < 512 || string(record[:4]) != "FILE" {
		return ""
	}
	for at := uint64(binary.LittleEndian.Uint16(record[20:])); at+24 <= uint64(len(record)); {
		kind := binary.LittleEndian.Uint32(record[at:])
		length := uint64(binary.LittleEndian.Uint32(record[at+4:]))
		if kind == end || length < 24 || length > uint64(len(record))-at {
			return ""
		}
		if kind == volumeName {
			size := uint64(binary.LittleEndian.Uint32(record[at+16:]))
			from := at + uint64(binary.LittleEndian.Uint16(record[at+20:]))
			if from+size > at+length {
				return ""
			}
			return utf16Text(record[from : from+size])
		}
		at += length
	}
	return ""
}
