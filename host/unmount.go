package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// UnmountOwn unmounts a mount of our own that nobody else knows of. It may be
// busy for a moment all the same: a program that is just being started holds a
// copy of every descriptor of ours between fork and exec. One that stays busy
// is taken out of the tree, and ends when its last user does.
func UnmountOwn(target string) error {
	for range 100 {
		err := Unmount(target)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}

// ending lets one of the steps that run side by side end what a killed process
// left; the others find nothing left.
var ending sync.Mutex

// OwnMountDir makes an empty folder for a private mount, and first ends the
// private mounts of this prefix that a killed process left. The caller holds
// the lock that keeps a second run away.
func OwnMountDir(prefix string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(prefix), 0o700); err != nil {
		return "", err
	}
	if err := endLeft(prefix); err != nil {
		return "", fmt.Errorf("ending what a killed run left: %w", err)
	}
	return os.MkdirTemp(filepath.Dir(prefix), fmt.Sprintf("%s%d-", filepath.Base(prefix), os.Getpid()))
}

func endLeft(prefix string) error {
	ending.Lock()
	defer ending.Unlock()
	mounts, err := Mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if isLeft(m.Target, prefix, os.Getpid()) {
			if err := errors.Join(UnmountOwn(m.Target), os.Remove(m.Target)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownMount is what OwnMountDir adds to a prefix: its process, and a number.
var ownMount = regexp.MustCompile(`^(\d+)-\d+$`)

// isLeft reports whether a folder is one that OwnMountDir made for this very
// prefix (one may begin with another) in another process.
func isLeft(folder, prefix string, pid int) bool {
	rest, found := strings.CutPrefix(folder, prefix)
	made := ownMount.FindStringSubmatch(rest)
	return found && made != nil && made[1] != strconv.Itoa(pid)
}
