package vmstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OutsideError is a directory that is not removed because something in it, or
// it itself, leads elsewhere.
type OutsideError struct {
	Path string
	Why  string
}

func (e *OutsideError) Error() string {
	return e.Path + " " + e.Why + "; nothing outside libvirt_vmstore_root is removed: look at it and remove it yourself"
}

// within resolves below a directory: no "..", no symlink, no other mount.
var within = unix.OpenHow{
	Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
	Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
}

// removeDirectory deletes root/name with all in it. Everything is reached from
// root's descriptor, so that a symlink, or a directory that is swapped for one
// while we delete, cannot lead the deletion out of root. One that is gone is
// no error.
func removeDirectory(root, name string) error {
	if problem := badName(name); problem != "" {
		return errors.New(problem)
	}
	base, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(base)
	if err := removeTree(base, name, root+"/"+name); err != nil {
		return err
	}
	return unix.Fsync(base)
}

// removeTree empties and removes the directory name of the open directory at.
func removeTree(at int, name, shown string) error {
	how := within
	fd, err := unix.Openat2(at, name, &how)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return &OutsideError{shown, "is not a directory"}
	case errors.Is(err, unix.EXDEV):
		return &OutsideError{shown, "is a mount point"}
	case err != nil:
		return fmt.Errorf("opening %s: %w", shown, err)
	}
	dir := os.NewFile(uintptr(fd), shown)
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("reading %s: %w", shown, err)
	}
	for _, e := range entries {
		path := shown + "/" + e.Name()
		if e.Type()&fs.ModeDir != 0 {
			if err := removeTree(fd, e.Name(), path); err != nil {
				return err
			}
			continue
		}
		if err := unix.Unlinkat(fd, e.Name(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("deleting %s: %w", path, err)
		}
	}
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing %s: %w", shown, err)
	}
	return nil
}
