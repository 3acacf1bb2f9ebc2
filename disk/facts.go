// Package disk is disks as the plan needs them: inventory by by-id name, GPT,
// the ESP, btrfs file systems and pools, mounts, key sticks' file systems.
//
// probe.go reads and never opens a device for writing; plan.go decides from
// plain values; apply.go and its siblings write, and only to disks that the
// plan names.
package disk

import (
	"slices"
	"strings"
)

// Facts is what Probe saw of the machine's disks.
type Facts struct {
	Disks []Disk `json:"disks"`
	// Filesystems are the btrfs that are mounted.
	Filesystems []Btrfs    `json:"filesystems,omitempty"`
	Swapfiles   []Swapfile `json:"swapfiles,omitempty"`
	Unseen      []string   `json:"unseen,omitempty"` // what could not be read, and why
}

// Swapfile is a file that the kernel swaps to.
type Swapfile struct {
	Path string `json:"path"`
	Size uint64 `json:"size"` // bytes
}

// Disk is one whole disk.
type Disk struct {
	Name           string      `json:"name"`            // the kernel's name, as nvme0n1; it lives until the next boot
	ByID           []string    `json:"by_id,omitempty"` // every alias below /dev/disk/by-id, sorted, without the folder
	Model          string      `json:"model,omitempty"`
	Vendor         string      `json:"vendor,omitempty"`
	Serial         string      `json:"serial,omitempty"`
	WWN            string      `json:"wwn,omitempty"`
	Unit           string      `json:"unit,omitempty"`  // ns2, lun1: of several disks that one drive or array shows; empty for the first
	Size           uint64      `json:"size"`            // bytes
	LogicalSector  uint32      `json:"logical_sector"`  // bytes
	PhysicalSector uint32      `json:"physical_sector"` // bytes
	Rotational     bool        `json:"rotational"`
	Removable      bool        `json:"removable,omitempty"`
	ReadOnly       bool        `json:"read_only,omitempty"`
	Discard        bool        `json:"discard,omitempty"`   // the device takes discards
	Transport      string      `json:"transport,omitempty"` // nvme, sata, sas, usb, virtio, mmc, or ""
	Live           bool        `json:"live,omitempty"`      // the live system runs from it
	Holders        []Holder    `json:"holders,omitempty"`   // of the whole disk; partitions have their own
	Signatures     []Signature `json:"signatures,omitempty"`
	Partitions     []Partition `json:"partitions,omitempty"`
	// Begun is the mark of a disk that hvinstall began to make and did not
	// complete: nothing on it can be anybody's data.
	Begun bool `json:"begun,omitempty"`
	// BegunBy is the seed of the host that it is being made for.
	BegunBy string `json:"begun_by,omitempty"`
	// Erasing is the mark of a disk whose erasure, by consent, was cut short.
	Erasing bool `json:"erasing,omitempty"`
}

