package vmstore

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// domainXML is the definition of a VM that uses no template of the user's.
func domainXML(s Spec) (string, error) {
	d := libvirtxml.Domain{
		Type: s.DomainType, Name: s.Name, UUID: s.UUID,
		Memory: &libvirtxml.DomainMemory{Value: uint(s.RAMMB), Unit: "MiB"},
		VCPU:   &libvirtxml.DomainVCPU{Placement: "static", Value: uint(s.VCPU)},
		OS:     osXML(s), CPU: cpuXML(s), Features: featuresXML(s), Clock: clockXML(s),
		OnPoweroff: "destroy", OnReboot: "restart",
		// An appliance that panics at three in the morning comes back by itself.
		OnCrash: "restart",
		Devices: devicesXML(s),
	}
	text, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("writing the domain XML of %s: %w", s.Name, err)
	}
	text = closeEmpty(text)
	if strings.Contains(text, "<product ") {
		text = productFirst.ReplaceAllString(text, "$2$1")
	}
	return text + "\n", nil
}

// productFirst is libvirtxml's order in a USB hostdev; libvirt's schema wants
// the vendor first.
var productFirst = regexp.MustCompile(`(\s*<product id="[^"]*"/>)(\s*<vendor id="[^"]*"/>)`)

// closeEmpty writes <boot order="1"></boot>, which is how encoding/xml has it,
// as <boot order="1"/>. Text and attributes have no bare "<" or ">".
func closeEmpty(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for {
		at := strings.Index(text, "></")
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		end := at + strings.IndexByte(text[at+1:], '>') + 2
		if open := strings.LastIndexByte(text[:at], '<'); open >= 0 && text[open+1] != '/' && !strings.Contains(text[open:at], ">") {
			b.WriteString(text[:at])
			b.WriteString("/>")
		} else {
			b.WriteString(text[:end])
		}
		text = text[end:]
	}
}

// osXML lets libvirt choose the firmware by its features: the paths differ
// between distributions, and its first choice has Secure Boot on, with which
// HAOS and most appliances do not start.
func osXML(s Spec) *libvirtxml.DomainOS {
	os := &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: "x86_64", Machine: s.Machine, Type: "hvm"}}
	if !s.UEFI {
		return os
	}
	os.Firmware = "efi"
	os.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: []libvirtxml.DomainOSFirmwareFeature{
		{Enabled: yesNo(s.SecureBoot), Name: "secure-boot"},
	}}
	if s.SecureBoot {
		os.FirmwareInfo.Features = append(os.FirmwareInfo.Features,
			libvirtxml.DomainOSFirmwareFeature{Enabled: "yes", Name: "enrolled-keys"})
	}
	os.NVRam = &libvirtxml.DomainNVRam{NVRam: s.NVRAM}
	return os
}

func cpuXML(s Spec) *libvirtxml.DomainCPU {
	cpu := &libvirtxml.DomainCPU{
		// One socket: desktop editions of Windows use no more than two.
		Topology: &libvirtxml.DomainCPUTopology{Sockets: 1, Cores: s.VCPU, Threads: 1},
	}
	if s.DomainType == "kvm" {
		cpu.Mode, cpu.Check, cpu.Migratable = "host-passthrough", "none", "on"
	} else {
		cpu.Mode, cpu.Check, cpu.Migratable = "maximum", "none", "on"
	}
	return cpu
}

func featuresXML(s Spec) *libvirtxml.DomainFeatureList {
	f := &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}}
	if s.SecureBoot {
		f.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
	}
	return f
}

func clockXML(s Spec) *libvirtxml.DomainClock {
	clock := &libvirtxml.DomainClock{Offset: "utc"}
	if s.DomainType == "kvm" {
		clock.Timer = []libvirtxml.DomainTimer{
			{Name: "rtc", TickPolicy: "catchup"}, {Name: "pit", TickPolicy: "delay"}, {Name: "hpet", Present: "no"},
		}
	}
	return clock
}

