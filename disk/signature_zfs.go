package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A ZFS device has four labels of 256 KiB, two at each end: 8 KiB blank, 8 KiB
// boot header, 112 KiB of name-value pairs, 128 KiB of uberblocks. See "ZFS
// On-Disk Specification", chapter 1.
const (
	zfsLabel      = 256 << 10
	zfsPairs      = 16 << 10
	zfsUberblocks = 128 << 10
)

// readZFS finds a pool's label in any of its four places: zpool labelclear or
// a new partition table often leave those at the end.
func readZFS(c *content) []Signature {
	if c.size < 4*zfsLabel {
		return nil
	}
	end := c.size &^ (zfsLabel - 1)
	labels := []uint64{0, zfsLabel, end - 2*zfsLabel, end - zfsLabel}
	if !slices.ContainsFunc(labels, func(label uint64) bool { return startsList(c.at(label+zfsPairs, 4)) }) {
		return nil // no pool can be imported without its pairs
	}
	for _, offset := range labels {
		if !hasUberblock(c, offset) {
			continue
		}
		s := Signature{Type: "zfs", Offset: offset}
		if pairs := c.at(offset+zfsPairs, zfsUberblocks-zfsPairs); len(pairs) > 12 && pairs[0] == 1 {
			zfsPool(pairs[4:], &s)
		}
		return []Signature{s}
	}
	return nil
}

// startsList reports whether a name-value list may begin so: its encoding,
// native or XDR, its byte order, and two bytes that are not used.
func startsList(b []byte) bool {
	return len(b) == 4 && b[0] <= 1 && b[1] <= 1 && b[0]+b[1] > 0 && b[2] == 0 && b[3] == 0
}

// hasUberblock looks for an uberblock's magic, in either byte order, at each
// place of the ring; slots are at least 1 KiB apart.
func hasUberblock(c *content, label uint64) bool {
	ring := c.at(label+zfsUberblocks, zfsLabel-zfsUberblocks)
	for at := 0; at+1024 <= len(ring); at += 1024 {
		const magic = 0x00bab10c
		if binary.LittleEndian.Uint64(ring[at:]) == magic || binary.BigEndian.Uint64(ring[at:]) == magic {
			return true
		}
	}
	return false
}

// zfsPool takes the pool's name, its GUID and the number of devices in this
// vdev from a name-value list in XDR form (RFC 4506).
func zfsPool(list []byte, s *Signature) {
	eachPair(list, func(name string, kind, count uint32, value []byte) {
		const number, str, nested, nestedArray = 8, 9, 19, 20
		switch {
		case name == "name" && kind == str:
			s.Label = xdrString(value)
		case name == "pool_guid" && kind == number && len(value) >= 8:
			// In decimal, as zpool prints it.
			s.UUID = fmt.Sprint(binary.BigEndian.Uint64(value))
		case name == "vdev_tree" && kind == nested:
			s.Members = 1
			eachPair(value, func(name string, kind, count uint32, _ []byte) {
				if name == "children" && kind == nestedArray {
					s.Members = int(min(count, 1<<16))
				}
			})
		}
	})
}

// eachPair calls f for each pair of a list that starts with version and flags.
func eachPair(list []byte, f func(name string, kind, count uint32, value []byte)) {
	if len(list) < 8 {
		return
	}
	for list = list[8:]; len(list) >= 12; {
		size := binary.BigEndian.Uint32(list)
		if size < 20 || uint64(size) > uint64(len(list)) {
			return // two zeros end the list
		}
		pair := list[8:size]
		name := xdrString(pair)
		skip := 4 + (uint64(binary.BigEndian.Uint32(pair))+3)&^3
		if skip+8 > uint64(len(pair)) {
			return
		}
		rest := pair[skip:]
		f(name, binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:]), rest[8:])
		list = list[size:]
	}
}

func xdrString(b []byte) string {
	if len(b) < 4 {
		return ""
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) || n > 1024 {
		return ""
	}
	return text(b[4 : 4+n])
}
