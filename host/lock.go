package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock is held from AcquireLock to Release, or to the end of the process.
type Lock struct{ file *os.File }

// HeldError is a lock that another process holds.
type HeldError struct {
	Path   string
	Holder string // what the holder wrote: its PID and command
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("another run is under way: %s holds %s; wait for it, or end it", e.Holder, e.Path)
}

// AcquireLock takes the lock at path, writing who holds it. It does not wait:
// a lock held elsewhere is a HeldError.
func AcquireLock(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the lock: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	// Who may read a file may lock it, and keep every run away.
	if err := file.Chmod(0o600); err != nil {
		file.Close()
		return nil, fmt.Errorf("closing the lock to others: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(file, 4096))
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &HeldError{Path: path, Holder: strings.TrimSpace(string(holder))}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := file.Truncate(0); err != nil {
		file.Close()
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	if _, err := fmt.Fprintf(file, "PID %d (%s)\n", os.Getpid(), strings.Join(os.Args, " ")); err != nil {
		file.Close()
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	return &Lock{file}, nil
}

// Release lets the lock go. The file stays, so that two later runs cannot hold
// two different files of one name.
func (l *Lock) Release() error {
	if err := l.file.Truncate(0); err != nil {
		l.file.Close()
		return err
	}
	return l.file.Close()
}
