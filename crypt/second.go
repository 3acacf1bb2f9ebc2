package crypt

import (
	"bytes"
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
//
// own says that hvinstall formatted the volume: more is known of what its
// header must be. The header that is returned is what was judged and is used,
// whatever h was read from.
func (h Header) openHeader(device string, own bool) (luks.Device, Header, error) {
	area, used, err := h.inMemory(device, own)
	if err != nil {
		return nil, Header{}, err
	}
	defer area.Close() // luks.go opens it once more
	volume, err := luks.Open(fmt.Sprintf("/proc/self/fd/%d", area.Fd()))
	return volume, used, err
}

// inMemory is a file in memory that looks as the device would with a whole
// header: its size, by which luks.go knows the volume's, the first copy and the
// keyslots.
func (h Header) inMemory(device string, own bool) (*os.File, Header, error) {
	disk, err := os.Open(device)
	if err != nil {
		return nil, Header{}, err
	}
	defer disk.Close()
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, Header{}, err
	}
	fd, err := unix.MemfdCreate("hvinstall-header", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, Header{}, fmt.Errorf("memfd_create: %w", err)
	}
	area := os.NewFile(uintptr(fd), "header")
	used, err := h.fill(area, disk, size, own)
	if err != nil {
		return nil, Header{}, errors.Join(err, area.Close())
	}
	return area, used, nil
}

// fill copies what luks.go reads, judges it there, and returns what it says.
func (h Header) fill(area *os.File, disk io.ReaderAt, size int64, own bool) (Header, error) {
	if err := area.Truncate(size); err != nil {
		return Header{}, err
	}
	length := int64(luks1Size)
	switch {
	case h.Version == 1 && own:
		return Header{}, refuse("version", "hvinstall made this volume as LUKS2, and LUKS1 is there now")
	case h.Version == 2:
		if length = h.second; length == 0 {
			head := make([]byte, 16)
			if _, err := disk.ReadAt(head, 0); err != nil {
				return Header{}, err
			}
			length = int64(binary.BigEndian.Uint64(head[8:]))
			if !slices.Contains(secondaryOffsets, length) {
				return Header{}, refuse("size", "%d bytes", length)
			}
		}
	}
	if length > size {
		return Header{}, refuse("size", "%d bytes on a device of %d", length, size)
	}
	b := make([]byte, length)
	if _, err := disk.ReadAt(b, h.second); err != nil {
		return Header{}, err
	}
	if h.second != 0 {
		asFirst(b)
	}
	// What was read now, and not what a reader before saw.
	if uuid := field(b[168:208]); !strings.EqualFold(uuid, h.UUID) {
		return Header{}, refuse("uuid", "was %s a moment ago and is %q now", h.UUID, uuid)
	}
	used := h
	var needed []extent
	var err error
	if h.Version == 2 {
		if needed, err = judge2(b, size, own); err == nil {
			used, err = h.again(b)
		}
	} else {
		needed, err = judge1(b, size)
	}
	if err != nil {
		return Header{}, err
	}
	if _, err := area.WriteAt(b, 0); err != nil {
		return Header{}, err
	}
	for _, e := range needed {
		part := make([]byte, e.length)
		if _, err := disk.ReadAt(part, e.offset); err != nil {
			return Header{}, err
		}
		if _, err := area.WriteAt(part, e.offset); err != nil {
			return Header{}, err
		}
	}
	return used, nil
}

// again is the header as a copy of it says that was judged.
func (h Header) again(b []byte) (Header, error) {
	used := Header{
		Version: 2, UUID: field(b[168:208]), Label: field(b[24:72]), Subsystem: field(b[208:256]),
		Damaged: h.Damaged, second: h.second,
	}
	text, _, _ := bytes.Cut(b[headerJSON:], []byte{0})
	if err := used.metadata(text); err != nil {
		return Header{}, refuse("json", "%v", err)
	}
	return used, nil
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
