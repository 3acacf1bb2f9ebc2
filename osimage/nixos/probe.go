package nixos

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Facts is what the modules need to know of the machine beyond its disks and
// network cards.
type Facts struct {
	CPUVendor string   `json:"cpu_vendor,omitempty"` // intel, amd, or "" where not known
	Modules   []string `json:"modules,omitempty"`    // kernel modules of disk controllers, disks and USB hosts
}

// Vendor names the maker of a CPU by /proc/cpuinfo's vendor_id as NixOS'
// options do.
func Vendor(id string) string {
	switch id {
	case "GenuineIntel":
		return "intel"
	case "AuthenticAMD", "HygonGenuine":
		return "amd"
	}
	return ""
}

// bootClasses are PCI classes whose drivers stage 1 may need: storage
// (SCSI, IDE, RAID, ATA, SATA, SAS, NVMe), and USB host controllers. See
// nixos-generate-config.pl, which goes by the same.
var bootClasses = []string{"0x0100", "0x0101", "0x0104", "0x0105", "0x0106", "0x0107", "0x0108", "0x0c03"}

// DriverModules lists the kernel modules that are bound to disk controllers,
// disks and USB host controllers, from /sys below root. It reads only.
func DriverModules(root fs.FS) []string {
	var modules []string
	add := func(device string) {
		if m := moduleOf(root, device); m != "" && !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	pci, _ := fs.ReadDir(root, "sys/bus/pci/devices")
	for _, d := range pci {
		device := path.Join("sys/bus/pci/devices", d.Name())
		class, err := fs.ReadFile(root, path.Join(device, "class"))
		if err == nil && len(class) >= 6 && slices.Contains(bootClasses, string(class[:6])) {
			add(device)
		}
	}
	// virtio disks hang below their PCI device, which is of no storage class
	// where it is transitional.
	virtio, _ := fs.ReadDir(root, "sys/bus/virtio/devices")
	for _, d := range virtio {
		m := moduleOf(root, path.Join("sys/bus/virtio/devices", d.Name()))
		if (m == "virtio_blk" || m == "virtio_scsi") && !slices.Contains(modules, m) {
			modules = append(modules, "virtio_pci", m)
		}
	}
	blocks, _ := fs.ReadDir(root, "sys/block")
	for _, b := range blocks {
		if strings.HasPrefix(b.Name(), "loop") || strings.HasPrefix(b.Name(), "dm-") || strings.HasPrefix(b.Name(), "ram") {
			continue
		}
		add(path.Join("sys/block", b.Name(), "device"))
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// moduleOf is the kernel module of the driver that is bound to a device. A
// driver that is built in has none, and is no concern of the initrd.
func moduleOf(root fs.FS, device string) string {
	target, err := fs.ReadLink(root, path.Join(device, "driver/module"))
	if err != nil {
		return ""
	}
	return path.Base(target)
}
