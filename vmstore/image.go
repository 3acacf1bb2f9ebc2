package vmstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The formats of images, by their first bytes.
const (
	formatQCOW2 = "qcow2"
	formatRaw   = "raw"
	formatVMDK  = "vmdk"
	formatVDI   = "vdi"
	formatVHDX  = "vhdx"
	formatVHD   = "vpc" // qemu-img's name for it
	formatISO   = "iso"
)

// sectorOfISO is where an ISO 9660 file system says what it is (ECMA-119 6.2.1).
const sectorOfISO = 16 * 2048

// NotAnImageError is a file that is no disk image, such as a web page in its
// place.
type NotAnImageError struct {
	Path string
	Why  string
}

func (e *NotAnImageError) Error() string { return e.Path + " is no whole disk image: " + e.Why }

// openAnything opens for reading what may be no file at all: O_NONBLOCK, so that
// a FIFO does not hang the run.
func openAnything(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// inspect reads what an image says of itself. It opens nothing that the image
// names: an image from elsewhere may name any file of this host as its backing
// file.
func inspect(path string) (File, error) {
	file, info, err := openAnything(path)
	if err != nil {
		return File{}, err
	}
	defer file.Close()
	if !info.Mode().IsRegular() {
		return File{Problem: "it is a " + kindOf(info.Mode())}, nil
	}
	f := File{Size: info.Size(), Allocated: allocated(info)}
	f.Format, f.Virtual, f.Needs, err = readImage(file, info.Size())
	var not *NotAnImageError
	if errors.As(err, &not) {
		f.Problem = not.Why
		return f, nil
	}
	return f, err
}

// inspectDisk looks at the disk of a VM that is there, whose format its
// definition tells: a raw one needs no partition table.
func inspectDisk(path, format string) (File, error) {
	f, err := inspect(path)
	if err == nil && format == formatRaw && f.Size > 0 {
		f.Format, f.Virtual, f.Needs, f.Problem = formatRaw, f.Size, "", ""
	}
	return f, err
}

// readImage finds the format and the size that a guest sees.
func readImage(r io.ReaderAt, size int64) (format string, virtual int64, needs string, err error) {
	head := make([]byte, 4096)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", 0, "", err
	}
	head = head[:n]
	not := func(format string, args ...any) error { return &NotAnImageError{Why: fmt.Sprintf(format, args...)} }
	switch {
	case n == 0:
		return "", 0, "", not("it is empty")
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		virtual, needs, err = readQCOW2(head, size)
		return formatQCOW2, virtual, needs, err
	case bytes.HasPrefix(head, []byte("KDMV")) && n >= 20:
		virtual, err = readVMDK(r, head, size)
		return formatVMDK, virtual, "", err
	case bytes.HasPrefix(head, []byte("# Disk DescriptorFile")):
		return formatVMDK, 0, "", not("it is a VMDK descriptor that names other files; convert it to one file first")
	case n >= 0x178 && binary.LittleEndian.Uint32(head[0x40:]) == 0xbeda107f:
		return formatVDI, int64(binary.LittleEndian.Uint64(head[0x170:])), "", judgeVDI(head)
	case bytes.HasPrefix(head, []byte("vhdxfile")):
		virtual, err = readVHDX(r)
		return formatVHDX, virtual, "", err
	}
	if virtual, isVHD, err := readVHD(r, size); isVHD || err != nil {
		return formatVHD, virtual, "", err
	}
	// A raw disk is taken by its boot sector, which proves nothing: what another
	// program would take for a format of its own is refused.
	if name, err := otherFormat(r, head, size); err != nil || name != "" {
		return "", 0, "", cmp.Or(err, not("it begins or ends as %s does, which is not taken; convert it to qcow2 first", name))
	}
	mark := make([]byte, 6)
	if _, err := r.ReadAt(mark, sectorOfISO); err == nil && string(mark[1:]) == "CD001" {
		return formatISO, size, "", nil
	}
	if n >= 512 && head[510] == 0x55 && head[511] == 0xaa {
		return formatRaw, size, "", nil
	}
	return "", 0, "", not("it begins with %q and has neither a known image format nor a partition table", firstWords(head))
}

// readQCOW2 checks a qcow2 header (docs/interop/qcow2.txt in QEMU) and gives
// the virtual size. A file cut off by an interrupted copy has tables beyond
// its end.
func readQCOW2(head []byte, size int64) (virtual int64, needs string, err error) {
	if len(head) < 72 {
		return 0, "", &NotAnImageError{Why: "its qcow2 header is cut off"}
	}
	be := binary.BigEndian
	version, backing := be.Uint32(head[4:]), be.Uint64(head[8:])
	virtual = int64(be.Uint64(head[24:]))
	crypt := be.Uint32(head[32:])
	l1Size, l1Offset := be.Uint32(head[36:]), be.Uint64(head[40:])
	refcountOffset := be.Uint64(head[48:])
	// What a reader must know before it reads: a mark of a crash, of damage, the
	// kind of compression, and smaller clusters name no other file.
	const externalData, known = 1 << 2, 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4
	features := uint64(0)
	if version == 3 {
		if len(head) < 104 {
			return 0, "", &NotAnImageError{Why: "its qcow2 header is cut off"}
		}
		features = be.Uint64(head[72:])
	}
	switch {
	case version < 2 || version > 3:
		return 0, "", &NotAnImageError{Why: fmt.Sprintf("qcow version %d is not supported", version)}
	case l1Offset+uint64(l1Size)*8 > uint64(size) || refcountOffset >= uint64(size):
		return 0, "", &NotAnImageError{Why: "it is cut off: its tables lie beyond its end"}
	case backing != 0:
		return virtual, "its backing file", nil
	case features&externalData != 0:
		return virtual, "its data file", nil
	case features&^uint64(known) != 0:
		return 0, "", &NotAnImageError{Why: fmt.Sprintf("it has qcow2 features that are not known here (%#x)", features)}
	case virtual < 0:
		return 0, "", &NotAnImageError{Why: "its qcow2 header gives a size that cannot be"}
	case crypt != 0:
		return virtual, "its key: it is encrypted", nil
	}
	return virtual, "", nil
}

func firstWords(head []byte) string {
	s := string(head[:min(len(head), 24)])
	if i := strings.IndexByte(s, '\n'); i > 0 {
		s = s[:i]
	}
	return s
}

// allocated is what a file takes on the disk.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeCharDevice != 0:
		return "character device"
	case mode&fs.ModeDevice != 0:
		return "block device"
	}
	return "special file"
}
