package unlock

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// superblock is what the boot has to know of a btrfs member, see the kernel's
// include/uapi/linux/btrfs_tree.h: the super block lies at 64 KiB.
type superblock struct {
	fsid    string
	devices uint64 // of the whole file system
}

func readSuperblock(path string) (superblock, error) {
	file, err := os.Open(path)
	if err != nil {
		return superblock{}, err
	}
	defer file.Close()
	block := make([]byte, 4096)
	if _, err := file.ReadAt(block, 64<<10); err != nil {
		return superblock{}, fmt.Errorf("reading the btrfs of %s: %w", path, err)
	}
	sb, ok := parseSuperblock(block)
	if !ok {
		return superblock{}, fmt.Errorf("%s holds no btrfs", path)
	}
	return sb, nil
}

func parseSuperblock(block []byte) (superblock, bool) {
	if len(block) < 0x100 || string(block[0x40:0x48]) != "_BHRfS_M" {
		return superblock{}, false
	}
	u := block[0x20:0x30]
	return superblock{
		fsid:    fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]),
		devices: binary.LittleEndian.Uint64(block[0x88:]),
	}, true
}

// scanDevice is BTRFS_IOC_SCAN_DEV, _IOW(0x94, 4, struct btrfs_ioctl_vol_args).
const scanDevice = 0x50009404

// btrfsScan tells the kernel of a member, as 'btrfs device scan' does.
func btrfsScan(path string) error {
	control, err := os.OpenFile("/dev/btrfs-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	var args struct {
		fd   int64
		name [4088]byte
	}
	copy(args.name[:len(args.name)-1], path)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), scanDevice, uintptr(unsafe.Pointer(&args)))
	if errno != 0 {
		return fmt.Errorf("telling the kernel of the btrfs on %s: %w", path, errno)
	}
	return nil
}
