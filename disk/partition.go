package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hvinstall/host"

	"golang.org/x/sys/unix"
)

// linkTimeout is how long udev gets to name a partition that the kernel knows.
const linkTimeout = 60 * time.Second

// kernelPartition is the kernel's name of a partition of the disk, or "" where
// the kernel does not know it as the plan has it.
func kernelPartition(disk string, p PartitionPlan) string {
	numbers, err := filepath.Glob("/sys/block/" + disk + "/" + disk + "*/partition")
	if err != nil {
		return ""
	}
	for _, file := range numbers {
		dir := filepath.Dir(file)
		if sysNumber(file) == uint64(p.Number) && sysNumber(dir+"/start")*512 == p.Start && sysNumber(dir+"/size")*512 == p.Size {
			return filepath.Base(dir)
		}
	}
	return ""
}

func sysNumber(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// unknown names a partition of the table that the kernel does not know or that
// udev has not named, or "".
func (dp DiskPlan) unknown() (string, error) {
	disk, err := kernelName(dp.ID)
	if err != nil {
		return "", err
	}
	for _, p := range dp.Table.Partitions {
		name := kernelPartition(disk, p)
		if name == "" {
			return fmt.Sprintf("the kernel has not read partition %d", p.Number), nil
		}
		linked, err := kernelName(p.Device())
		if errors.Is(err, os.ErrNotExist) || err == nil && linked != name {
			return fmt.Sprintf("udev has not named partition %d", p.Number), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// reread makes the kernel read the table of an exclusively opened disk, and
// returns one of its partitions, open for reading.
//
// The partition stays open for a reason: udev reads the table again when it
// sees the disk closed by a writer, and the kernel then takes every partition
// away and brings it back, under the feet of whoever is about to open one. A
// partition that is open makes that second reading fail, harmlessly.
func (dp DiskPlan) reread(ctx context.Context, file *os.File) (*os.File, error) {
	disk, err := kernelName(dp.ID)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		err := unix.IoctlSetInt(int(file.Fd()), unix.BLKRRPART, 0)
		if err == nil {
			break
		}
		// A program that reads an old partition, as blkid does, is in the way
		// for a moment.
		if !errors.Is(err, unix.EBUSY) || tries == 50 {
			return nil, fmt.Errorf("making the kernel read the new table: %w; a partition of the disk is in use (lsof %s*)", err, dp.ID)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, p := range dp.Table.Partitions {
		name := kernelPartition(disk, p)
		if name == "" {
			return nil, fmt.Errorf("the kernel did not take partition %d of the new table", p.Number)
		}
		if held, err := os.Open("/dev/" + name); err == nil {
			return held, nil
		}
	}
	return nil, errors.New("the kernel read the new table, and no partition of it can be opened")
}

// waitForLinks returns once udev has named every partition of the table. It
// waits for the names themselves: "udevadm settle" returns early when the
// kernel's event has not reached udev yet.
func (dp DiskPlan) waitForLinks(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, linkTimeout, fmt.Errorf(
		"udev did not name the partitions of %s within %v; see whether systemd-udevd runs", dp.ID, linkTimeout))
	defer cancel()
	return host.WaitInFolder(ctx, "/dev/disk/by-partuuid", func() bool {
		missing, err := dp.unknown()
		return err == nil && missing == ""
	})
}
