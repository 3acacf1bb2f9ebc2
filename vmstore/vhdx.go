package vmstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Where a VHDX has its tables (Microsoft's MS-VHDX 2.2 and 2.6), and what is
// read of them. GUIDs are as they stand in the file.
const (
	vhdxRegionTable = 192 << 10 // a copy follows
	vhdxTableSize   = 64 << 10
	vhdxMostEntries = 2047
	vhdxHasParent   = 1 << 1
)

var (
	vhdxMetadata   = [16]byte{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
	vhdxParameters = [16]byte{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	vhdxDiskSize   = [16]byte{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	vhdxParent     = [16]byte{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}
)

// readVHDX gives the virtual size of a VHDX that is whole in this one file. A
// differencing one has a flag and a locator of its parent, which is a path.
func readVHDX(r io.ReaderAt) (virtual int64, err error) {
	virtual, err = readVHDXBy(r, vhdxRegionTable)
	if err != nil {
		return 0, err
	}
	// The copy counts where another program takes it; QEMU reads the first.
	mark := make([]byte, 4)
	if _, err := r.ReadAt(mark, vhdxRegionTable+vhdxTableSize); err == nil && string(mark) == "regi" {
		if copied, err := readVHDXBy(r, vhdxRegionTable+vhdxTableSize); err != nil {
			return 0, err
		} else if copied != virtual {
			return 0, &NotAnImageError{Why: "the VHDX has two region tables that say different things"}
		}
	}
	return virtual, nil
}

func readVHDXBy(r io.ReaderAt, at int64) (virtual int64, err error) {
	not := func(format string, args ...any) error { return &NotAnImageError{Why: fmt.Sprintf(format, args...)} }
	table := func(at int64, mark string) ([]byte, error) {
		b := make([]byte, vhdxTableSize)
		_, err := r.ReadAt(b, at)
		switch {
		case errors.Is(err, io.EOF) || err == nil && !bytes.HasPrefix(b, []byte(mark)):
			return nil, not("the VHDX has no %q table where it should be, or is cut off", mark)
		case err != nil:
			return nil, err
		}
		return b, nil
	}
	le := binary.LittleEndian
	regions, err := table(at, "regi")
	if err != nil {
		return 0, err
	}
	count := le.Uint32(regions[8:])
	if count > vhdxMostEntries {
		return 0, not("the VHDX has a table of %d regions, which cannot be", count)
	}
	metadata := int64(0)
	for i := range count {
		if entry := regions[16+32*i:]; [16]byte(entry) == vhdxMetadata {
			offset := le.Uint64(entry[16:])
			if metadata != 0 || offset == 0 || offset > 1<<62 {
				return 0, not("the VHDX names its metadata twice, or at no place")
			}
			metadata = int64(offset)
		}
	}
	if metadata == 0 {
		return 0, not("the VHDX has no metadata")
	}
	items, err := table(metadata, "metadata")
	if err != nil {
		return 0, err
	}
	item := func(entry []byte) (uint64, error) {
		b := make([]byte, 8)
		_, err := r.ReadAt(b, metadata+int64(le.Uint32(entry[16:])))
		if errors.Is(err, io.EOF) {
			return 0, not("the VHDX is cut off in its metadata")
		}
		return le.Uint64(b), err
	}
	entries := le.Uint16(items[10:])
	if entries > vhdxMostEntries {
		return 0, not("the VHDX has %d items of metadata, which cannot be", entries)
	}
	flags, sized := uint64(vhdxHasParent), 0
	for i := range int(entries) {
		entry := items[32+32*i:]
		switch [16]byte(entry) {
		case vhdxParent:
			return 0, not("the VHDX names a parent, another file that it is only the difference to; convert it to one file first")
		case vhdxParameters:
			if flags, err = item(entry); err != nil {
				return 0, err
			}
			flags >>= 32 // behind the block's size
		case vhdxDiskSize:
			size, err := item(entry)
			if err != nil {
				return 0, err
			}
			if sized++; size > 1<<62 {
				return 0, not("the VHDX gives a size of %d bytes", size)
			}
			virtual = int64(size)
		}
	}
	switch {
	case flags&vhdxHasParent != 0:
		return 0, not("the VHDX is the difference to another file, or does not say that it is none; convert it to one file first")
	case sized != 1:
		return 0, not("the VHDX gives its size %d times", sized)
	}
	return virtual, nil
}
