package disk

import (
	"bytes"
	"fmt"
	"io"
)

// A disk that hvinstall has begun and not completed carries a mark: one sector
// of text before the backup GPT, outside every partition. It is there from the
// table's first write until everything on the disk is made. While it is there,
// nothing on the disk can be anybody's data, so a half-made header or file
// system is made anew. Without it, a partition of ours whose header is gone is
// a damaged volume, perhaps with data behind it, and is never formatted.

const begunText = "hvinstall: begun\n"

// begunMark is the mark of the disk with this table, one sector long.
func begunMark(tableGUID string, sector uint32) []byte {
	mark := make([]byte, max(sector, 512))
	copy(mark, begunText+tableGUID+"\nNothing on this disk is complete yet. Run hvinstall again with the same layout.\n")
	return mark
}

// begunOffset is where the mark is: the sector before the backup table, which
// the plan leaves free.
func begunOffset(size uint64, sector uint32) uint64 {
	s := uint64(max(sector, 512))
	return size/s*s - s - gptEntriesSize - s
}

// isBegun reports whether the disk with this table carries the mark.
func isBegun(disk io.ReaderAt, size uint64, sector uint32, tableGUID string) (bool, error) {
	want := begunMark(tableGUID, sector)
	have := make([]byte, len(want))
	if _, err := disk.ReadAt(have, int64(begunOffset(size, sector))); err != nil {
		return false, fmt.Errorf("reading the end of the disk: %w", err)
	}
	return bytes.Equal(have, want), nil
}

// foundBegun is isBegun for the signature readers. Right after a table's first
// write the mark is not there yet; the entries are zero then.
func foundBegun(c *content, sector uint32, tableGUID string) bool {
	s := uint64(max(sector, 512))
	if c.size < 1<<20 {
		return false
	}
	want := begunMark(tableGUID, sector)
	have := c.at(begunOffset(c.size, sector), uint64(len(want)))
	if have == nil {
		return false
	}
	entries := c.at(2*s, gptEntriesSize)
	return bytes.Equal(have, want) || entries != nil && allZero(entries) && c.is(s, "EFI PART")
}
