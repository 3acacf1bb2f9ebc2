package vmstore

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fsNoCOW is FS_NOCOW_FL of linux/fs.h: chattr +C.
const fsNoCOW = 0x00800000

func hasNoCOW(path string) (bool, error) {
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	flags, err := unix.IoctlGetUint32(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	return flags&fsNoCOW != 0, err
}

// setNoCOW marks an empty directory, whose new files then have no checksums
// and no healing. It is made only where the user asked for it.
func setNoCOW(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags, err := unix.IoctlGetUint32(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("nocow: %s: reading its flags: %w; nocow needs btrfs", path, err)
	}
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, int(flags|fsNoCOW)); err != nil {
		return fmt.Errorf("nocow: %s: %w; nocow needs btrfs", path, err)
	}
	return nil
}
