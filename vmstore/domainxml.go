package vmstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// part makes an element with its attributes, given as name and value in turn,
// and its children.
func part(tag string, attrs []string, children ...*etree.Element) *etree.Element {
	e := etree.NewElement(tag)
	for i := 0; i+1 < len(attrs); i += 2 {
		e.CreateAttr(attrs[i], attrs[i+1])
	}
	for _, c := range children {
		if c != nil {
			e.AddChild(c)
		}
	}
	return e
}

// with are a part's attributes.
func with(attrs ...string) []string { return attrs }

func textPart(tag, text string, attrs ...string) *etree.Element {
	e := part(tag, attrs)
	e.SetText(text)
	return e
}

// domainXML is the definition of a VM that uses no template of the user's.
func domainXML(s Spec) (string, error) {
	doc := etree.NewDocumentWithRoot(part("domain", with("type", s.DomainType),
		textPart("name", s.Name), textPart("uuid", s.UUID),
		textPart("memory", strconv.Itoa(s.RAMMB), "unit", "MiB"),
		textPart("vcpu", strconv.Itoa(s.VCPU), "placement", "static"),
		osXML(s), featuresXML(s), cpuXML(s), clockXML(s),
		textPart("on_poweroff", "destroy"), textPart("on_reboot", "restart"),
		// An appliance that panics at three in the morning comes back by itself.
		textPart("on_crash", "restart"),
		devicesXML(s)))
	doc.Indent(2)
	text, err := doc.WriteToString()
	if err != nil {
		return "", fmt.Errorf("writing the domain XML of %s: %w", s.Name, err)
	}
	return text, nil
}

// osXML lets libvirt choose the firmware by its features: the paths differ
// between distributions, and its first choice has Secure Boot on, with which
// HAOS and most appliances do not start.
func osXML(s Spec) *etree.Element {
	machine := textPart("type", "hvm", "arch", "x86_64", "machine", s.Machine)
	if !s.UEFI {
		return part("os", nil, machine)
	}
	firmware := part("firmware", nil, part("feature", with("enabled", yesNo(s.SecureBoot), "name", "secure-boot")))
	if s.SecureBoot {
		firmware.AddChild(part("feature", with("enabled", "yes", "name", "enrolled-keys")))
	}
	return part("os", with("firmware", "efi"), machine, firmware, textPart("nvram", s.NVRAM))
}

func cpuXML(s Spec) *etree.Element {
	mode := "maximum"
	if s.DomainType == "kvm" {
		mode = "host-passthrough"
	}
	// One socket: desktop editions of Windows use no more than two.
	return part("cpu", with("mode", mode, "check", "none", "migratable", "on"),
		part("topology", with("sockets", "1", "cores", strconv.Itoa(s.VCPU), "threads", "1")))
}

func featuresXML(s Spec) *etree.Element {
	f := part("features", nil, part("acpi", nil), part("apic", nil))
	if s.SecureBoot {
		f.AddChild(part("smm", with("state", "on")))
	}
	return f
}

func clockXML(s Spec) *etree.Element {
	clock := part("clock", with("offset", "utc"))
	if s.DomainType == "kvm" {
		clock.AddChild(part("timer", with("name", "rtc", "tickpolicy", "catchup")))
		clock.AddChild(part("timer", with("name", "pit", "tickpolicy", "delay")))
		clock.AddChild(part("timer", with("name", "hpet", "present", "no")))
	}
	return clock
}

func devicesXML(s Spec) *etree.Element {
	list := part("devices", nil, disksXML(s)...)
	for _, e := range []*etree.Element{
		part("controller", with("type", "usb", "index", "0", "model", "qemu-xhci")),
		nicXML(s),
		part("serial", with("type", "pty"), part("target", with("port", "0"))),
		part("console", with("type", "pty"), part("target", with("type", "serial", "port", "0"))),
		part("channel", with("type", "unix"), part("target", with("type", "virtio", "name", "org.qemu.guest_agent.0"))),
		part("input", with("type", "tablet", "bus", "usb")),
	} {
		list.AddChild(e)
	}
	if s.TPM {
		list.AddChild(tpmXML())
	}
	list.AddChild(part("graphics", with("type", "vnc", "port", "-1", "autoport", "yes"), part("listen", with("type", "address", "address", "127.0.0.1"))))
	list.AddChild(part("video", nil, part("model", with("type", "vga"))))
	for _, u := range s.USB {
		list.AddChild(usbXML(u))
	}
	list.AddChild(part("memballoon", with("model", "virtio", "freePageReporting", "on")))
	list.AddChild(part("rng", with("model", "virtio"), textPart("backend", "/dev/urandom", "model", "random")))
	return list
}

func nicXML(s Spec) *etree.Element {
	return part("interface", with("type", "bridge"), part("mac", with("address", s.MAC)),
		part("source", with("bridge", s.Bridge)), part("model", with("type", s.NICModel)))
}

func tpmXML() *etree.Element {
	return part("tpm", with("model", "tpm-crb"), part("backend", with("type", "emulator", "version", "2.0")))
}

// usbXML is optional: without the stick the VM starts all the same.
func usbXML(u USB) *etree.Element {
	return part("hostdev", with("mode", "subsystem", "type", "usb", "managed", "yes"),
		part("source", with("startupPolicy", "optional"), part("vendor", with("id", u.Vendor)), part("product", with("id", u.Product))))
}

// disksXML is the system disk, the installer's drive and the seed's. An empty
// disk is not bootable, so an ISO VM falls through to its installer, and after
// the installation the disk wins.
func disksXML(s Spec) []*etree.Element {
	disks := []*etree.Element{part("disk", with("type", "file", "device", "disk"),
		// The guest's TRIM reaches the pool, and zeroes written become holes.
		// The cache stays the default one: O_DIRECT (cache=none) on btrfs gives
		// checksum errors when a guest changes a buffer that is being written.
		part("driver", with("name", "qemu", "type", s.DiskFormat, "discard", "unmap", "detect_zeroes", "unmap")),
		part("source", with("file", s.Disk)),
		part("target", with("dev", s.DiskTarget, "bus", s.DiskBus)),
		part("boot", with("order", "1")))}
	next := freeTarget(s.DiskTarget)
	if s.CDROM {
		disks = append(disks, cdromXML(next(), "sata", s.ISO, 2))
	}
	if s.Seed != "" {
		disks = append(disks, cdromXML(next(), "sata", s.Seed, 0))
	}
	return disks
}

func cdromXML(target, bus, path string, boot int) *etree.Element {
	var source, order *etree.Element
	if path != "" {
		source = mediumXML(path)
	}
	if boot > 0 {
		order = part("boot", with("order", strconv.Itoa(boot)))
	}
	return part("disk", with("type", "file", "device", "cdrom"), part("driver", with("name", "qemu", "type", "raw")),
		source, part("target", with("dev", target, "bus", bus)), part("readonly", nil), order)
}

func mediumXML(file string) *etree.Element {
	return part("source", with("file", file, "startupPolicy", "optional"))
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
