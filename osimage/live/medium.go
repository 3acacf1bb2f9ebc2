package live

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Running reports whether this is the live system.
func Running() bool {
	info, err := os.Stat(Medium)
	return err == nil && info.IsDir()
}

// Layout is the layout on the medium; empty: there is none.
func Layout() string {
	path := filepath.Join(Medium, "layout.yaml")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// Save keeps a layout on the medium, which is writable only for that moment: a
// stick may be pulled out at any time. The old file stays as layout.yaml.old.
func Save(data []byte) (err error) {
	if err := unix.Mount("", Medium, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("the medium cannot be written to: %w; copy the layout elsewhere", err)
	}
	defer func() {
		again := unix.Mount("", Medium, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		if err == nil && again != nil {
			err = fmt.Errorf("write-protecting the medium again: %w", again)
		}
	}()
	path := filepath.Join(Medium, "layout.yaml")
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path, path+".old"); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(Medium)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}
