package crypt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/anatol/luks.go"
	"golang.org/x/sys/unix"
)

// luks.go is given a copy of the header that lives in memory and not the disk:
// what was judged is then what is used, though a disk may answer differently
// when it is read again. LUKS2 keeps two copies of a header, and luks.go reads
// the first alone; where that one is damaged, the second takes its place in
// memory. The disk stays as it is, for cryptsetup to mend.

// Fields of a header's first sector, see "LUKS2 On-Disk Format Specification",
// 2.1.
const (
	headerChecksumName = 72
	headerOffset       = 256
	headerChecksum     = 448
	headerJSON         = 4096
)

// openHeader opens the device for unlocking by whichever copy of its header
// counts, once that is judged.
func (h Header) openHeader(device string) (luks.Device, error) {
	area, err := h.inMemory(device)
	if err != nil {
		return nil, err
	}
	defer area.Close() // luks.go opens it once more
	return luks.Open(fmt.Sprintf("/proc/self/fd/%d", area.Fd()))
}

// inMemory is a file in memory that looks as the device would with a whole
// header: its size, by which luks.go knows the volume's, the first copy and the
// keyslots.
func (h Header) inMemory(device string) (*os.File, error) {
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
	if err := h.fill(area, disk, size); err != nil {
		return nil, errors.Join(err, area.Close())
	}
	return area, nil
}

// fill copies what luks.go reads, and judges it there.
func (h Header) fill(area *os.File, disk io.ReaderAt, size int64) error {
	if err := area.Truncate(size); err != nil {
		return err
	}
	length, judge := int64(luks1Size), judge1
	if h.Version == 2 {
		judge = judge2
		if length = h.second; length == 0 {
			head := make([]byte, 16)
			if _, err := disk.ReadAt(head, 0); err != nil {
				return err
			}
			length = int64(binary.BigEndian.Uint64(head[8:]))
			if !slices.Contains(secondaryOffsets, length) {
				return refuse("size", "%d bytes", length)
			}
		}
	}
	if length > size {
		return refuse("size", "%d bytes on a device of %d", length, size)
	}
	b := make([]byte, length)
	if _, err := disk.ReadAt(b, h.second); err != nil {
		return err
	}
	if h.second != 0 {
		asFirst(b)
	}
	// What was read now, and not what a reader before saw.
	if uuid := field(b[168:208]); !strings.EqualFold(uuid, h.UUID) {
		return refuse("uuid", "was %s a moment ago and is %q now", h.UUID, uuid)
	}
	needed, err := judge(b, size)
	if err != nil {
		return err
	}
	if _, err := area.WriteAt(b, 0); err != nil {
		return err
	}
	for _, e := range needed {
		part := make([]byte, e.length)
		if _, err := disk.ReadAt(part, e.offset); err != nil {
			return err
		}
		if _, err := area.WriteAt(part, e.offset); err != nil {
			return err
		}
	}
	return nil
}

// asFirst turns a second copy into a first one.
func asFirst(b []byte) {
	copy(b, magicPrimary)
	binary.BigEndian.PutUint64(b[headerOffset:], 0)
	copy(b[headerChecksumName:headerChecksumName+32], append([]byte("sha256"), make([]byte, 26)...))
	sealHeader(b)
}

// unlock makes the mapping of the device, if the key opens the slot.
func unlock(volume luks.Device, device string, slot int, key Secret, mapping string) error {
	v, err := volume.UnsealVolume(slot, key.Bytes())
	if err != nil {
		return err
	}
	defer wipeKey(v)
	v.BackingDevice = device
	return v.SetupMapper(mapping)
}

// wipeKey clears the volume key, which luks.go does in Unlock alone: that would
// make a mapping of the copy in memory.
func wipeKey(v *luks.Volume) {
	if key := reflect.ValueOf(v).Elem().FieldByName("key"); key.IsValid() && key.Kind() == reflect.Slice {
		clear(key.Bytes())
	}
}
