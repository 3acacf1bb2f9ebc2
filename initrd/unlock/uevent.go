package unlock

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// uevent is what the kernel says of a device, see lib/kobject_uevent.c.
type uevent struct {
	action string            // add, remove, change, bind, …
	path   string            // below /sys
	vars   map[string]string // SUBSYSTEM, MODALIAS, DEVNAME, DEVTYPE, …
}

// parseUevent reads "add@/devices/…\0KEY=value\0…". Messages of udevd, which
// begin otherwise, are no uevents.
func parseUevent(message []byte) (uevent, bool) {
	head, rest, found := bytes.Cut(message, []byte{0})
	if !found {
		return uevent{}, false
	}
	action, path, found := strings.Cut(string(head), "@")
	if !found || action == "" || !strings.HasPrefix(path, "/") {
		return uevent{}, false
	}
	e := uevent{action: action, path: path, vars: map[string]string{}}
	for pair := range bytes.SplitSeq(rest, []byte{0}) {
		if key, value, found := strings.Cut(string(pair), "="); found {
			e.vars[key] = value
		}
	}
	return e, true
}

// kernelEvents is a socket on which the kernel multicasts uevents.
type kernelEvents struct{ fd int }

// errMissed says that the kernel had more to say than the socket could hold:
// what is there must be looked at anew.
var errMissed = errors.New("events were missed")

func listenKernel() (*kernelEvents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listening to the kernel: %w", err)
	}
	// The default of 200 KB is a few hundred events; a boot can have more.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listening to the kernel: %w", err)
	}
	return &kernelEvents{fd}, nil
}

// next waits for the next event.
func (k *kernelEvents) next() (uevent, error) {
	buf := make([]byte, 16<<10)
	for {
		n, from, err := unix.Recvfrom(k.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return uevent{}, errMissed
		case err != nil:
			return uevent{}, fmt.Errorf("listening to the kernel: %w", err)
		}
		// Only the kernel's port is 0; anybody may send to the group.
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue
		}
		if e, ok := parseUevent(buf[:n]); ok {
			return e, nil
		}
	}
}
