package vmstore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// isoFile is a file in the root of an ISO.
type isoFile struct {
	name string
	data []byte
}

const isoSector = 2048

// isoImage writes a small ISO 9660 file system (ECMA-119) with a Joliet tree,
// which has the names as they are. It is the same bytes for the same files: no
// clock, no temporary directory with somebody's password hash in it.
func isoImage(label string, files []isoFile) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b isoFile) int { return strings.Compare(a.name, b.name) })
	const (
		pathTables = 19 // after the three volume descriptors: two for each tree
		roots      = 23
		data       = 25
	)
	// Where each file's data begins.
	next, extents := uint32(data), make([]uint32, len(files))
	for i, f := range files {
		extents[i] = next
		next += uint32((len(f.data) + isoSector - 1) / isoSector)
	}
	image := make([]byte, int(next)*isoSector)
	sector := func(n int) []byte { return image[n*isoSector : (n+1)*isoSector] }
	for tree, encode := range []func(string) []byte{plainName, jolietName} {
		root := directoryRecord(roots+uint32(tree), isoSector, true, []byte{0})
		d := sector(16 + tree)
		volumeDescriptor(d, byte(tree), label, next, uint32(pathTables+2*tree), root)
		// A path table of one entry: the root.
		entry := []byte{1, 0, 0, 0, 0, 0, 1, 0, 0, 0}
		binary.LittleEndian.PutUint32(entry[2:], roots+uint32(tree))
		copy(sector(pathTables+2*tree), entry)
		binary.BigEndian.PutUint32(entry[2:], roots+uint32(tree))
		binary.BigEndian.PutUint16(entry[6:], 1)
		copy(sector(pathTables+2*tree+1), entry)

		records := slices.Concat(root, directoryRecord(roots+uint32(tree), isoSector, true, []byte{1}))
		for i, f := range files {
			records = append(records, directoryRecord(extents[i], uint32(len(f.data)), false, encode(f.name))...)
		}
		if len(records) > isoSector {
			return nil, fmt.Errorf("%d files are too many for a seed", len(files))
		}
		copy(sector(roots+tree), records)
	}
	end := sector(18)
	end[0], end[6] = 255, 1
	copy(end[1:], "CD001")
	for i, f := range files {
		copy(image[int(extents[i])*isoSector:], f.data)
	}
	return image, nil
}

// volumeDescriptor fills in a primary (tree 0) or Joliet (tree 1) descriptor.
func volumeDescriptor(d []byte, tree byte, label string, sectors, pathTable uint32, root []byte) {
	text := func(from, to int, s string) {
		if tree == 0 {
			copy(d[from:to], s+strings.Repeat(" ", to-from))
			return
		}
		for i := from; i+1 < to; i += 2 {
			d[i], d[i+1] = 0, ' '
		}
		copy(d[from:to], utf16BE(s))
	}
	d[0], d[6] = 1+tree, 1
	copy(d[1:], "CD001")
	text(8, 40, "")
	text(40, 72, label)
	both32(d[80:], sectors)
	if tree == 1 {
		copy(d[88:], "%/E") // UCS-2 level 3
	}
	both16(d[120:], 1)
	both16(d[124:], 1)
	both16(d[128:], isoSector)
	both32(d[132:], 10)
	binary.LittleEndian.PutUint32(d[140:], pathTable)
	binary.BigEndian.PutUint32(d[148:], pathTable+1)
	copy(d[156:190], root)
	for _, field := range [][2]int{{190, 318}, {318, 446}, {446, 574}, {574, 702}, {702, 739}, {739, 776}, {776, 813}} {
		text(field[0], field[1], "")
	}
	for _, at := range []int{813, 830, 847, 864} {
		copy(d[at:], "0000000000000000") // not specified
	}
	d[881] = 1
}

func directoryRecord(extent, size uint32, directory bool, name []byte) []byte {
	length := 33 + len(name)
	r := make([]byte, length+length%2)
	r[0] = byte(len(r))
	both32(r[2:], extent)
	both32(r[10:], size)
	copy(r[18:], []byte{80, 1, 1, 0, 0, 0, 0}) // 1980-01-01: the content decides, not the clock
	if directory {
		r[25] = 2
	}
	both16(r[28:], 1)
	r[32] = byte(len(name))
	copy(r[33:], name)
	return r
}

// plainName is the name of level 1, for readers without Joliet.
func plainName(name string) []byte {
	name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	return []byte(name[:min(len(name), 8)] + ".;1")
}

func jolietName(name string) []byte { return utf16BE(name) }

func utf16BE(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.BigEndian.AppendUint16(out, u)
	}
	return out
}

func both16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, n)
	binary.BigEndian.PutUint16(b[2:], n)
}

func both32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], n)
}
