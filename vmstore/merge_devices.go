package vmstore

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

func (m *merger) devices() *etree.Element {
	e := below(m.root, "devices")
	if e == nil {
		e = etree.NewElement("devices")
		insert(m.root, e)
	}
	return e
}

func (m *merger) tpm() {
	if !m.TPM || below(m.root, "devices", "tpm") != nil {
		return
	}
	m.add(m.devices(), tpmXML(), "", "an emulated TPM 2.0")
}

// nic is the NIC that the layout describes.
func (m *merger) nic() *etree.Element {
	mac := ""
	if m.mac {
		mac = m.MAC
	}
	return layoutNIC(m.root, mac, m.old)
}

// layoutNIC is the one with the layout's MAC, else the one that was the
// layout's before, else the first.
func layoutNIC(root *etree.Element, mac string, old metadata) *etree.Element {
	nics := every(below(root, "devices"), "interface")
	for _, e := range nics {
		if mac != "" && sameMAC(value(below(e, "mac"), "address"), mac) {
			return e
		}
	}
	for _, e := range nics {
		if slices.Contains(old.devices, noteKey(e)) {
			return e
		}
	}
	if len(nics) == 0 {
		return nil
	}
	return nics[0]
}

func (m *merger) interfaces() {
	e := m.nic()
	if e == nil {
		if !m.made {
			m.say("nic-none", "it has no NIC, and gets none")
			return
		}
		m.add(m.devices(), nicXML(m.Spec), "", m.MAC+" on "+m.Bridge)
		return
	}
	source := below(e, "source")
	kind := value(e, "type")
	switch {
	case m.Bridge == "" && kind == "network":
		m.say("nic-kept", "its NIC stays on the network %s, as the layout names no bridge for it", value(source, "network"))
	case m.Bridge == "":
	case kind == "bridge":
		if source != nil && value(source, "bridge") != m.Bridge {
			m.setAttr(source, "bridge", m.Bridge)
		}
	case kind == "network":
		m.setAttr(e, "type", "bridge")
		if source == nil {
			source = etree.NewElement("source")
			insert(e, source)
		}
		m.record(pathOf(source), shown(source), "bridge="+m.Bridge)
		source.Attr = nil
		source.CreateAttr("bridge", m.Bridge)
	default:
		m.say("nic-kept", "its NIC is of the type %s and stays so: bridge is without effect", kind)
	}
	if mac := below(e, "mac"); m.mac && mac != nil && !sameMAC(value(mac, "address"), m.MAC) {
		m.setAttr(mac, "address", m.MAC)
	}
}

// drives are the installer's and the seed's. A drive that somebody put in, or
// what somebody put into one, is never replaced.
func (m *merger) drives() {
	iso := m.isoDrive()
	switch {
	case m.CDROM && iso != nil:
		m.medium(iso, m.ISO)
	case m.CDROM && m.ISO != "":
		if empty := m.emptyDrive(); empty != nil {
			m.medium(empty, m.ISO)
		} else {
			m.addDrive(m.ISO, m.nextBootOrder())
		}
	case !m.CDROM && iso != nil && !m.live:
		m.dropDrive(iso)
	}
	seed := m.driveWith(m.seedPath())
	switch {
	case m.Seed != "" && seed == nil:
		m.addDrive(m.Seed, 0)
	case m.Seed == "" && seed != nil && m.isOurs(seed) && !m.live:
		m.dropDrive(seed)
	}
}

func (m *merger) seedPath() string { return filepath.Join(m.Dir, "seed.iso") }

// layoutDrives are the drives that are the layout's.
func (m *merger) layoutDrives() []*etree.Element {
	var found []*etree.Element
	for _, e := range m.allDrives() {
		if file := value(below(e, "source"), "file"); m.isOurs(e) || m.fresh || file != "" && (file == m.ISO || file == m.Seed) {
			found = append(found, e)
		}
	}
	return found
}

func (m *merger) allDrives() []*etree.Element {
	return slices.DeleteFunc(every(below(m.root, "devices"), "disk"), func(e *etree.Element) bool { return value(e, "device") != "cdrom" })
}

// isOurs says whether an earlier run put a drive in.
func (m *merger) isOurs(drive *etree.Element) bool {
	return slices.Contains(m.old.devices, deviceKey(drive))
}

func (m *merger) driveWith(file string) *etree.Element {
	for _, e := range m.allDrives() {
		if value(below(e, "source"), "file") == file {
			return e
		}
	}
	return nil
}

func (m *merger) isoDrive() *etree.Element {
	if m.ISO != "" {
		if e := m.driveWith(m.ISO); e != nil {
			return e
		}
	}
	for _, e := range m.allDrives() {
		if m.isOurs(e) && value(below(e, "source"), "file") != m.seedPath() && m.old.media[deviceKey(e)] != m.seedPath() {
			return e
		}
	}
	return nil
}

func (m *merger) emptyDrive() *etree.Element {
	for _, e := range m.allDrives() {
		if below(e, "source") == nil {
			return e
		}
	}
	return nil
}

// isOurMedium says whether an earlier run put a file into a drive. The notes of
// earlier versions do not tell: then it is what lies in the VM's directory.
func (m *merger) isOurMedium(drive *etree.Element, file string) bool {
	if len(m.old.media) > 0 {
		return m.old.media[deviceKey(drive)] == file
	}
	return m.isOurs(drive) && inside(m.Dir, file)
}

