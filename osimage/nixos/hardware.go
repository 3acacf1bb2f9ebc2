package nixos

import (
	"fmt"
	"slices"
	"strings"
)

// hardwareNix is what nixos-generate-config would write: drivers, microcode,
// file systems and swap.
func hardwareNix(in Input) string {
	modules := list{}
	for _, m := range in.Facts.modules() {
		modules = append(modules, m)
	}
	body := attrs{
		set("imports", list{raw(`(modulesPath + "/installer/scan/not-detected.nix")`)}),
		after(set("boot.initrd.availableKernelModules", modules, "Drivers of the disks, their controllers and USB, as found on the machine.")),
		set("boot.initrd.supportedFilesystems", texts("btrfs")),
	}
	if kvm := in.Facts.kvmModule(); kvm != "" {
		body = append(body, set("boot.kernelModules", texts(kvm)))
	}
	if args := in.Layout.OS.KernelArgs; len(args) > 0 {
		body = append(body, set("boot.kernelParams", texts(args...), "os.kernel_args"))
	}
	body = append(body, fileSystems(in)...)
	if in.Swap != nil {
		body = append(body, after(set("swapDevices", list{attrs{set("device", in.Swap.Path)}},
			"os.swap_size; the file is made by hvinstall, without copy-on-write")))
	}
	body = append(body, upkeep(in)...)
	body = append(body, after(set("nixpkgs.hostPlatform", raw(`lib.mkDefault "x86_64-linux"`))))
	if vendor := in.Facts.CPUVendor; vendor != "" {
		body = append(body, set("hardware.cpu."+vendor+".updateMicrocode", raw("lib.mkDefault config.hardware.enableRedistributableFirmware")))
	}
	return module{
		header: []string{
			"Hardware and file systems of " + in.Layout.Hostname + ", as nixos-generate-config would write them. The UUIDs are",
			"those that hvinstall gives (or found, where it adopts); a reinstall with the same layout keeps them.",
		},
		args: []string{"config", "lib", "modulesPath"},
		body: body,
	}.String()
}

func fileSystems(in Input) attrs {
	var a attrs
	mount := func(comment []string, at string, fs attrs) {
		a = append(a, after(binding{path: []string{"fileSystems", at}, value: fs, comment: comment}))
	}
	for i, s := range in.System.Subvolumes {
		var comment []string
		if i == 0 {
			comment = []string{"The system's btrfs " + in.System.Label + " in " + strings.Join(in.System.Devices, ", ")}
		}
		options := append([]string{"subvol=" + s.Name}, s.Options...)
		if s.Mountpoint == "/" || s.Mountpoint == "/nix" {
			// Mounted in stage 1. systemd gives a device 90 s, which is no time
			// for somebody who is still looking for the passphrase.
			options = append(options, "x-systemd.device-timeout=infinity")
		}
		mount(comment, s.Mountpoint, attrs{
			set("device", in.System.Devices[0]), // by UUID it could be another disk's
			set("fsType", "btrfs"),
			set("options", texts(options...)),
		})
	}
	mount(nil, in.ESP.Mountpoint, attrs{
		set("device", "/dev/disk/by-uuid/"+strings.ToUpper(in.ESP.UUID)),
		set("fsType", "vfat"),
		set("options", texts("umask=0077")),
	})
	for _, p := range in.Pools {
		for i, s := range p.Subvolumes {
			var comment []string
			if i == 0 {
				comment = []string{fmt.Sprintf("The pool %s: btrfs RAID1 over %s", p.Label, strings.Join(p.Devices, ", ")), degradedComment(p)}
			}
			mount(comment, s.Mountpoint, attrs{
				set("device", p.device()),
				set("fsType", "btrfs"),
				set("options", texts(append(append([]string{"subvol=" + s.Name}, s.Options...), poolOptions(p)...)...)),
			})
		}
	}
	return a
}

// device is what the file system is mounted by: its UUID, or, where that is
// not known yet, its first volume.
func (f Filesystem) device() string {
	if f.UUID == "" {
		return f.Devices[0]
	}
	return "/dev/disk/by-uuid/" + strings.ToLower(f.UUID)
}

func degradedComment(p Filesystem) string {
	switch p.Degraded {
	case "wait":
		return "degraded: wait - the boot waits until every disk is there"
	case "mount":
		return "degraded: mount - a disk missing for 30 s: hvinstall.nix mounts it with what is there"
	}
	return "degraded: skip - a disk missing for 30 s: the host boots without the pool"
}

// poolOptions keep a missing disk from stopping the boot: udev calls a btrfs
// ready only when all its devices are there.
func poolOptions(p Filesystem) []string {
	if p.Degraded == "wait" {
		return []string{"x-systemd.device-timeout=infinity"}
	}
	return []string{"nofail", "x-systemd.device-timeout=30s"}
}

// upkeep is the monthly scrub and, for solid-state disks, the weekly trim.
func upkeep(in Input) attrs {
	paths := texts("/")
	ssd := in.System.SSD
	for _, p := range in.Pools {
		if len(p.Subvolumes) > 0 {
			paths = append(paths, p.Subvolumes[0].Mountpoint)
		}
		ssd = ssd || p.SSD
	}
	a := attrs{
		after(set("services.btrfs.autoScrub.enable", true, "One scrub a month for each btrfs: RAID1 heals what it finds.")),
		set("services.btrfs.autoScrub.interval", "monthly"),
		set("services.btrfs.autoScrub.fileSystems", paths),
	}
	if ssd {
		a = append(a, set("services.fstrim.enable", true, "storage_media: ssd; disks without discard ignore it."))
	}
	return a
}

// modules are the initrd's drivers: those found, else those that most
// machines need, as nixos-generate-config lists them.
func (f Facts) modules() []string {
	modules := slices.Clone(f.Modules)
	if len(modules) == 0 {
		modules = []string{"ahci", "ehci_pci", "nvme", "sd_mod", "virtio_pci", "virtio_blk", "virtio_scsi", "xhci_pci"}
	}
	for _, m := range []string{"usb_storage", "uas", "sd_mod", "usbhid"} {
		if !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

func (f Facts) kvmModule() string {
	switch f.CPUVendor {
	case "intel":
		return "kvm-intel"
	case "amd":
		return "kvm-amd"
	}
	return ""
}
