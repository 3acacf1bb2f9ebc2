package unlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// member is an open volume with a btrfs on it.
type member struct {
	volume *volume
	path   string
	btrfs  superblock
}

// mountHostRoot mounts the root.
func mountHostRoot(con *consoles, s *session, a arguments) error {
	return mountRoot(con, s.config.Root, scanMembers(con, s, func(v *volume) bool { return v.Pool == "" }), a)
}

// mountPools mounts the pools side by side.
func mountPools(con *consoles, s *session, report *boot.Report) {
	members := scanMembers(con, s, func(v *volume) bool { return v.Pool != "" })
	report.Pools = make([]boot.PoolReport, len(s.config.Pools))
	var wait sync.WaitGroup
	for i, p := range s.config.Pools {
		report.Pools[i] = boot.PoolReport{Name: p.Name, Mountpoint: p.Mountpoint, State: boot.PoolSkipped, Problem: "the init met a bug of its own"}
		wait.Go(guarded(con, func() { report.Pools[i] = mountPool(con, p, s, members) }))
	}
	wait.Wait()
}

// scanMembers tells the kernel of every member before anything of them is
// mounted: a btrfs mounted while it knows a part of them fails, or comes up
// degraded.
func scanMembers(con *consoles, s *session, wanted func(*volume) bool) []member {
	var members []member
	for _, v := range s.volumes {
		if !v.open || !wanted(v) {
			continue
		}
		m := member{volume: v, path: "/dev/mapper/" + v.Mapping}
		var err error
		if m.btrfs, err = readSuperblock(m.path); err == nil {
			err = btrfsScan(m.path)
		}
		if err != nil {
			v.problem = err.Error()
			con.warn("%v", err)
			continue
		}
		members = append(members, m)
	}
	return members
}

// notStarted is what is said of a root that is not the host's own. A run that
// writes would make it the host's: that is for who knows why it is another.
const notStarted = "it is not started; if you did not exchange or restore the system yourself, somebody else may have: take the key stick out; " +
	"the live stick's 'hvinstall --plan LAYOUT --dry-run' looks at it and writes nothing"

func mountRoot(con *consoles, root boot.Root, members []member, a arguments) error {
	how := "ro"
	if a.writableRoot() {
		how = "rw"
	}
	for _, m := range members {
		if m.volume.Pool != "" {
			continue
		}
		if !strings.EqualFold(m.btrfs.fsid, root.FSUUID) {
			return fmt.Errorf("%s holds btrfs %s, and this host's root is %s: %s", m.volume.Mapping, m.btrfs.fsid, root.FSUUID, notStarted)
		}
		if err := mountBtrfs(m.path, newRoot, root.Subvolume, root.Options, how); err != nil {
			return fmt.Errorf("%w; boot the live stick and look at it with 'btrfs check --readonly %s'", err, m.path)
		}
		if err := provesItself(root, newRoot); err != nil {
			_ = unix.Unmount(newRoot, unix.MNT_DETACH)
			return fmt.Errorf("%s: %w: %s", m.volume.Mapping, err, notStarted)
		}
		con.say("root is mounted")
		for _, e := range root.Early {
			target, err := below(newRoot, e.Mountpoint)
			if err == nil {
				err = mountBtrfs(m.path, target, e.Subvolume, e.Options)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("the OS volume holds no btrfs; boot the live stick and run 'hvinstall --plan' to mend it")
}

// provesItself holds the root that is mounted against what the initramfs
// remembers of it, before anything of it runs and before any pool is opened for it.
func provesItself(root boot.Root, mounted string) error {
	if root.Proof == "" {
		return nil
	}
	data, err := readBelow(mounted, boot.RootSecretPath, boot.MaxRootSecret)
	if err != nil {
		return fmt.Errorf("its root does not prove that it is this host's (%w)", err)
	}
	if !root.Proves(data) {
		return fmt.Errorf("its root is not this host's own: %s is another's", boot.RootSecretPath)
	}
	return nil
}

// readBelow reads a small regular file of a file system that nobody vouches for.
func readBelow(root, path string, limit int64) ([]byte, error) {
	found, err := openBelow(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	file := os.NewFile(uintptr(found), path)
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no small regular file", path)
	}
	return io.ReadAll(io.LimitReader(file, limit))
}

// mountPool mounts a pool, or says loudly why not.
func mountPool(con *consoles, p boot.Pool, s *session, members []member) boot.PoolReport {
	r := boot.PoolReport{Name: p.Name, Mountpoint: p.Mountpoint, State: boot.PoolMounted}
	source := ""
	for _, v := range s.volumes {
		if v.Pool != p.Name {
			continue
		}
		found := ""
		for _, m := range members {
			switch {
			case m.volume != v:
			case strings.EqualFold(m.btrfs.fsid, p.FSUUID):
				found = m.path
			default:
				con.warn("%s holds btrfs %s, which is not pool %s", v.Mapping, m.btrfs.fsid, p.Name)
			}
		}
		if found == "" {
			r.Missing = append(r.Missing, diskName(v.DiskID))
			continue
		}
		source = found
	}
	missing := strings.Join(r.Missing, ", ")
	var extra []string
	switch {
	case len(r.Missing) == 0:
	case p.Degraded == boot.DegradedMount && source != "":
		r.State, extra = boot.PoolDegraded, []string{"degraded"}
	default:
		r.State, r.Problem = boot.PoolSkipped, "missing: "+missing
		con.warn("pool %s is NOT mounted at %s; missing: %s", p.Name, p.Mountpoint, missing)
		return r
	}
	target, err := below(newRoot, p.Mountpoint)
	if err == nil {
		err = mountBtrfs(source, target, p.Subvolume, p.Options, extra...)
	}
	switch {
	case err != nil:
		r.State, r.Problem = boot.PoolSkipped, err.Error()
		con.warn("pool %s is NOT mounted at %s: %v", p.Name, p.Mountpoint, err)
	case r.State == boot.PoolDegraded:
		r.Problem = "missing: " + missing
		con.warn("pool %s is mounted DEGRADED at %s; missing: %s; what is written now has no second copy", p.Name, p.Mountpoint, missing)
	default:
		con.say("%s is mounted", p.Mountpoint)
	}
	return r
}

// openBelow opens a path of the file system at root. Links lead nowhere else: an
// absolute one is followed inside it.
func openBelow(root, path string, flags, resolve uint64) (int, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("entering the root file system: %w", err)
	}
	defer unix.Close(fd)
	return unix.Openat2(fd, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | resolve})
}

// below is a path by which the kernel finds a mount point of the new root. A
// link on the way is followed inside the new root.
func below(root, mountpoint string) (string, error) {
	target, err := openBelow(root, mountpoint, unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the root file system has no folder %s", mountpoint)
	}
	if err != nil {
		return "", fmt.Errorf("mount point %s: %w", mountpoint, err)
	}
	// Left open: the path means this folder for as long as the descriptor lives,
	// and exec closes it.
	return fmt.Sprintf("/proc/self/fd/%d", target), nil
}
