package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BTRFS_IOC_DEV_INFO of include/uapi/linux/btrfs.h.
const btrfsDevInfo = 0xd000941e

// btrfsInfo is a device of a mounted btrfs, as the kernel knows it. A device
// with the ID 0 is the target of a replace that is under way.
type btrfsInfo struct {
	id      uint64
	path    string // empty for one that was not there at the mount
	uuid    string // the device's own
	size    uint64 // bytes
	used    uint64 // bytes that chunks take
	missing bool
}

// btrfsDevices lists the devices of the btrfs at a mountpoint.
func btrfsDevices(mountpoint string) ([]btrfsInfo, error) {
	dir, err := os.Open(mountpoint)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var info [1024]byte // max_id, num_devices, fsid, …
	if err := btrfsIoctl(int(dir.Fd()), btrfsFSInfo, unsafe.Pointer(&info)); err != nil {
		return nil, fmt.Errorf("asking %s for its file system: %w", mountpoint, err)
	}
	fsid := uuidText(info[16:32])
	var all []btrfsInfo
	for id := uint64(0); id <= binary.NativeEndian.Uint64(info[:]); id++ {
		var b [4096]byte // devid, uuid, bytes_used, total_bytes, …, path at 3072
		binary.NativeEndian.PutUint64(b[:], id)
		err := btrfsIoctl(int(dir.Fd()), btrfsDevInfo, unsafe.Pointer(&b))
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking %s for its device %d: %w", mountpoint, id, err)
		}
		path, _, _ := bytes.Cut(b[3072:], []byte{0})
		d := btrfsInfo{id: id, path: string(path), uuid: uuidText(b[8:24]), used: binary.NativeEndian.Uint64(b[24:]), size: binary.NativeEndian.Uint64(b[32:])}
		d.missing = d.path == "" || readLine(fmt.Sprintf("/sys/fs/btrfs/%s/devinfo/%d/missing", fsid, id)) == "1"
		all = append(all, d)
	}
	return all, nil
}

// hasSingle reports whether a mounted file system has chunks of another
// profile than raid1. sysfs keeps an empty profile's folder until the unmount.
func hasSingle(fsid string) bool {
	sizes, err := filepath.Glob("/sys/fs/btrfs/" + fsid + "/allocation/*/*/total_bytes")
	if err != nil {
		return false
	}
	for _, file := range sizes {
		profile := filepath.Base(filepath.Dir(file))
		if !strings.HasPrefix(profile, "raid1") && readNumber(file) > 0 {
			return true
		}
	}
	return false
}

// sameDevice reports whether two paths lead to one block device.
func sameDevice(a, b string) bool {
	var one, other unix.Stat_t
	return unix.Stat(a, &one) == nil && unix.Stat(b, &other) == nil && one.Rdev == other.Rdev && one.Mode&unix.S_IFMT == unix.S_IFBLK
}

func sizeOf(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return deviceSize(file)
}
