package nfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// NotMounted is a pool that is not there, or something else in its place. A
// directory made on the bare mount point would fill the system disk, and be
// hidden once the pool is mounted.
type NotMounted struct {
	Pool  Pool
	At    string // below the root in use now
	Found string
}

func (e *NotMounted) Error() string {
	return fmt.Sprintf("pool %s is not mounted at %s (%s); mount it and run again", e.Pool.Name, e.At, e.Found)
}

// mounted opens the pool's mount point, if it is the pool that is mounted there.
func (p Pool) mounted(root string) (fd int, err error) {
	at := filepath.Join(root, p.Mountpoint)
	mount, found, err := host.MountedAt(at)
	if err != nil {
		return -1, err
	}
	if !found {
		return -1, &NotMounted{p, at, "nothing is mounted there"}
	}
	if mount.FSType != "btrfs" {
		return -1, &NotMounted{p, at, "a " + mount.FSType + " is mounted there"}
	}
	fd, err = unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", at, err)
	}
	if p.UUID == "" {
		return fd, nil
	}
	have, err := btrfsUUID(at)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("reading which file system is at %s: %w", at, err)
	}
	if !strings.EqualFold(have, p.UUID) {
		unix.Close(fd)
		return -1, &NotMounted{p, at, "the btrfs " + have + " is mounted there"}
	}
	return fd, nil
}

// btrfsUUID asks the file system itself: struct btrfs_ioctl_fs_info_args of
// linux/btrfs.h has 16 bytes of fsid at 16.
func btrfsUUID(path string) (string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	const fsInfo = 0x8400941f // BTRFS_IOC_FS_INFO
	var args [1024]byte
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fsInfo, uintptr(unsafe.Pointer(&args[0]))); errno != 0 {
		return "", errno
	}
	id := args[16:32]
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]), nil
}

// Clients may write in exported directories, so that a path through one is not
// to be trusted: no symbolic link is followed, and nothing leaves the pool.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// open opens the exported directory below its pool, making what is missing of
// it when asked to. made is true when the directory itself was made.
func (e Export) open(root string, create bool, uid, gid int) (fd int, made bool, err error) {
	fd, err = e.Pool.mounted(root)
	if err != nil {
		return -1, false, err
	}
	rest := strings.Split(strings.TrimPrefix(e.Path, strings.TrimSuffix(e.Pool.Mountpoint, "/")+"/"), "/")
	for i, name := range rest {
		how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}
		next, err := unix.Openat2(fd, name, how)
		if errors.Is(err, unix.ENOENT) && create {
			last := i == len(rest)-1
			if last {
				next, err = e.makeLast(fd, name, uid, gid)
				made = true
			} else if err = unix.Mkdirat(fd, name, 0o755); err == nil {
				next, err = unix.Openat2(fd, name, how)
			}
		}
		unix.Close(fd)
		if err != nil {
			return -1, false, &os.PathError{Op: "opening", Path: filepath.Join(root, e.Pool.Mountpoint, filepath.Join(rest[:i+1]...)), Err: err}
		}
		fd = next
	}
	return fd, made, nil
}

// makeLast makes the exported directory under another name first, so that it
// appears with its owner and mode, or not at all.
func (e Export) makeLast(parent int, name string, uid, gid int) (int, error) {
	temporary := "." + name + ".hvinstall"
	if err := unix.Mkdirat(parent, temporary, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	fd, err := unix.Openat2(parent, temporary, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		return -1, err
	}
	if err := own(fd, uid, gid, uint32(e.Mode)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Renameat2(parent, temporary, parent, name, unix.RENAME_NOREPLACE); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// own sets the owner before the mode: chown clears setuid and setgid.
func own(fd, uid, gid int, mode uint32) error {
	if err := unix.Fchown(fd, uid, gid); err != nil {
		return err
	}
	return unix.Fchmod(fd, mode)
}

// differs says how the directory differs from the plan, or "".
func (e Export) differs(root string) (string, error) {
	fd, _, err := e.open(root, false, 0, 0)
	var missing *NotMounted
	if errors.As(err, &missing) {
		return missing.Error(), nil
	}
	if errors.Is(err, unix.ENOENT) {
		return "it is not there", nil
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if !e.Enforce {
		return "", nil
	}
	uid, gid, err := e.owner(root)
	if err != nil {
		return "", err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", err
	}
	if int(stat.Uid) != uid || int(stat.Gid) != gid {
		return fmt.Sprintf("it belongs to %d:%d", stat.Uid, stat.Gid), nil
	}
	if stat.Mode&0o7777 != uint32(e.Mode) {
		return fmt.Sprintf("its mode is %04o", stat.Mode&0o7777), nil
	}
	return "", nil
}

func (e Export) directoryStep(env Env, after []string) step.Step {
	return step.Step{
		ID:     "nfs/directory" + e.Path,
		Title:  "make " + e.Path,
		Detail: []string{fmt.Sprintf("on pool %s, %s:%s, mode %04o", e.Pool.Name, e.Owner, e.Group, uint32(e.Mode))},
		After:  after,
		Check: func(context.Context) (step.State, string, error) {
			why, err := e.differs(env.Root)
			if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
				return step.Foreign, e.Path + " is there and is no directory, or a link is on the way to it", nil
			}
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, e.Path + " is on its pool", nil
		},
		Do: func(context.Context, step.Reporter) error {
			uid, gid, err := e.owner(env.Root)
			if err != nil {
				return err
			}
			fd, made, err := e.open(env.Root, true, uid, gid)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if made || !e.Enforce {
				return nil
			}
			if err := own(fd, uid, gid, uint32(e.Mode)); err != nil {
				return fmt.Errorf("giving %s to %s:%s: %w", e.Path, e.Owner, e.Group, err)
			}
			return nil
		},
	}
}

// owner looks the names up in the target system, whose numbers count.
func (e Export) owner(root string) (uid, gid int, err error) {
	if uid, err = lookUp(filepath.Join(root, "etc/passwd"), "user", e.Owner); err != nil {
		return 0, 0, fmt.Errorf("owner of %s: %w", e.Path, err)
	}
	if gid, err = lookUp(filepath.Join(root, "etc/group"), "group", e.Group); err != nil {
		return 0, 0, fmt.Errorf("group of %s: %w", e.Path, err)
	}
	return uid, gid, nil
}

// lookUp reads a number from passwd(5) or group(5): name:password:number.
func lookUp(file, what, name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(n), nil
	}
	if name == "root" {
		return 0, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) > 2 && fields[0] == name {
			return strconv.Atoi(fields[2])
		}
	}
	return 0, fmt.Errorf("%s has no %s %q; add it to users, or write its number", file, what, name)
}
