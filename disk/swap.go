package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

const fsNoCOW = 0x00800000 // FS_NOCOW_FL of include/uapi/linux/fs.h

// SwapStep makes the swapfile. The kernel takes one on btrfs only when it is
// not copied on write, not compressed and without holes, see btrfs(5).
func (fs FilesystemPlan) SwapStep(root string, after ...string) step.Step {
	swap := *fs.Swap
	path := below(root, swap.Path)
	return step.Step{
		ID: fs.SwapStepID(), Title: fmt.Sprintf("make the swapfile (%s)", BinarySize(swap.Size)), After: after,
		Check: func(context.Context) (step.State, string, error) {
			info, err := os.Stat(path)
			if errors.Is(err, os.ErrNotExist) {
				return step.Absent, "not there", nil
			}
			if err != nil {
				return 0, "", err
			}
			if !isSwap(path) {
				return step.Foreign, path + " is not a swapfile", nil
			}
			if uint64(info.Size()) != swap.Size {
				return step.Absent, fmt.Sprintf("it has %s, and the layout says %s", BinarySize(uint64(info.Size())), BinarySize(swap.Size)), nil
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			return resizeSwap(ctx, path, swap.Size, report.Log)
		},
	}
}

// resizeSwap makes the swapfile, or makes it anew with another size: what is
// swapped out comes back into memory first, and is swapped out again when it
// has to be.
func resizeSwap(ctx context.Context, path string, size uint64, log func(string, ...any)) error {
	used, err := isUsedAsSwap(path)
	if err != nil {
		return err
	}
	if used {
		if err := (host.Cmd{Argv: []string{"swapoff", path}, Log: log}).Run(ctx); err != nil {
			return fmt.Errorf("%w; memory is too full to do without swap: stop a VM and run again", err)
		}
	}
	if err := makeSwap(ctx, path, size, log); err != nil || !used {
		return err
	}
	return host.Cmd{Argv: []string{"swapon", path}, Log: log}.Run(ctx)
}

// isUsedAsSwap reports whether the kernel swaps to the file now.
func isUsedAsSwap(path string) (bool, error) {
	text, err := os.ReadFile("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // a kernel without swap
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == path {
			return true, nil
		}
	}
	return false, nil
}

// isSwap reports whether the file has a swap header of 4 KiB pages.
func isSwap(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	magic := make([]byte, 10)
	_, err = file.ReadAt(magic, int64(os.Getpagesize())-10)
	return err == nil && string(magic) == "SWAPSPACE2"
}

// makeSwap makes the file under another name first, so that a swapfile of the
// final name is always whole.
func makeSwap(ctx context.Context, path string, size uint64, log func(string, ...any)) error {
	temporary := path + ".part"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = allocate(file, size)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := (host.Cmd{Argv: []string{"mkswap", "--quiet", temporary}, Log: log}).Run(ctx); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func allocate(file *os.File, size uint64) error {
	flags, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("asking for the swapfile's flags: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, flags|fsNoCOW); err != nil {
		return fmt.Errorf("switching off copy-on-write for the swapfile: %w", err)
	}
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(size)); err != nil {
		return fmt.Errorf("allocating the swapfile: %w", err)
	}
	return file.Sync()
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
