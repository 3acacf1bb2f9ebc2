package disk

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A disk that hvinstall has begun and not completed carries a mark: one sector
// of text before the backup GPT, outside every partition. It is there from the
// table's first write until everything on the disk is made. While it is there,
// nothing on the disk can be anybody's data, so a half-made header or file
// system is made anew. Without it, a partition of ours whose header is gone is
// a damaged volume, perhaps with data behind it, and is never formatted.

const begunText = "hvinstall: begun\n"

// begunMark is the mark of the disk with this table, one sector long. It says
// for which host the disk is made.
func begunMark(tableGUID, host string, sector uint32) []byte {
	mark := make([]byte, max(sector, 512))
	copy(mark, begunHead(tableGUID)+"Nothing on this disk is complete yet. Run hvinstall again with the same layout.\n"+begunHost+host+"\n")
	return mark
}

func begunHead(tableGUID string) string { return begunText + tableGUID + "\n" }

const begunHost = "host: "

// begunOffset is where the mark is: the sector before the backup table, which
// the plan leaves free.
func begunOffset(size uint64, sector uint32) uint64 {
	s := uint64(max(sector, 512))
	return size/s*s - s - gptEntriesSize - s
}

// isBegun reports whether the disk with this table carries the mark.
func isBegun(disk io.ReaderAt, size uint64, sector uint32, tableGUID string) (bool, error) {
	have := make([]byte, max(sector, 512))
	if _, err := disk.ReadAt(have, int64(begunOffset(size, sector))); err != nil {
		return false, fmt.Errorf("reading the end of the disk: %w", err)
	}
	return bytes.HasPrefix(have, []byte(begunHead(tableGUID))), nil
}

// foundBegun is isBegun for the signature readers, with the host's seed. Right
// after a table's first write the mark is not there yet; the entries are zero
// then.
func foundBegun(c *content, sector uint32, tableGUID string) (begun bool, host string) {
	s := uint64(max(sector, 512))
	if c.size < 1<<20 {
		return false, ""
	}
	have := c.at(begunOffset(c.size, sector), s)
	if have == nil {
		return false, ""
	}
	if bytes.HasPrefix(have, []byte(begunHead(tableGUID))) {
		return true, begunFor(have)
	}
	entries := c.at(2*s, gptEntriesSize)
	return entries != nil && allZero(entries) && c.is(s, "EFI PART"), ""
}

// begunFor is the seed in a mark.
func begunFor(mark []byte) string {
	for line := range strings.Lines(string(bytes.TrimRight(mark, "\x00"))) {
		if host, found := strings.CutPrefix(line, begunHost); found {
			return printable(strings.TrimSuffix(host, "\n"))
		}
	}
	return "" // made by an hvinstall that kept none
}

// A disk that is being erased by consent carries another mark in the same place,
// with the GUID of the table that is on it still. Where the wipe was cut short,
// it tells a LUKS header that hvinstall took away from one that was lost.

const erasingText = "hvinstall: erasing\n"

func erasingHead(tableGUID string) string {
	return erasingText + strings.ToLower(tableGUID) + "\n"
}

// erasing is that mark, where the disk has a partition that a hvinstall host's
// volume was on.
func (dp DiskPlan) erasing() (mark write, needed bool) {
	gpt, found := find(dp.Disk.Signatures, "gpt")
	if !found || !slices.ContainsFunc(dp.Disk.Partitions, func(p Partition) bool { return p.volume() != "" }) {
		return write{}, false
	}
	data := make([]byte, max(dp.Disk.LogicalSector, 512))
	copy(data, erasingHead(gpt.UUID)+"What was on this disk is being erased, as --erase said. Run hvinstall again with the same layout and the same --erase.\n")
	return write{int64(begunOffset(dp.Disk.Size, dp.Disk.LogicalSector)), data}, true
}

// foundErasing reports whether the disk with this table carries it.
func foundErasing(c *content, sector uint32, tableGUID string) bool {
	return c.size >= 1<<20 && c.is(begunOffset(c.size, sector), erasingHead(tableGUID))
}
