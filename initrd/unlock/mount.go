package unlock

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// newRoot is where the system's root is mounted before switch_root.
const newRoot = "/sysroot"

// mountEarly mounts what the kernel shows of itself.
func mountEarly() error {
	var errs []error
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=20%"},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			errs = append(errs, fmt.Errorf("mounting %s: %w", m.target, err))
		}
	}
	return errors.Join(errs...)
}

var optionFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME,
	"relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME, "lazytime": unix.MS_LAZYTIME,
	"nodev": unix.MS_NODEV, "nosuid": unix.MS_NOSUID, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC,
}

// parseOptions sorts options of fstab(5) into those of mount(2), its data, and
// those that mean something to mount(8) or systemd alone.
func parseOptions(options boot.Options) (flags uintptr, data string) {
	var rest []string
	for _, o := range options {
		for o := range strings.SplitSeq(o, ",") {
			switch {
			case optionFlags[o] != 0:
				flags |= optionFlags[o]
			case o == "rw":
				flags &^= unix.MS_RDONLY
			case o == "", o == "defaults", o == "auto", o == "noauto", o == "nofail", o == "_netdev",
				o == "dev", o == "suid", o == "exec", o == "async", o == "user", o == "nouser",
				strings.HasPrefix(o, "x-"), strings.HasPrefix(o, "comment="):
			default:
				rest = append(rest, o)
			}
		}
	}
	return flags, strings.Join(rest, ",")
}

func mountBtrfs(source, target, subvolume string, options boot.Options, extra ...string) error {
	all := append(boot.Options{}, options...)
	all = append(all, extra...)
	if subvolume != "" {
		all = append(all, "subvol="+subvolume)
	}
	flags, data := parseOptions(all)
	if err := unix.Mount(source, target, "btrfs", flags, data); err != nil {
		return fmt.Errorf("mounting %s (%s) at %s: %w", source, data, target, err)
	}
	return nil
}

// mountStick mounts a VFAT so that nothing on it can be changed or run.
func mountStick(d device, target string) error {
	if err := os.MkdirAll(target, 0o700); err != nil {
		return fmt.Errorf("mounting %s: %w", d.path(), err)
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME)
	if err := unix.Mount(d.path(), target, "vfat", flags, "utf8,umask=0077"); err != nil {
		return fmt.Errorf("mounting %s: %w", d.path(), err)
	}
	return nil
}
