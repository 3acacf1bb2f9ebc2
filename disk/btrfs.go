package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"hvinstall/host"

	"golang.org/x/sys/unix"
)

// superblock is what a btrfs device says of its file system, see
// btrfs_super_block in the kernel's include/uapi/linux/btrfs_tree.h.
type superblock struct {
	fsid    string
	label   string
	devices uint64
	devid   uint64
}

// readSuperblock reads the first superblock. mkfs.btrfs writes the magic when
// everything else is written, so a file system cut short has none.
func readSuperblock(device io.ReaderAt) (superblock, bool, error) {
	b := make([]byte, 4096)
	if n, err := device.ReadAt(b, 64<<10); err != nil && (n < len(b) || !errors.Is(err, io.EOF)) {
		if errors.Is(err, io.EOF) {
			return superblock{}, false, nil // smaller than any btrfs
		}
		return superblock{}, false, err
	}
	if string(b[0x40:0x48]) != "_BHRfS_M" {
		return superblock{}, false, nil
	}
	label, _, _ := bytes.Cut(b[0x12b:0x12b+256], []byte{0})
	return superblock{
		fsid: uuidText(b[0x20:0x30]), label: string(label),
		devices: binary.LittleEndian.Uint64(b[0x88:]), devid: binary.LittleEndian.Uint64(b[0xc9:]),
	}, true, nil
}

// member is a device of the file system, as it is now.
type member struct {
	path   string
	closed bool // the mapping is not there
	super  superblock
	found  bool // it holds a btrfs
}

func (fs FilesystemPlan) members() ([]member, error) {
	var all []member
	for _, path := range fs.Devices {
		m := member{path: path}
		file, err := os.Open(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			m.closed = true
		case err != nil:
			return nil, err
		default:
			m.super, m.found, err = readSuperblock(file)
			file.Close()
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", path, err)
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// make formats the file system. It is called only while every disk below is
// still being made, so --force overwrites nothing but an earlier attempt.
func (fs FilesystemPlan) make(ctx context.Context, log func(string, ...any)) error {
	if err := fs.forget(); err != nil {
		return err
	}
	argv := []string{"mkfs.btrfs", "--quiet", "--force", "--label", fs.Label, "--uuid", fs.UUID}
	if fs.RAID1 {
		argv = append(argv, "--data", "raid1", "--metadata", "raid1")
	} else {
		argv = append(argv, "--data", "single", "--metadata", "dup")
	}
	if !fs.Discard {
		argv = append(argv, "--nodiscard")
	}
	return host.Cmd{Argv: append(argv, fs.Devices...), Log: log}.Run(ctx)
}

// The ioctls below are those of include/uapi/linux/btrfs.h.
const (
	btrfsSubvolCreate = 0x5000940e
	btrfsScanDevice   = 0x50009404
	btrfsForgetDevice = 0x50009405
	btrfsFSInfo       = 0x8400941f
)

type btrfsVolArgs struct {
	fd   int64
	name [4088]byte
}

func btrfsIoctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// source is a device to mount the file system by, when the kernel knows of
// every member, and the options that it needs. A pool whose lost disk is about
// to be replaced is mounted degraded: the steps before have seen to it that
// there is a new disk for it.
func (fs FilesystemPlan) source() (device string, options []string, err error) {
	all, err := fs.members()
	if err != nil {
		return "", nil, err
	}
	var there []string
	var want uint64
	for _, m := range all {
		if m.found && m.super.devid != 0 {
			there, want = append(there, m.path), m.super.devices
		}
	}
	if len(there) == 0 {
		return "", nil, fmt.Errorf("none of the devices of %q holds it", fs.Label)
	}
	if fs.RAID1 && want > uint64(len(there)) {
		options = append(options, "degraded")
	}
	return there[0], options, fs.control(btrfsScanDevice, there)
}

// forget makes the kernel forget an earlier attempt on the same devices. It
// would take both attempts for one file system, whose UUID is the same, and
// refuse to mount it for its doubled devices.
func (fs FilesystemPlan) forget() error { return fs.control(btrfsForgetDevice, fs.Devices) }

// control gives the kernel's btrfs one command for each of the devices.
func (fs FilesystemPlan) control(command uintptr, devices []string) error {
	control, err := os.OpenFile("/dev/btrfs-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w; the kernel lacks btrfs (modprobe btrfs)", err)
	}
	defer control.Close()
	for _, device := range devices {
		var args btrfsVolArgs
		copy(args.name[:len(args.name)-1], device)
		err := btrfsIoctl(int(control.Fd()), command, unsafe.Pointer(&args))
		if command == btrfsForgetDevice && errors.Is(err, unix.ENOENT) {
			continue // it knows none
		}
		if err != nil {
			return fmt.Errorf("telling the kernel of %s: %w", device, err)
		}
	}
	return nil
}

// filesystemAt is the fsid of the btrfs mounted at a path, and how many
// devices it has.
func filesystemAt(path string) (fsid string, devices uint64, err error) {
	dir, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer dir.Close()
	var info [1024]byte // max_id, num_devices, fsid, …
	if err := btrfsIoctl(int(dir.Fd()), btrfsFSInfo, unsafe.Pointer(&info)); err != nil {
		return "", 0, fmt.Errorf("asking %s for its file system: %w", path, err)
	}
	return uuidText(info[16:32]), binary.NativeEndian.Uint64(info[8:]), nil
}

// isMember reports whether a path leads to one of the devices.
func (fs FilesystemPlan) isMember(path string) bool {
	if slices.Contains(fs.Devices, path) {
		return true
	}
	name, err := kernelName(path)
	return err == nil && slices.ContainsFunc(fs.Devices, func(d string) bool {
		other, err := kernelName(d)
		return err == nil && other == name
	})
}

// atTop runs f with the file system's top level mounted in a folder of its own.
func (fs FilesystemPlan) atTop(f func(dir string) error) error {
	dir, err := host.OwnMountDir("/run/hvinstall/btrfs-" + fs.Label + "-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	source, options, err := fs.source()
	if err != nil {
		return err
	}
	if err := host.MountFS(source, dir, "btrfs", append(options, "subvolid=5", "noatime")...); err != nil {
		return err
	}
	return errors.Join(f(dir), host.UnmountOwn(dir))
}

// createSubvolume makes one; one that is there is no error.
func createSubvolume(top, name string) error {
	path := filepath.Join(top, name)
	if isSubvolume(path) {
		return nil
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	var args btrfsVolArgs
	copy(args.name[:len(args.name)-1], filepath.Base(name))
	if err := btrfsIoctl(int(parent.Fd()), btrfsSubvolCreate, unsafe.Pointer(&args)); err != nil {
		return fmt.Errorf("making the subvolume %s: %w", name, err)
	}
	return parent.Sync()
}

// isSubvolume reports whether a path is a subvolume's root, whose inode is
// always 256 (BTRFS_FIRST_FREE_OBJECTID).
func isSubvolume(path string) bool {
	var stat unix.Stat_t
	return unix.Stat(path, &stat) == nil && stat.Ino == 256
}

// below puts a path of the installed host under the target root.
func below(root, path string) string { return filepath.Join(root, path) }
