package host

import (
	"errors"
	"fmt"
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
