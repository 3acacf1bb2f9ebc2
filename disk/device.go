package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockTimeout is how long another program may keep its lock on a disk before
// a write. udev holds one for the milliseconds that it looks at the disk.
const lockTimeout = 30 * time.Second

// BusyError is a disk that another process holds.
type BusyError struct{ ID string }

func (e *BusyError) Error() string {
	return e.ID + ": the disk is in use by another program; end it (lsof, lsblk and dmsetup show what it is), and run again"
}

// ChangedError is a disk that is not what was shown when the plan was made.
type ChangedError struct{ ID, What string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s: %s since the plan was made; nothing was written to it, run again to see what there is now", e.ID, e.What)
}

// openExclusive opens a whole disk for writing. O_EXCL makes the kernel refuse
// while it, or a partition of it, is mounted, mapped, or opened by another
// writer of care; the flock keeps udev from reading a half-written table, see
// systemd's "Locking Block Device Access".
func openExclusive(ctx context.Context, id string) (*os.File, error) {
	file, err := os.OpenFile(id, os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, &BusyError{id}
	}
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(file.Fd()), unix.LOCK_EX) }()
	timer := time.NewTimer(lockTimeout)
	defer timer.Stop()
	select {
	case err = <-locked:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &BusyError{id}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// kernelName is the kernel's name of the disk or partition that a path leads
// to. It is good until the next event.
func kernelName(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Base(real), nil
}

// deviceSize is the size of a block device in bytes; of a file, its length.
func deviceSize(file *os.File) (uint64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Mode().IsRegular() {
		return uint64(info.Size()), nil
	}
	size, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKGETSIZE64)
	if err != nil {
		return 0, fmt.Errorf("asking for the size of %s: %w", file.Name(), err)
	}
	return uint64(size), nil
}

// recheck looks at the disk once more before the first write to it, and
// refuses when it is not the disk that the plan saw, or does not hold what the
// plan saw.
func (dp DiskPlan) recheck(ctx context.Context) error {
	have, found, err := probeOne(ctx, dp.ID)
	if err != nil {
		return err
	}
	if !found {
		return &ChangedError{dp.ID, "the disk has gone"}
	}
	saw := dp.Disk
	switch {
	case have.Identity() != saw.Identity() || have.WWN != saw.WWN:
		return &ChangedError{dp.ID, fmt.Sprintf("another disk has taken this place (%s, it was %s)", have.Identity(), saw.Identity())}
	case have.Size != saw.Size:
		return &ChangedError{dp.ID, fmt.Sprintf("the disk's size has changed from %d to %d bytes", saw.Size, have.Size)}
	case have.ReadOnly:
		return &ChangedError{dp.ID, "the disk has become read-only"}
	case len(have.AllHolders()) > 0:
		return &ChangedError{dp.ID, "somebody has begun to use the disk: " + have.AllHolders()[0].String()}
	case have.Content() != saw.Content():
		return &ChangedError{dp.ID, fmt.Sprintf("what is on the disk has changed from %s to %s", saw.Content(), have.Content())}
	}
	return nil
}

// probeOne is Probe for a single disk, by one of its by-id names.
func probeOne(ctx context.Context, id string) (Disk, bool, error) {
	m := &machine{root: "/", unseen: map[string]bool{}}
	names, err := m.list("/sys/block")
	if err != nil {
		return Disk{}, false, fmt.Errorf("listing the disks: %w; mount sysfs at /sys", err)
	}
	m.readBlocks(names)
	m.readAliases()
	name, err := kernelName(id)
	if errors.Is(err, os.ErrNotExist) || err == nil && m.blocks[name] == nil {
		return Disk{}, false, nil
	}
	if err != nil {
		return Disk{}, false, err
	}
	disks := []Disk{m.sysfsDisk(name)}
	m.readHolders()
	m.readContents(ctx, time.Minute, disks)
	m.addHolders(&disks[0])
	return disks[0], true, ctx.Err()
}
