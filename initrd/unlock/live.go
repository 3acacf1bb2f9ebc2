package unlock

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// Where the live system finds what it was booted from.
const (
	liveMedium   = "/run/hvinstall/live"
	liveImage    = "/run/hvinstall/image"
	liveWritable = "/run/hvinstall/overlay"

	defaultImage = "/hvinstall/root.squashfs"
)

// liveSlow is when a medium that has not come is asked for, in seconds.
const liveSlow = 10

// bootLive mounts the live medium's image, with a tmpfs over it.
func bootLive(con *consoles, hw *hardware, a arguments, report *boot.Report) error {
	wanted, image := a.get("hvinstall.live"), imagePath(a)
	if wanted == "" {
		return errors.New("this initramfs has no boot.json, so it is a live medium's, and hvinstall.live= is not on the kernel command line; it names the medium by its VFAT serial, or says ram")
	}
	for _, dir := range []string{liveMedium, liveImage, liveWritable} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	file := liveMedium + image
	if wanted == "ram" {
		if _, err := os.Stat(image); err != nil {
			return fmt.Errorf("hvinstall.live=ram: %w; the image must come as a second initramfs (iPXE: initrd http://…/root.squashfs %s)", err, image)
		}
		// The initramfs' own folder is bound, not copied: the image is as large
		// as what is left of a small machine's memory. It is where a stick has it.
		folder := path.Dir(image)
		if err := os.MkdirAll(liveMedium+folder, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(folder, liveMedium+folder, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", folder, err)
		}
		hw.loader.loadAlways()
	} else if err := findMedium(con, hw, wanted, image); err != nil {
		return err
	}
	if want := a.get("hvinstall.sha256"); want != "" {
		con.important("verifying %s", image)
		if err := verify(file, want); err != nil {
			return err
		}
	}
	if err := mountImage(file); err != nil {
		return err
	}
	if err := putSelf(); err != nil {
		return err
	}
	report.Mounted = uptime()
	con.say("%s is mounted", image)
	return nil
}

// verify compares an image with the sum that the command line names.
func verify(file, want string) error {
	image, err := os.Open(file)
	if err != nil {
		return err
	}
	defer image.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, image); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(have, want) {
		return fmt.Errorf("%s has sha256 %s, and hvinstall.sha256= says %s; serve the image anew", file, have, want)
	}
	return nil
}

// imagePath is the image's path on the medium.
func imagePath(a arguments) string {
	if image := a.get("hvinstall.image"); image != "" {
		return path.Clean("/" + image)
	}
	return defaultImage
}

// ramImageFolder is the folder of the initramfs that has the image in it.
func ramImageFolder(a arguments) string {
	first, _, _ := strings.Cut(imagePath(a)[1:], "/")
	return first
}

// findMedium waits for the medium and mounts it.
func findMedium(con *consoles, hw *hardware, serial, image string) error {
	slow := time.After(liveSlow * time.Second)
	for {
		select {
		case <-slow:
			con.important("the live medium is not there yet: waiting for VFAT %s with %s", serial, image)
		case e := <-hw.devices:
			if e.gone || e.device.kind != vfat || !strings.EqualFold(e.device.uuid, serial) {
				continue
			}
			hw.loader.loadAlways()
			if err := mountMedium(e.device, image); err != nil {
				con.warn("%v", err)
				continue
			}
			con.say("live medium %s (%s)", serial, e.device.name)
			return nil
		}
	}
}

// mountMedium mounts the partition if the image is on it: another stick may
// have the same serial.
func mountMedium(d device, image string) error {
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME)
	if err := unix.Mount(d.path(), liveMedium, "vfat", flags, "utf8,umask=0022"); err != nil {
		return fmt.Errorf("mounting the live medium %s: %w", d.path(), err)
	}
	if _, err := os.Stat(liveMedium + image); err != nil {
		_ = unix.Unmount(liveMedium, 0)
		return fmt.Errorf("%s has the live medium's serial, but no %s", d.path(), image)
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
