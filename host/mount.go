package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo, see proc_pid_mountinfo(5).
type Mount struct {
	Device  string // major:minor of st_dev; btrfs gives an anonymous one
	Root    string // the mounted part of the file system, a subvolume's path on btrfs
	Target  string
	FSType  string
	Source  string
	Options string // per mount and per super block, joined by a comma
}

// Mounts reads what this process sees mounted.
func Mounts() ([]Mount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading mounts: %w", err)
	}
	defer file.Close()
	return ParseMountinfo(file)
}

// ParseMountinfo parses the text of a mountinfo file.
func ParseMountinfo(r io.Reader) ([]Mount, error) {
	var mounts []Mount
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 6 || len(right) < 2 {
			return nil, fmt.Errorf("mountinfo line %q is not of the known form", lines.Text())
		}
		m := Mount{
			Device: left[2], Root: unescape(left[3]), Target: unescape(left[4]),
			FSType: right[0], Source: unescape(right[1]), Options: left[5],
		}
		if len(right) > 2 {
			m.Options += "," + right[2]
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}

// MountedAt returns the mount that covers target exactly, the topmost one.
func MountedAt(target string) (Mount, bool, error) {
	mounts, err := Mounts()
	if err != nil {
		return Mount{}, false, err
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if mounts[i].Target == target {
			return mounts[i], true, nil
		}
	}
	return Mount{}, false, nil
}

// unescape undoes mountinfo's octal escapes: \040 is a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "noatime": unix.MS_NOATIME, "relatime": unix.MS_RELATIME,
	"nodev": unix.MS_NODEV, "nosuid": unix.MS_NOSUID, "noexec": unix.MS_NOEXEC,
	"bind": unix.MS_BIND, "sync": unix.MS_SYNCHRONOUS, "rw": 0, "defaults": 0,
}

// mountArguments are mount(2)'s flags and data for options as in fstab(5).
func mountArguments(options []string) (flags uintptr, data string) {
	var others []string
	for _, o := range options {
		if flag, known := mountFlags[o]; known {
			flags |= flag
		} else {
			others = append(others, o)
		}
	}
	return flags, strings.Join(others, ",")
}

// MountFS mounts source at target, which is made when it is not there.
// Options are as in fstab(5).
func MountFS(source, target, fstype string, options ...string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("making the mount point: %w", err)
	}
	flags, data := mountArguments(options)
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mounting %s (%s) at %s: %w", source, fstype, target, err)
	}
	return nil
}

// RemountFS gives a mount other options. What is not named stays as it is; what
// was mounted read-only is not made writable.
func RemountFS(target string, options ...string) error {
	m, mounted, err := MountedAt(target)
	if err != nil || !mounted {
		return errors.Join(err, fmt.Errorf("%s is not mounted", target))
	}
	flags := uintptr(unix.MS_REMOUNT)
	for _, o := range strings.Split(m.Options, ",") {
		if flag := mountFlags[o]; flag&(unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC) != 0 {
			flags |= flag
		}
	}
	more, data := mountArguments(options)
	if err := unix.Mount("", target, "", flags|more, data); err != nil {
		return fmt.Errorf("mounting %s anew with other options: %w", target, err)
	}
	return nil
}

// Unmount unmounts target; a target that is not mounted is no error.
func Unmount(target string) error {
	err := unix.Unmount(target, 0)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("unmounting %s: %w", target, err)
}
