package crypt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/anatol/luks.go"
	"golang.org/x/sys/unix"
)

// LUKS2 keeps two copies of a header. luks.go reads the first alone, so that a
// volume whose first copy is damaged would stay closed although everything to
// open it is there. Here the second copy is put in the first one's place, in a
// copy of the header area that lives in memory; the disk stays as it is, for
// cryptsetup to mend.

// Fields of a header's first sector, see "LUKS2 On-Disk Format Specification",
// 2.1.
const (
	headerChecksumName = 72
	headerOffset       = 256
	headerChecksum     = 448
	headerJSON         = 4096
)

// largestDataOffset bounds the header area that is copied; cryptsetup's is
// 16 MiB.
const largestDataOffset = 64 << 20

// openHeader opens the device for unlocking by whichever copy of its header
// counts.
func (h Header) openHeader(device string) (luks.Device, error) {
	if h.second == 0 {
		return luks.Open(device)
	}
	area, err := h.repaired(device)
	if err != nil {
		return nil, fmt.Errorf("using the second copy of the header: %w", err)
	}
	defer area.Close() // luks.go opens it once more
	return luks.Open(fmt.Sprintf("/proc/self/fd/%d", area.Fd()))
}

// repaired is a file in memory that looks as the device would with both copies
// of its header whole. It has the device's size, by which luks.go knows the
// volume's, and the device's content up to the data.
func (h Header) repaired(device string) (*os.File, error) {
	if h.Offset == 0 || h.Offset > largestDataOffset {
		return nil, fmt.Errorf("its data begins at %d, which is not supported", h.Offset)
	}
	disk, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("hvinstall-header", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	area := os.NewFile(uintptr(fd), "header")
	_, err = io.Copy(area, io.NewSectionReader(disk, 0, int64(h.Offset)))
	if err == nil {
		err = area.Truncate(size)
	}
	if err == nil {
		err = firstFromSecond(area, h.second)
	}
	if err != nil {
		return nil, errors.Join(err, area.Close())
	}
	return area, nil
}

// firstFromSecond writes the first copy of a header anew, from the second at
// the given offset, which is also a copy's size.
func firstFromSecond(area *os.File, offset int64) error {
	b := make([]byte, offset)
	if _, err := area.ReadAt(b, offset); err != nil {
		return err
	}
	copy(b, magicPrimary)
	binary.BigEndian.PutUint64(b[headerOffset:], 0)
	sealHeader(b)
	_, err := area.WriteAt(b, 0)
	return err
}

// unlock makes the mapping, if the key opens the slot.
func unlock(volume luks.Device, device string, slot int, key Secret, mapping string) error {
	if volume.Path() == device {
		return volume.Unlock(slot, key.Bytes(), mapping)
	}
	// luks.go wipes the volume key only in Unlock, which would make a mapping
	// of the copy.
	v, err := volume.UnsealVolume(slot, key.Bytes())
	if err != nil {
		return err
	}
	v.BackingDevice = device
	return v.SetupMapper(mapping)
}
