package unlock

import (
	"errors"
	"fmt"
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
	if strings.Contains(a.get("hvinstall.image"), "://") {
		return errors.New("hvinstall.image= is a path on the medium, and not a URL: this initramfs has no network; from a server, iPXE fetches the image, and hvinstall.live=ram finds it")
	}
	for _, dir := range []string{liveMedium, liveImage, liveWritable} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	file, mounted := liveMedium+image, liveMedium
	if wanted == "ram" {
		if _, err := os.Stat(image); err != nil {
			return fmt.Errorf("hvinstall.live=ram: %w; the image must come as a second initramfs (iPXE: initrd http://…/root.squashfs %s)", err, image)
		}
		// The initramfs' own folder is bound, not copied: the image is as large
		// as what is left of a small machine's memory. It is where a stick has it.
		folder := path.Dir(image)
		mounted = path.Join(liveMedium, folder)
		if err := os.MkdirAll(mounted, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(folder, mounted, "", unix.MS_BIND, ""); err != nil {
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
	setClock(con, file, liveMedium)
	if err := mountImage(file); err != nil {
		return err
	}
	if err := keepMounted(mounted); err != nil {
		return err
	}
	if err := putSelf(); err != nil {
		return err
	}
	report.Mounted = uptime()
	con.say("%s is mounted", image)
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