// medium puts a file into a drive, or takes it out.
func (m *merger) medium(drive *etree.Element, want string) {
	source := below(drive, "source")
	have := value(source, "file")
	switch {
	case have == want && (source == nil) == (want == ""):
	case m.live && (source == nil || want == ""):
		// Ejected, or left out at the start.
	case source != nil && !m.isOurMedium(drive, have):
		m.say("medium-kept", "the drive %s holds %s, put in by hand: it stays, and the layout's medium is not put in", value(below(drive, "target"), "dev"), shown(source))
	case want == "":
		m.drop(source, "medium of "+value(below(drive, "target"), "dev"), have)
	case source == nil:
		m.add(drive, mediumXML(want), "medium of "+value(below(drive, "target"), "dev"), want)
	default:
		m.setAttr(source, "file", want)
	}
}

func (m *merger) dropDrive(drive *etree.Element) {
	source := below(drive, "source")
	if source != nil && !m.isOurMedium(drive, value(source, "file")) {
		m.say("medium-kept", "the drive %s holds %s, put in by hand: both stay", value(below(drive, "target"), "dev"), shown(source))
		return
	}
	m.drop(drive, "cdrom "+value(below(drive, "target"), "dev"), cmp.Or(value(source, "file"), "empty"))
}

func (m *merger) addDrive(file string, boot int) {
	target, bus, err := m.freeTarget()
	if err != "" {
		m.refuse("vm-target", "take a drive out that is not used: virsh edit "+m.Name, "there is no free place for the drive of %s: %s", file, err)
		return
	}
	m.add(m.devices(), cdromXML(target, bus, file, boot), "cdrom "+target, file)
}

// freeTarget finds a name on a bus that neither a name nor an address of a
// disk takes. An i440fx has an IDE controller; a q35 has a SATA one.
func (m *merger) freeTarget() (target, bus, problem string) {
	bus, prefix, places := "sata", "sd", 6
	if machine := value(below(m.root, "os", "type"), "machine"); machine != "" && !isQ35(machine) {
		bus, prefix, places = "ide", "hd", 4
	}
	if slices.ContainsFunc(m.allDrives(), func(e *etree.Element) bool { return value(below(e, "target"), "bus") == "sata" }) {
		bus, prefix, places = "sata", "sd", 6
	}
	taken, units := map[string]bool{}, map[int]bool{}
	for _, e := range every(below(m.root, "devices"), "disk") {
		t := below(e, "target")
		taken[value(t, "dev")] = true
		if a := below(e, "address"); value(t, "bus") == bus && a != nil {
			// IDE: two buses of two units; SATA: one bus, as many units as ports.
			unit := number(value(a, "unit"))
			if bus == "ide" {
				unit += 2 * number(value(a, "bus"))
			}
			units[unit+places*number(value(a, "controller"))] = true
		}
	}
	for i := range places {
		if name := prefix + string(rune('a'+i)); !taken[name] && !units[i] {
			return name, bus, ""
		}
	}
	return "", "", fmt.Sprintf("%s to %s on %s are taken", prefix+"a", prefix+string(rune('a'+places-1)), bus)
}

// nextBootOrder is behind all that there are; 0 where the VM does not boot by
// the devices' order, with which it cannot be mixed.
func (m *merger) nextBootOrder() int {
	last := 0
	for _, e := range m.devices().ChildElements() {
		last = max(last, number(value(below(e, "boot"), "order")))
	}
	if last == 0 {
		return 0
	}
	return last + 1
}

// media are the files that the layout has in its drives.
func (m *merger) media() map[string]string {
	found := map[string]string{}
	if m.stated != nil {
		return found
	}
	for _, e := range m.layoutDrives() {
		if file := value(below(e, "source"), "file"); file != "" && !slices.Contains(m.removals, e) && !slices.Contains(m.removals, below(e, "source")) &&
			(file == m.ISO || file == m.Seed) {
			found[deviceKey(e)] = file
		}
	}
	return found
}

// usbDevices adds those of the layout that are not there, by whatever name
// they are there: one that was put in by its port is this device too, and two
// of one model are two.
func (m *merger) usbDevices() {
	if m.live {
		return // optional: libvirt starts without them
	}
	hostdevs := every(below(m.root, "devices"), "hostdev")
	for _, u := range m.USB {
		if !slices.ContainsFunc(hostdevs, func(e *etree.Element) bool { return m.usbID(e) == u.String() }) {
			m.add(m.devices(), usbXML(u), "USB device "+u.String(), "it")
		}
	}
	for _, e := range hostdevs {
		key := deviceKey(e)
		id, isUSB := strings.CutPrefix(key, "usb:")
		if isUSB && slices.Contains(m.old.devices, key) && !slices.ContainsFunc(m.USB, func(u USB) bool { return u.String() == id }) {
			m.drop(e, "USB device "+id, "there")
		}
	}
}

// usbID is the model of a device handed to the VM, whether it is named by its
// model or by the place where it is plugged in.
func (m *merger) usbID(hostdev *etree.Element) string {
	if value(hostdev, "type") != "usb" {
		return ""
	}
	s := below(hostdev, "source")
	if vendor := value(below(s, "vendor"), "id"); vendor != "" {
		return USB{Vendor: vendor, Product: value(below(s, "product"), "id")}.String()
	}
	return m.usb[usbPlace(s)]
}

// usbPlace is "1.4", the bus and device number.
func usbPlace(source *etree.Element) string {
	a := below(source, "address")
	if a == nil {
		return ""
	}
	place := value(a, "bus") + "." + value(a, "device")
	if port := value(a, "port"); port != "" {
		place = value(a, "bus") + "-" + port
	}
	return place
}
