package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// OwnMountDir makes an empty folder for a private mount, and first ends the
// private mounts of this prefix that a killed process left. The caller holds
// the lock that keeps a second run away.
func OwnMountDir(prefix string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(prefix), 0o700); err != nil {
		return "", err
	}
	mounts, err := Mounts()
	if err != nil {
		return "", err
	}
	own := fmt.Sprintf("%s%d-", prefix, os.Getpid())
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, prefix) && !strings.HasPrefix(m.Target, own) {
			if err := errors.Join(UnmountOwn(m.Target), os.Remove(m.Target)); err != nil {
				return "", fmt.Errorf("ending what a killed run left: %w", err)
			}
		}
	}
	return os.MkdirTemp(filepath.Dir(prefix), filepath.Base(own))
}
