package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/diskfs/go-diskfs/partition/gpt"
)

// gptEntriesSize is the size of a table's 128 entries of 128 bytes.
const gptEntriesSize = 128 * 128

// write is bytes for a place on a disk.
type write struct {
	offset int64
	data   []byte
}

// tableWrites is everything that makes the table, in the order in which a kill
// between any two leaves a disk that the next run knows as its own: the
// primary header first, which bears the disk's GUID. The protective MBR is the
// last, because alone it would look like a foreign table.
type tableWrites struct {
	header, begun, entries, backup, mbr write
}

// layOut computes the bytes of the table by go-diskfs, for a disk of this size.
func (t TablePlan) layOut(size uint64, sector uint32) (tableWrites, error) {
	s := uint64(max(sector, 512))
	table := &gpt.Table{LogicalSectorSize: int(s), PhysicalSectorSize: int(s), GUID: strings.ToUpper(t.GUID), ProtectiveMBR: true}
	for _, p := range t.Partitions {
		table.Partitions = append(table.Partitions, &gpt.Partition{
			Index: p.Number, Start: p.Start / s, End: (p.Start+p.Size)/s - 1, Size: p.Size,
			Type: gpt.Type(strings.ToUpper(p.Type)), GUID: strings.ToUpper(p.GUID), Name: p.Label,
		})
	}
	var recorded recorder
	if err := table.Write(&recorded, int64(size)); err != nil {
		return tableWrites{}, fmt.Errorf("laying out the table: %w", err)
	}
	var w tableWrites
	last := int64(size/s*s - s)
	backupEntries := last - gptEntriesSize
	backup := make([]byte, gptEntriesSize+int(s))
	for _, r := range recorded.writes {
		switch r.offset {
		case 446:
			w.mbr = write{0, make([]byte, 512)}
			copy(w.mbr.data[446:], r.data)
			// A disk of more than 2^32 sectors is protected as far as the field
			// goes (UEFI 2.10, table 5.4); go-diskfs cuts the number off.
			binary.LittleEndian.PutUint32(w.mbr.data[446+12:], uint32(min(size/s-1, 0xffffffff)))
			copy(w.mbr.data[446+1:], []byte{0x00, 0x02, 0x00}) // CHS of LBA 1
			copy(w.mbr.data[446+5:], []byte{0xff, 0xff, 0xff}) // CHS beyond what it can say
		case int64(s):
			w.header = r
		case 2 * int64(s):
			w.entries = r
		case backupEntries:
			copy(backup, r.data)
		case last:
			copy(backup[gptEntriesSize:], r.data)
		default:
			return tableWrites{}, fmt.Errorf("laying out the table: an unexpected write at %d", r.offset)
		}
	}
	if w.mbr.data == nil || w.header.data == nil || w.entries.data == nil {
		return tableWrites{}, errors.New("laying out the table: a part of it is missing")
	}
	w.backup = write{backupEntries, backup}
	w.begun = write{int64(begunOffset(size, sector)), begunMark(t.GUID, t.Host, sector)}
	return w, nil
}

func (w tableWrites) ordered() []write {
	return []write{w.header, w.begun, w.entries, w.backup, w.mbr}
}

// put writes the parts of the table, each on the disk before the next.
func (w tableWrites) put(file *os.File) error {
	for _, part := range w.ordered() {
		if _, err := file.WriteAt(part.data, part.offset); err != nil {
			return fmt.Errorf("writing the partition table: %w", err)
		}
		if err := file.Sync(); err != nil {
			return fmt.Errorf("writing the partition table: %w", err)
		}
	}
	return nil
}

// tableFound is what of the planned table is on a disk.
type tableFound int

const (
	tableNone  tableFound = iota // no table of ours
	tableBegun                   // ours, cut short: may be written again
	tableWhole                   // ours, every partition of the plan in it
	tableBroken
)

// findTable tells how much of the table is there. Partitions that somebody
// added to a table of ours are no difference.
func (t TablePlan) findTable(disk io.ReaderAt, size uint64, sector uint32) (tableFound, string, error) {
	c := newContent(disk, 0, size, sector)
	s := uint64(max(sector, 512))
	header := c.at(s, s)
	if c.err != nil {
		return tableNone, "", c.err
	}
	if string(header[:8]) != "EFI PART" || !strings.EqualFold(guidText(header[56:72]), t.GUID) {
		return tableNone, "the table is not written yet", nil
	}
	begun, err := isBegun(disk, size, sector, t.GUID)
	if err != nil {
		return tableNone, "", err
	}
	if why := t.missing(c, s, size); why != "" {
		// Right after the header the mark is not there either; the entries are
		// zero then, because what was there was wiped before.
		if begun || allZero(c.at(2*s, gptEntriesSize)) {
			return tableBegun, why, nil
		}
		return tableBroken, why, nil
	}
	return tableWhole, "", nil
}

// missing names what the table lacks, or "".
func (t TablePlan) missing(c *content, s, size uint64) string {
	primary, ok := gptAt(c, s, s)
	if !ok {
		return "the primary table is not valid"
	}
	backup, ok := gptAt(c, size/s*s-s, s)
	if !ok || !strings.EqualFold(backup.signature.UUID, t.GUID) {
		return "the backup table is not valid"
	}
	if mbr := c.at(0, 512); mbr[510] != 0x55 || mbr[511] != 0xaa || mbr[446+4] != 0xee {
		return "the protective MBR is missing"
	}
	for _, copyOf := range []table{primary, backup} {
		for _, want := range t.Partitions {
			found := false
			for _, have := range copyOf.partitions {
				if strings.EqualFold(have.GUID, want.GUID) && have.Number == want.Number && have.Start == want.Start &&
					have.Size == want.Size && strings.EqualFold(have.Type, want.Type) {
					found = true
				}
			}
			if !found {
				return fmt.Sprintf("partition %d (%s) is not in the table", want.Number, want.Label)
			}
		}
	}
	return ""
}

// recorder is a disk for go-diskfs that keeps what is written to it.
type recorder struct {
	bytes.Reader
	writes []write
}

func (r *recorder) WriteAt(data []byte, offset int64) (int, error) {
	r.writes = append(r.writes, write{offset, bytes.Clone(data)})
	return len(data), nil
}

func (r *recorder) Close() error               { return nil }
func (r *recorder) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