func devicesXML(s Spec) *libvirtxml.DomainDeviceList {
	port := uint(0)
	list := &libvirtxml.DomainDeviceList{
		Disks:       disksXML(s),
		Controllers: []libvirtxml.DomainController{{Type: "usb", Index: &port, Model: "qemu-xhci"}},
		Interfaces: []libvirtxml.DomainInterface{{
			MAC:    &libvirtxml.DomainInterfaceMAC{Address: s.MAC},
			Source: &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: s.Bridge}},
			Model:  &libvirtxml.DomainInterfaceModel{Type: s.NICModel},
		}},
		Serials: []libvirtxml.DomainSerial{{
			Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
			Target: &libvirtxml.DomainSerialTarget{Port: &port},
		}},
		Consoles: []libvirtxml.DomainConsole{{
			Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
			Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: &port},
		}},
		Channels: []libvirtxml.DomainChannel{{
			Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
			Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
		}},
		Inputs: []libvirtxml.DomainInput{{Type: "tablet", Bus: "usb"}},
		Graphics: []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{
			Port: -1, AutoPort: "yes",
			Listeners: []libvirtxml.DomainGraphicListener{{Address: &libvirtxml.DomainGraphicListenerAddress{Address: "127.0.0.1"}}},
		}}},
		Videos: []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "vga"}}},
		RNGs: []libvirtxml.DomainRNG{{Model: "virtio", Backend: &libvirtxml.DomainRNGBackend{
			Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"},
		}}},
		MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio", FreePageReporting: "on"},
	}
	if s.TPM {
		list.TPMs = []libvirtxml.DomainTPM{{Model: "tpm-crb", Backend: &libvirtxml.DomainTPMBackend{
			Emulator: &libvirtxml.DomainTPMBackendEmulator{Version: "2.0"},
		}}}
	}
	for _, u := range s.USB {
		list.Hostdevs = append(list.Hostdevs, libvirtxml.DomainHostdev{
			Managed: "yes",
			SubsysUSB: &libvirtxml.DomainHostdevSubsysUSB{Source: &libvirtxml.DomainHostdevSubsysUSBSource{
				// Without the stick the VM starts all the same.
				StartUpPolicy: "optional",
				Vendor:        &libvirtxml.DomainHostDevProductVendorID{ID: u.Vendor},
				Product:       &libvirtxml.DomainHostDevProductVendorID{ID: u.Product},
			}},
		})
	}
	return list
}

// disksXML is the system disk, the installer's drive and the seed's. An empty
// disk is not bootable, so an ISO VM falls through to its installer, and after
// the installation the disk wins.
func disksXML(s Spec) []libvirtxml.DomainDisk {
	disks := []libvirtxml.DomainDisk{{
		Device: "disk",
		// The guest's TRIM reaches the pool, and zeroes written become holes.
		// The cache stays the default one: O_DIRECT (cache=none) on btrfs gives
		// checksum errors when a guest changes a buffer that is being written.
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: s.DiskFormat, Discard: "unmap", DetectZeros: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: s.Disk}},
		Target: &libvirtxml.DomainDiskTarget{Dev: s.DiskTarget, Bus: s.DiskBus},
		Boot:   &libvirtxml.DomainDeviceBoot{Order: 1},
	}}
	next := freeTarget(s.DiskTarget)
	if s.CDROM {
		disks = append(disks, cdromXML(next(), s.ISO, 2))
	}
	if s.Seed != "" {
		disks = append(disks, cdromXML(next(), s.Seed, 0))
	}
	return disks
}

func cdromXML(target, path string, boot uint) libvirtxml.DomainDisk {
	disk := libvirtxml.DomainDisk{
		Device:   "cdrom",
		Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
		Target:   &libvirtxml.DomainDiskTarget{Dev: target, Bus: "sata"},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
	}
	if path != "" {
		disk.Source = &libvirtxml.DomainDiskSource{
			StartupPolicy: "optional",
			File:          &libvirtxml.DomainDiskSourceFile{File: path},
		}
	}
	if boot > 0 {
		disk.Boot = &libvirtxml.DomainDeviceBoot{Order: boot}
	}
	return disk
}

// freeTarget gives sda, sdb, …, leaving out the name of an adopted SATA disk.
func freeTarget(taken string) func() string {
	letter := 'a'
	return func() string {
		for {
			name := "sd" + string(letter)
			letter++
			if name != taken {
				return name
			}
		}
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// trimHex reduces 0x1A86 and 1a86 to 1a86, with leading zeroes to four digits.
func trimHex(s string) string {
	s = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "0x")
	if n, err := strconv.ParseUint(s, 16, 16); err == nil {
		return fmt.Sprintf("%04x", n)
	}
	return s
}

// isQ35 accepts q35 and every version of it.
func isQ35(machine string) bool { return machine == "q35" || strings.HasPrefix(machine, "pc-q35-") }
