package disk

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// wipeHead and wipeTail are how much of the beginning and of the end of a disk
// or partition is zeroed: every signature that Probe knows lies within.
// LUKS2's second header can begin as late as 4 MiB; ZFS keeps two labels of
// 256 KiB at each end, md its superblock in the last 64 KiB. The head is all
// that a LUKS2 volume does not encrypt, so that nothing old is left in it.
const (
	wipeHead = luksHeader
	wipeTail = 1 << 20
)

// span is a part of a disk, in bytes.
type span struct{ offset, size uint64 }

// wipeSpans are the parts of the disk that are zeroed before its table is
// written: the ends of the old partitions, of the new ones, and of the disk.
// The disk's own ends come last, so that a wipe cut short leaves a disk that
// still shows what it held.
func (dp DiskPlan) wipeSpans() []span {
	var spans []span
	ends := func(offset, size uint64) {
		if offset >= dp.Disk.Size {
			return
		}
		size = min(size, dp.Disk.Size-offset)
		head, tail := min(size, wipeHead), min(size, wipeTail)
		spans = append(spans, span{offset, head}, span{offset + size - tail, tail})
	}
	for _, p := range dp.Disk.Partitions {
		ends(p.Start, p.Size)
	}
	for _, s := range dp.Disk.Signatures {
		if s.Offset > wipeHead && s.Offset < dp.Disk.Size {
			ends(s.Offset, min(wipeTail, dp.Disk.Size-s.Offset))
		}
	}
	for _, p := range dp.Table.Partitions {
		ends(p.Start, p.Size)
	}
	spans = slices.Compact(spans)
	tail := min(uint64(wipeTail), dp.Disk.Size)
	head := min(uint64(alignment), dp.Disk.Size)
	return append(spans, span{dp.Disk.Size - tail, tail}, span{0, head})
}

// wipe zeroes what must be gone before the table is written.
func (dp DiskPlan) wipe(file *os.File) error {
	mark, spans := dp.wiping()
	if _, err := file.WriteAt(mark.data, mark.offset); err != nil {
		return fmt.Errorf("marking the disk as one that is being erased: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("marking the disk as one that is being erased: %w", err)
	}
	return zero(file, spans)
}

// wiping is what is written first, if anything, and what is zeroed then: all but
// the mark, which stays until the new table's takes its place.
func (dp DiskPlan) wiping() (write, []span) {
	mark, needed := dp.erasing()
	if !needed {
		return write{}, dp.wipeSpans()
	}
	return mark, around(dp.wipeSpans(), span{uint64(mark.offset), uint64(len(mark.data))})
}

// around is the spans without what of them is in the hole.
func around(spans []span, hole span) []span {
	var left []span
	for _, s := range spans {
		end, after := s.offset+s.size, hole.offset+hole.size
		if end <= hole.offset || s.offset >= after {
			left = append(left, s)
			continue
		}
		if s.offset < hole.offset {
			left = append(left, span{s.offset, hole.offset - s.offset})
		}
		if end > after {
			left = append(left, span{after, end - after})
		}
	}
	return left
}

// zero writes zeros over the spans, where they are not there yet, and waits
// for the disk to have them.
func zero(file *os.File, spans []span) error {
	zeros, found := make([]byte, 1<<20), make([]byte, 1<<20)
	for _, s := range spans {
		for done := uint64(0); done < s.size; {
			n := min(s.size-done, uint64(len(zeros)))
			// What cannot be read is written to: a disk may mend it that way.
			if _, err := file.ReadAt(found[:n], int64(s.offset+done)); err != nil || !bytes.Equal(found[:n], zeros[:n]) {
				if _, err := file.WriteAt(zeros[:n], int64(s.offset+done)); err != nil {
					return fmt.Errorf("wiping old signatures: %w", err)
				}
			}
			done += n
		}
		if err := file.Sync(); err != nil {
			return fmt.Errorf("wiping old signatures: %w", err)
		}
	}
	return nil
}
