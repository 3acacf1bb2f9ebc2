package initrd

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/initrd/boot"
)

// Modules that a boot cannot do without, as modules or built in. They are
// loaded whatever the hardware.
var (
	// unlockModules open and mount the volumes. Ciphers: cryptsetup's default
	// aes-xts-plain64, and aes-cbc-essiv for adopted volumes of old.
	unlockModules = []string{"dm_crypt", "xts", "btrfs"}
	// stickModules mount a key stick or the live medium.
	stickModules = []string{"vfat", "nls_cp437", "nls_ascii"}
	liveModules  = []string{"loop", "squashfs", "overlay"}
)

// Modules that are loaded whatever the hardware where the kernel has them.
// The kernel asks for most of them by request_module, which has no modprobe to
// run in the initramfs.
var (
	unlockExtras = []string{
		"aesni_intel", "aes_generic", "aes_x86_64", "cbc", "essiv", "ecb",
		"sha256_ssse3", "sha256_generic", "sha512_ssse3", "sha512_generic",
		"crc32c_intel", "crc32c_generic", "xxhash_generic", "blake2b_generic",
	}
	stickExtras = []string{"nls_iso8859_1", "nls_utf8"}
	liveExtras  = []string{"isofs"}
)

// hardwareModules are loaded when a device asks for them, by its modalias.
// They are there, with all of hardwareFolders, for a disk that is moved to
// another machine, and for one that got another controller or keyboard.
var hardwareModules = []string{
	"nvme", "vmd", "ahci", "sd_mod", "sr_mod", "mmc_block",
	"virtio_blk", "virtio_scsi", "virtio_pci", "virtio_mmio", "virtio_input",
	"xhci_pci", "ehci_pci", "ohci_pci", "uhci_hcd", "usb_storage", "uas",
	"usbhid", "hid_generic", "i8042", "atkbd", "hyperv_keyboard",
}

// hardwareFolders are taken whole: what a disk in the machine, or plugged into
// it, may hang on, and keyboards, many of which hid_generic leaves to a driver
// of their own.
var hardwareFolders = []string{
	"kernel/drivers/ata/", "kernel/drivers/block/", "kernel/drivers/message/fusion/", "kernel/drivers/mmc/",
	"kernel/drivers/nvme/host/", "kernel/drivers/scsi/", "kernel/drivers/usb/storage/", "kernel/drivers/hid/",
}

// notTaken are drivers of these folders that are left out unless the machine
// asks for them, see driversOf.
var notTaken = []string{
	// probing a drive that is not there takes seconds
	"floppy",
	// disks of a storage network: large, and of no use without its firmware
	"lpfc", "qla2xxx", "qla4xxx", "bfa", "csiostor", "fnic", "snic", "qedf", "qedi", "bnx2fc", "bnx2i", "be2iscsi",
	"cxgb3i", "cxgb4i", "fcoe",
}

// companions are where what such a driver needs may be. One that needs more
// (a display, a radio, sensors) is no disk's and no keyboard's.
var companions = append([]string{
	"kernel/block/", "kernel/crypto/", "kernel/lib/", "kernel/arch/", "kernel/drivers/cdrom/", "kernel/drivers/hv/", "kernel/drivers/input/",
	"kernel/drivers/leds/", "kernel/drivers/misc/", "kernel/drivers/nvme/common/", "kernel/drivers/parport/", "kernel/drivers/usb/",
	"kernel/drivers/virtio/", "kernel/drivers/xen/",
}, hardwareFolders...)

// ofFolders are the drivers in hardwareFolders that a device can ask for.
func (d *depot) ofFolders() []string {
	asked := map[string]bool{}
	for _, a := range d.aliases {
		// What has no colon (fs-vfat, crypto-aes) is not the alias of a device.
		if !strings.Contains(a.Pattern, ":") || asked[a.Module] || slices.Contains(notTaken, a.Module) {
			continue
		}
		if in(d.files[a.Module], hardwareFolders) &&
			!slices.ContainsFunc(d.needs[a.Module], func(n string) bool { return !in(d.files[n], companions) }) {
			asked[a.Module] = true
		}
	}
	return slices.Sorted(maps.Keys(asked))
}

// in reports whether a module's file is in one of the folders.
func in(file string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(file, f) })
}

// storageFolders are where drivers of storage controllers, and of what they
// hang on, are in a kernel. A driver elsewhere that a device asks for (a
// network or graphics card's) can wait for the real system.
var storageFolders = []string{
	"kernel/drivers/ata/", "kernel/drivers/block/", "kernel/drivers/message/fusion/",
	"kernel/drivers/mmc/", "kernel/drivers/nvme/", "kernel/drivers/pci/", "kernel/drivers/scsi/",
	"kernel/drivers/usb/host/", "kernel/drivers/usb/storage/", "kernel/drivers/usb/core/",
	"kernel/drivers/virtio/", "kernel/drivers/hv/", "kernel/drivers/xen/",
	"kernel/drivers/hid/usbhid/", "kernel/drivers/phy/", "kernel/drivers/memstick/",
}

// choose picks the modules and writes down how to load them.
func (d *depot) choose(o Options) (boot.Modules, error) {
	always := slices.Clone(stickModules)
	extras := slices.Clone(stickExtras)
	if o.Config == nil {
		always, extras = append(always, liveModules...), append(extras, liveExtras...)
	} else {
		always, extras = append(always, unlockModules...), append(extras, unlockExtras...)
	}
	always = append(always, o.Modules...)
	for _, name := range always {
		if _, ok := d.files[underscores(name)]; !ok && !d.builtin[underscores(name)] {
			return boot.Modules{}, fmt.Errorf("kernel %s has no %s, neither as a module nor built in", filepath.Base(d.dir), name)
		}
	}

	have := map[string]*boot.Module{}
	for _, name := range append(always, extras...) {
		name = underscores(name)
		d.closure(name, have)
		if m := have[name]; m != nil {
			m.Always = true
		}
	}
	for _, name := range slices.Concat(hardwareModules, d.ofFolders()) {
		d.closure(name, have)
	}
	for _, name := range d.driversOf(o.Modaliases) {
		d.closure(name, have)
	}

	var chosen boot.Modules
	for _, name := range slices.Sorted(maps.Keys(have)) {
		chosen.List = append(chosen.List, *have[name])
	}
	for _, a := range d.aliases {
		// What has no colon (fs-vfat, crypto-aes) is not the alias of a device.
		if have[a.Module] != nil && strings.Contains(a.Pattern, ":") {
			chosen.Aliases = append(chosen.Aliases, a)
		}
	}
	return chosen, nil
}

// driversOf are the storage drivers that the devices ask for, sorted.
func (d *depot) driversOf(modaliases []string) []string {
	all := boot.Modules{Aliases: d.aliases}
	var names []string
	for _, modalias := range modaliases {
		for _, name := range all.Match(modalias) {
			if in(d.files[name], storageFolders) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Modaliases are those of all devices of the running machine, sorted.
func Modaliases() ([]string, error) {
	seen := map[string]bool{}
	err := filepath.WalkDir("/sys/devices", func(path string, entry fs.DirEntry, err error) error {
		// Devices come and go while they are walked: what is gone is left out.
		if err == nil && entry.Name() == "modalias" {
			if data, err := os.ReadFile(path); err == nil {
				seen[strings.TrimSpace(string(data))] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for devices: %w", err)
	}
	list := make([]string, 0, len(seen))
	for modalias := range seen {
		if modalias != "" {
			list = append(list, modalias)
		}
	}
	slices.Sort(list)
	return list, nil
}
