package disk

import (
	"slices"
	"strings"
)

// liveMounts are where live systems keep their medium or what they run from:
// our own, Debian's, Fedora's and dracut's, NixOS's, Ubuntu's, Arch's.
var liveMounts = []string{
	"/", "/usr", "/nix/store",
	"/run/hvinstall/live", "/run/live", "/lib/live/mount", "/run/initramfs/live",
	"/iso", "/nix/.ro-store", "/cdrom", "/rofs", "/run/archiso/bootmnt",
}

// diskless are file systems of memory; overlay and the images are followed to
// what they stand on.
var diskless = []string{"tmpfs", "ramfs", "rootfs", "devtmpfs", "proc", "sysfs"}

// liveDisks names the disks that the running system's root comes from: below
// its file system, through overlays, images behind loop devices, device mapper
// and md.
func (m *machine) liveDisks() map[string]bool {
	w := liveWalk{machine: m, disks: map[string]bool{}, seen: map[string]bool{}}
	for _, one := range m.mounts {
		if !one.own {
			continue
		}
		for _, place := range liveMounts {
			if one.Target == place || place != "/" && strings.HasPrefix(one.Target, place+"/") && strings.Contains(place, "live") {
				w.mount(one)
			}
		}
	}
	if len(w.disks) == 0 {
		// An overlay made in an initramfs names paths that are gone. What is
		// read through an image is then taken for the system's.
		for _, one := range m.mounts {
			if slices.Contains([]string{"squashfs", "erofs", "iso9660"}, one.FSType) {
				w.mount(one)
			}
		}
		for name, b := range m.blocks {
			if m.text(b.folder+"/loop/backing_file") != "" {
				w.device(name)
			}
		}
	}
	if root, found := m.covering("/"); found && len(w.disks) == 0 && !m.fromMemory() && (root.FSType == "overlay" || slices.Contains(diskless, root.FSType)) {
		m.cannotSee("which disk the running system was started from: its root is %s, and nothing mounted leads to a disk", root.FSType)
	}
	return w.disks
}

// fromMemory reports whether our own live system came by the network: what it
// has for a medium is a folder of its initramfs.
func (m *machine) fromMemory() bool {
	return slices.ContainsFunc(m.mounts, func(one mount) bool {
		return one.own && strings.HasPrefix(one.Target, "/run/hvinstall/live/") && slices.Contains(diskless, one.FSType)
	})
}

type liveWalk struct {
	*machine
	disks map[string]bool
	seen  map[string]bool
}

func (w *liveWalk) mount(one mount) {
	key := "mount " + one.Target + " " + one.Source + " " + one.Options
	if w.seen[key] || slices.Contains(diskless, one.FSType) {
		return
	}
	w.seen[key] = true
	for _, device := range one.devices {
		w.device(device)
	}
	if one.FSType != "overlay" {
		return
	}
	for option := range strings.SplitSeq(one.Options, ",") {
		key, value, _ := strings.Cut(option, "=")
		if strings.HasPrefix(key, "lowerdir") || key == "upperdir" {
			for dir := range strings.SplitSeq(value, ":") {
				w.path(dir)
			}
		}
	}
}

// path follows a folder or file to what is mounted there.
func (w *liveWalk) path(p string) {
	if one, found := w.covering(p); found {
		w.mount(one)
	}
}

func (w *liveWalk) device(name string) {
	b := w.blocks[name]
	if b == nil || w.seen["device "+name] {
		return
	}
	w.seen["device "+name] = true
	if file := w.text(b.folder + "/loop/backing_file"); file != "" {
		if device := w.deviceOf(file); device != "" {
			w.device(device)
		} else {
			w.path(file)
		}
		return
	}
	if len(b.slaves) > 0 {
		for _, below := range b.slaves {
			w.device(below)
		}
		return
	}
	w.disks[b.disk] = true
}
