package unlock

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"hvinstall/initrd/boot"
)

// identity is what the kernel knows of the disk below a block device, without
// a program and without udev. All of it but the bus is what the disk says of
// itself: whoever builds a disk can say anything.
type identity struct {
	bus       bus
	vendor    string // of SCSI and USB
	model     string // of ATA its first 16 letters
	serial    string
	wwid      string // world-wide name, as eui.0025385b71b0a1b2 or naa.5000c500a1b2c3d4
	namespace string // of NVMe: its number
}

// bus is how a disk is attached, by the driver that has it.
type bus string

const (
	nvme   bus = "nvme"
	scsi   bus = "scsi" // SATA and SAS
	usb    bus = "usb"
	virtio bus = "virtio"
	mmc    bus = "mmc"
)

// claim is how far a disk is the one of a by-id name.
type claim int

const (
	stranger claim = iota
	renamed        // the bus and the serial number are right: a firmware may have changed the model
	itself         // the whole name is
)

// readIdentity reads a block device's folder in sys.
func readIdentity(sys, name string) identity {
	folder, err := filepath.EvalSymlinks(filepath.Join(sys, name))
	if err != nil {
		return identity{}
	}
	if _, err := os.Stat(folder + "/partition"); err == nil {
		folder = filepath.Dir(folder)
	}
	first := func(files ...string) string {
		for _, file := range files {
			if data, err := os.ReadFile(filepath.Join(folder, file)); err == nil && strings.TrimSpace(string(data)) != "" {
				return strings.TrimSpace(string(data))
			}
		}
		return ""
	}
	id := identity{
		bus: busOf(folder), vendor: first("device/vendor"), model: first("device/model", "device/name"),
		serial: first("device/serial", "serial"), wwid: first("wwid", "device/wwid"), namespace: first("nsid"),
	}
	if id.bus == usb {
		id.serial = usbSerial(folder)
	}
	// SCSI's page 80 (unit serial number) has a header of four bytes.
	if data, err := os.ReadFile(folder + "/device/vpd_pg80"); id.serial == "" && err == nil && len(data) > 4 {
		id.serial = strings.Trim(string(data[4:]), " \x00\n")
	}
	return id
}

// busOf knows a disk's bus by its folder: the names are the drivers', which no
// disk chooses.
func busOf(folder string) bus {
	name := filepath.Base(folder)
	switch {
	case strings.HasPrefix(name, "nvme"):
		return nvme
	case strings.HasPrefix(name, "mmcblk"):
		return mmc
	case strings.HasPrefix(name, "vd"):
		return virtio
	case strings.Contains(folder, "/usb"):
		return usb
	}
	return scsi
}

// usbSerial is the serial number of the USB device that a disk is part of,
// which is what its by-id name has.
func usbSerial(folder string) string {
	for ; len(folder) > len("/sys/"); folder = filepath.Dir(folder) {
		if _, err := os.Stat(folder + "/idVendor"); err == nil {
			data, _ := os.ReadFile(folder + "/serial")
			return strings.TrimSpace(string(data))
		}
	}
	return ""
}

// byID is the disk's name as udev would make it, for people.
func (i identity) byID() string {
	words := []string{i.model, i.serial}
	prefix := string(i.bus)
	switch {
	case i.bus == usb:
		words = []string{i.vendor, i.model, i.serial}
	case i.bus == scsi && i.vendor == "ATA":
		prefix = "ata"
	}
	name := escape(strings.Join(words, " "))
	if name == "" {
		return "a " + prefix + " disk without a name"
	}
	return prefix + "-" + name
}

var (
	spaces = regexp.MustCompile(`\s+`)
	// unnamable is what udev's by-id names do not have, see udev(7), string_escape.
	unnamable = regexp.MustCompile(`[^0-9A-Za-z#+.:=@_-]`)
	// part and unit are what by-id names have behind the disk's own words: a
	// partition, and a USB device's unit, see 60-persistent-storage.rules.
	part = regexp.MustCompile(`-part[0-9]+$`)
	unit = regexp.MustCompile(`-[0-9]+:[0-9]+$`)
)

// escape writes words as udev does in a link's name.
func escape(s string) string {
	return unnamable.ReplaceAllString(spaces.ReplaceAllString(strings.TrimSpace(s), "_"), "_")
}

// shortestSerial is the length of a serial number that is worth something
// without the model: "1" and "000" are many disks'.
const shortestSerial = 6

// claims says how far this is the disk that a volume is on by the plan.
func (i identity) claims(v boot.Volume) claim {
	c := i.named(v.DiskID)
	// udev asks the disk in an enclosure for its name, the kernel the enclosure.
	if c == stranger && v.USB && i.bus == usb && !strings.HasPrefix(diskName(v.DiskID), "usb-") {
		return renamed
	}
	return c
}

// named says how far a by-id name is this disk's.
func (i identity) named(byID string) claim {
	prefix, words, _ := strings.Cut(part.ReplaceAllString(diskName(byID), ""), "-")
	model, serial := escape(i.model), escape(i.serial)
	ends := func(name string) bool { // with the serial number, as a word of its own
		return serial != "" && strings.HasSuffix(name, "_"+serial)
	}
	whole := false
	switch prefix {
	case "nvme":
		if i.bus != nvme {
			return stranger
		}
		if words == i.wwid && i.wwid != "" {
			return itself
		}
		// One drive's namespaces have its model and serial number in common; the
		// name without a number is of any.
		if i.namespace != "" {
			words = strings.TrimSuffix(words, "_"+i.namespace)
		}
		whole = model != "" && serial != "" && words == model+"_"+serial
	case "usb":
		if i.bus != usb {
			return stranger
		}
		words = unit.ReplaceAllString(words, "")
		whole = serial != "" && words == escape(i.vendor+" "+i.model+" "+i.serial)
	case "virtio":
		if i.bus != virtio || serial == "" || words != serial {
			return stranger
		}
		return itself
	case "mmc":
		if i.bus != mmc {
			return stranger
		}
		whole = serial != "" && words == model+"_"+serial
	case "ata":
		// udev calls a disk in an enclosure ata-, too; the kernel cuts its model.
		if i.bus != scsi && i.bus != usb {
			return stranger
		}
		whole = i.bus == scsi && model != "" && ends(words) && strings.HasPrefix(words, model)
	case "wwn", "scsi":
		if i.bus != scsi && i.bus != usb {
			return stranger
		}
		if name, is := strings.CutPrefix(i.wwid, "naa."); is && (words == "0x"+name || words == "3"+name) {
			return itself
		}
		if name, is := strings.CutPrefix(i.wwid, "eui."); is && (words == "0x"+name || words == "2"+name) {
			return itself
		}
		whole = i.bus == scsi && model != "" && ends(words) && strings.Contains(words, model)
	default:
		return stranger
	}
	switch {
	case whole:
		return itself
	case len(serial) >= shortestSerial && ends(words):
		return renamed
	}
	return stranger
}