// Partition is one partition that the kernel or the table knows.
type Partition struct {
	Name       string      `json:"name,omitempty"` // the kernel's name; empty where the kernel does not know it
	Number     int         `json:"number"`
	Start      uint64      `json:"start"`           // bytes from the disk's beginning
	Size       uint64      `json:"size"`            // bytes
	Type       string      `json:"type,omitempty"`  // GPT type GUID, lower case, or MBR type as 0x07
	GUID       string      `json:"guid,omitempty"`  // unique partition GUID, lower case
	Label      string      `json:"label,omitempty"` // GPT partition name
	Holders    []Holder    `json:"holders,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
}

// Btrfs is a mounted btrfs as the kernel knows it.
type Btrfs struct {
	UUID    string        `json:"uuid"`
	Label   string        `json:"label,omitempty"`
	Mounts  []string      `json:"mounts,omitempty"` // where, sorted
	Places  []Place       `json:"places,omitempty"` // the same, with what of it is mounted there
	Devices []BtrfsDevice `json:"devices"`
}

// filesystem is the open btrfs of this UUID; without devices, where there is none.
func (f Facts) filesystem(uuid string) Btrfs {
	for _, fs := range f.Filesystems {
		if fs.UUID == uuid {
			return fs
		}
	}
	return Btrfs{}
}

// Place is a part of a btrfs that is mounted.
type Place struct {
	Mountpoint string `json:"mountpoint"`
	Subvolume  string `json:"subvolume"` // its path from the top, without a slash before it; empty for the top itself
}

// BtrfsDevice is one device of a btrfs.
type BtrfsDevice struct {
	ID      uint64 `json:"id"`                // btrfs' devid
	UUID    string `json:"uuid,omitempty"`    // the device's own
	Mapping string `json:"mapping,omitempty"` // device-mapper name; empty for another device and a missing one
	Size    uint64 `json:"size,omitempty"`    // bytes
	Used    uint64 `json:"used,omitempty"`    // bytes that chunks take
	Missing bool   `json:"missing,omitempty"`
}

// Holder is what uses a disk or partition now.
type Holder struct {
	Kind string `json:"kind"` // mount, swap, dm, md, loop, bcache, process
	Name string `json:"name"` // mount point, mapping name, md name
	// Through is the chain below the name where the use is indirect: a mount
	// of /dev/mapper/cryptroot holds nvme0n1p2 through dm-0.
	Through string `json:"through,omitempty"`
}

// Signature is one recognisable content.
type Signature struct {
	Type  string `json:"type"` // gpt, mbr, luks1, luks2, btrfs, ext4, xfs, vfat, ntfs, zfs, md, lvm2, swap, iso9660, squashfs, bitlocker, …
	UUID  string `json:"uuid,omitempty"`
	Label string `json:"label,omitempty"`
	// Subsystem is LUKS2's, "hvinstall" where hvinstall formatted the volume.
	Subsystem string `json:"subsystem,omitempty"`
	Cipher    string `json:"cipher,omitempty"`  // LUKS1's, as aes-xts-plain64
	Offset    uint64 `json:"offset,omitempty"`  // bytes from the device's beginning
	Members   int    `json:"members,omitempty"` // devices of a btrfs, md or ZFS, where the signature tells
	// Mark is whose a LUKS2 volume is; nil where the header has none. Sticks are
	// the VFAT serials of the sticks that have a keyslot.
	Mark   *Mark    `json:"mark,omitempty"`
	Sticks []string `json:"sticks,omitempty"`
}

// ByIDFolder is where udev keeps the stable names.
const ByIDFolder = "/dev/disk/by-id/"

// Called is the name by which a person knows the disk: its most telling by-id
// alias, else its kernel name.
func (d Disk) Called() string {
	if n, is := strings.CutPrefix(d.Unit, "ns"); is { // the alias without a number leads to any of the drive's namespaces
		for _, id := range d.ByID {
			if strings.HasSuffix(id, "_"+n) && strings.HasPrefix(id, "nvme-") {
				return id
			}
		}
	}
	for _, id := range d.ByID {
		if !strings.HasPrefix(id, "wwn-") && !strings.HasPrefix(id, "nvme-eui.") && !strings.HasPrefix(id, "nvme-nvme.") {
			return id
		}
	}
	if len(d.ByID) > 0 {
		return d.ByID[0]
	}
	return d.Name
}

// Identity is what stays the same of a disk wherever it is plugged in. The
// disks of one USB enclosure can share a serial, and differ in the unit number
// at the end of their by-id names (…-0:1).
func (d Disk) Identity() string {
	switch {
	case d.Serial != "":
		return d.Model + "/" + d.Serial + d.unit() + strings.TrimSuffix("/"+d.Unit, "/")
	case d.WWN != "":
		return d.WWN
	}
	return d.Called()
}

// sameDrive reports whether both are namespaces of one NVMe drive: different
// disks that fail together.
func (d Disk) sameDrive(other Disk) bool {
	return d.Name != other.Name && d.Transport == "nvme" && other.Transport == "nvme" && d.Serial != "" &&
		d.Model == other.Model && d.Serial == other.Serial && d.Unit != other.Unit
}

// unit is the SCSI unit of a USB enclosure's disk, as ":1"; empty for the first
// one, which is the only one of nearly all.
func (d Disk) unit() string {
	if d.Transport != "usb" {
		return ""
	}
	name := d.Called()
	if at := strings.LastIndex(name, ":"); at >= 0 && name[at:] != ":0" {
		return name[at:]
	}
	return ""
}

// ByName finds the disks that have the by-id alias; id may have the folder.
// More than one is possible only in facts captured while udev was at work.
func (f Facts) ByName(id string) []Disk {
	var found []Disk
	for _, d := range f.Disks {
		if d.has(id) {
			found = append(found, d)
		}
	}
	return found
}

// has reports whether id, with or without the folder, is one of the disk's
// by-id names.
func (d Disk) has(id string) bool {
	return slices.Contains(d.ByID, strings.TrimPrefix(id, ByIDFolder))
}
