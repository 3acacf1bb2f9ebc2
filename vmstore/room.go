package vmstore

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// NoRoomError is a pool without room for an image. It is raised before the
// pool is full: running VMs whose writes fail are paused by QEMU.
type NoRoomError struct {
	Path string
	Free int64
	Keep int64
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("no room for %s: %s free, and %s stay free for the running VMs; delete something or add a disk, then run again",
		e.Path, gib(e.Free), gib(e.Keep))
}

// freeSpace gives the bytes free for root's files where path is or will be.
func freeSpace(path string) (free, total int64, err error) {
	var st unix.Statfs_t
	for {
		err = unix.Statfs(path, &st)
		if !errors.Is(err, unix.ENOENT) || path == "/" || path == "." {
			break
		}
		path = filepath.Dir(path)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("asking for the free space at %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// reserve is what downloads leave free: 1 GiB, or less of a small file system.
func reserve(total int64) int64 { return min(1<<30, total/20) }

func checkRoom(path string) error {
	free, total, err := freeSpace(path)
	if err != nil {
		return err
	}
	if keep := reserve(total); free < keep {
		return &NoRoomError{Path: path, Free: free, Keep: keep}
	}
	return nil
}

// noRoom turns the kernel's "no space left" into the same answer.
func noRoom(path string, err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	free, total, statErr := freeSpace(path)
	if statErr != nil {
		return err
	}
	return &NoRoomError{Path: path, Free: free, Keep: reserve(total)}
}

// gib writes bytes as people say them.
func gib(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", (n+1<<29)>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// noRoomNow explains the failure of a program by the state of its file system:
// xz says "Write error", and a person wants to know that the pool is full.
func noRoomNow(path string, err error) error {
	var room *NoRoomError
	if check := checkRoom(path); errors.As(check, &room) {
		return room
	}
	return err
}
