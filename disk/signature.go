package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Signature types that name no format.
const (
	// UnknownData is content in the first or last MiB that no reader knows. A
	// disk with it is not blank.
	UnknownData = "unknown-data"
	// Unread is content that could not be read; there may be anything.
	Unread = "unread"
)

// windowSize is what must be zero at each end of a device for it to be called
// blank.
const windowSize = 1 << 20

// pageSize is what is read for a magic: most formats are told by few places.
const pageSize = 4 << 10

// content is a disk, or a part of one, as the signature readers see it. Reads
// outside it give nil; the first read error is kept, because a device that
// cannot be read whole must not be called blank.
type content struct {
	r      io.ReaderAt
	base   uint64            // of this part, from r's beginning
	size   uint64            // bytes
	sector uint64            // logical sector, bytes
	pages  map[uint64][]byte // what was read, by its offset; nil: unreadable
	err    error
}

func newContent(r io.ReaderAt, base, size uint64, sector uint32) *content {
	return &content{r: r, base: base, size: size, sector: max(uint64(sector), 512), pages: map[uint64][]byte{}}
}

// at returns n bytes at off, or nil where they are outside or unreadable.
func (c *content) at(off, n uint64) []byte {
	if off > c.size || n > c.size-off {
		return nil
	}
	first := off / pageSize * pageSize
	if off+n > first+pageSize {
		return c.read(off, n)
	}
	page, known := c.pages[first]
	if !known {
		page = c.read(first, min(pageSize, c.size-first))
		c.pages[first] = page
	}
	if page == nil {
		return nil
	}
	return page[off-first : off-first+n]
}

func (c *content) read(off, n uint64) []byte {
	buf := make([]byte, n)
	if got, err := c.r.ReadAt(buf, int64(c.base+off)); uint64(got) < n {
		if c.err == nil {
			c.err = fmt.Errorf("reading %d bytes at %d: %w", n, c.base+off, err)
		}
		return nil
	}
	return buf
}

// is reports whether magic is at off.
func (c *content) is(off uint64, magic string) bool {
	return string(c.at(off, uint64(len(magic)))) == magic
}

// blank reports whether both ends can be read, and are zero.
func (c *content) blank() bool {
	return c.zero(0, windowSize) && c.zero(c.size-min(c.size, windowSize), windowSize)
}

// zero reports whether the bytes from off on, as far as there are any, are zero.
func (c *content) zero(off, n uint64) bool {
	for end := min(c.size, off+n); off < end; {
		step := min(64<<10, end-off)
		if part := c.read(off, step); part == nil || !allZero(part) {
			return false
		}
		off += step
	}
	return true
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// signatureReaders find one format each; a device can carry several.
var signatureReaders = []func(*content) []Signature{
	readLUKS, readBtrfs, readExt, readXFS, readFAT, readExFAT, readNTFS,
	readZFS, readMD, readFirmwareRAID, readLVM2, readSwap, readBcache,
	readISO9660, readF2FS, readReiserFS, readJFS, readErofs, readAPFS, readHFSPlus,
	readMagics,
}

// contentSignatures returns every known content of c other than partition
// tables, which tableSignatures reads.
func contentSignatures(c *content) []Signature {
	var found []Signature
	for _, read := range signatureReaders {
		found = append(found, read(c)...)
	}
	return found
}

// magics are the formats of which only the type is told.
var magics = []struct {
	kind   string
	offset uint64
	magic  string
}{
	{"bitlocker", 3, "-FVE-FS-"},
	{"refs", 3, "ReFS\x00\x00\x00\x00"},
	{"squashfs", 0, "hsqs"},
	{"squashfs", 0, "sqsh"},
	{"vmfs", 1 << 20, "\x0d\xd0\x01\xc0"},
	{"ceph-bluestore", 0, "bluestore block device\n"},
	{"stratis", 512 + 4, "!Stra0tis\x86\xff\x02^\x41rh"},
	{"vdo", 0, "dmvdo001"},
	{"dm-integrity", 0, "integrt\x00"},
	{"dm-verity", 0, "verity\x00\x00"},
	{"nilfs2", 1024 + 6, "\x34\x34"},
	{"ocfs2", 8192, "OCFSV2"},
	{"gfs2", 65536, "\x01\x16\x19\x70"},
	{"reiser4", 65536, "ReIsEr4"},
	{"udf", 32768 + 2048 + 1, "BEA01"},
	{"apm", 512, "PM\x00\x00"},
	{"cramfs", 0, "\x45\x3d\xcd\x28"},
	{"qcow2", 0, "QFI\xfb"},
}

func readMagics(c *content) []Signature {
	var found []Signature
	for _, m := range magics {
		if !c.is(m.offset, m.magic) {
			continue
		}
		if m.kind == "nilfs2" && !c.is(1024+8, "\x00\x00") && !c.is(1024, "\x02\x00\x00\x00") {
			continue // two bytes are a weak magic; the revision comes first
		}
		found = append(found, Signature{Type: m.kind, Offset: m.offset})
	}
	// BitLocker To Go keeps a FAT boot sector for Windows XP, and its GUID at 424.
	if c.is(3, "MSWIN4.1") && c.is(424, "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01") {
		found = append(found, Signature{Type: "bitlocker", Offset: 424})
	}
	return found
}

// uuidText formats 16 bytes as on most file systems: big endian.
func uuidText(b []byte) string {
	if len(b) < 16 || allZero(b[:16]) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// serialText formats a FAT volume serial as everyone writes it: 8B34-7D3C.
func serialText(b []byte) string {
	if len(b) < 4 || allZero(b[:4]) {
		return ""
	}
	n := binary.LittleEndian.Uint32(b)
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}

// text is a label out of a fixed field: up to the first NUL, blanks trimmed,
// bytes that are not text shown as �, so that a hostile label cannot steer a
// terminal.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return printable(string(b))
}

func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return strings.TrimSpace(s)
}

// utf16Text is text in UTF-16, little endian, up to the first NUL.
func utf16Text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return printable(string(utf16.Decode(units)))
}

func powerOfTwo[T uint8 | uint16 | uint32 | uint64](n T) bool { return n != 0 && n&(n-1) == 0 }
