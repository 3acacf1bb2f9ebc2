package crypt

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// waitInFolder returns once there is true. It asks again whenever something
// changes in the folder, and never by the clock.
func waitInFolder(ctx context.Context, folder string, there func() bool) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB|unix.IN_DELETE); err != nil {
		return fmt.Errorf("watching %s: %w", folder, err)
	}
	buf := make([]byte, 4096)
	for !there() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		// A second bounds only how soon the end of ctx is seen.
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Second/time.Millisecond))
		if err != nil && err != unix.EINTR {
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
