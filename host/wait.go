package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WaitInFolder returns once there is true. It asks again whenever something
// changes in the folder, which is made when it is not there: udev does not
// mind finding one of its own.
func WaitInFolder(ctx context.Context, folder string, there func() bool) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	defer unix.Close(fd)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB|unix.IN_DELETE|unix.IN_DELETE_SELF); err != nil {
		return fmt.Errorf("watching %s: %w", folder, err)
	}
	buf := make([]byte, 4096)
	for !there() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The second bounds how soon the end of ctx is seen, and what a folder
		// costs that was removed and made again.
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for %s: %w", folder, err)
		}
		for {
			if n, err := unix.Read(fd, buf); n <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}
