package unlock

import (
	"context"
	"fmt"
	"os"
	"strings"

	"hvinstall/host"

	"golang.org/x/sys/unix"
)

// verify compares an image with the sum that the command line names.
func verify(file, want string) error {
	have, err := host.SHA256(context.Background(), file)
	if err != nil {
		return err
	}
	if !strings.EqualFold(have, want) {
		return fmt.Errorf("%s has sha256 %s, and hvinstall.sha256= says %s; serve the image anew", file, have, want)
	}
	return nil
}

// mountImage makes newRoot of a squashfs and a tmpfs.
func mountImage(file string) error {
	loop, err := attachLoop(file)
	if err != nil {
		return err
	}
	if err := unix.Mount(loop, liveImage, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mounting %s: %w; write the stick anew", file, err)
	}
	if err := unix.Mount("tmpfs", liveWritable, "tmpfs", 0, "mode=0755,size=50%"); err != nil {
		return fmt.Errorf("mounting the live system's memory: %w", err)
	}
	upper, work := liveWritable+"/upper", liveWritable+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", liveImage, upper, work)
	if err := unix.Mount("overlay", newRoot, "overlay", 0, data); err != nil {
		return fmt.Errorf("mounting the live system: %w", err)
	}
	return nil
}

// attachLoop makes a read-only block device of a file, see loop(4).
func attachLoop(file string) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("looping %s: %w", file, err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("looping %s: %w", file, err)
	}
	backing, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("looping: %w", err)
	}
	defer backing.Close()
	device := fmt.Sprintf("/dev/loop%d", n)
	loop, err := os.Open(device)
	if err != nil {
		return "", fmt.Errorf("looping %s: %w", file, err)
	}
	defer loop.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY}}
	copy(config.Info.File_name[:], file)
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		return "", fmt.Errorf("looping %s: %w", file, err)
	}
	return device, nil
}

// keepMounted tells systemd that the live system runs from a mount: it would
// try in vain to unmount it at the end, and say so in red.
func keepMounted(mountpoint string) error {
	unit := strings.ReplaceAll(strings.Trim(mountpoint, "/"), "/", "-") + ".mount"
	folder := "/run/systemd/system/" + unit + ".d"
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(folder+"/hvinstall.conf", []byte("[Unit]\nDefaultDependencies=no\n"), 0o644)
}
