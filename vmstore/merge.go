package vmstore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hvinstall/step"

	"github.com/beevik/etree"
)

// wish is what the layout wants of a domain that exists.
type wish struct {
	Spec
	// stated is what a user's template gives, all of which is the layout's; nil
	// for the built-in definition, of which the layout decides what owned lists.
	stated *etree.Document
	mac    bool // the layout names the MAC
	// made is true for a VM that hvinstall made, and did not take over.
	made bool
	// fresh is true for a definition that is not in libvirt yet: all its drives
	// are the layout's.
	fresh   bool
	adopted bool // it was taken over, and its note is to say so
	// usb says which id is plugged in at a bus and device number, as "1.4".
	usb map[string]string
}

// merger changes a domain's description, in place, to what the layout wants,
// and keeps an account of each node that it touches.
type merger struct {
	wish
	root *etree.Element
	// old is what the domain carries of us.
	old  metadata
	ours bool
	// live is true for the description of a running VM, which is compared only:
	// a medium or an optional device that libvirt left out is no difference.
	live bool

	found    []Difference
	added    map[int]*etree.Element // by their place in found
	removals []*etree.Element
	refusals []step.Refusal
	notes    []Note
	err      error
}

// merge brings a domain's description to what the layout wants.
func merge(doc *etree.Document, w wish, live bool) *merger {
	m := &merger{wish: w, root: doc.Root(), live: live, added: map[int]*etree.Element{}}
	m.old, m.ours = readMetadata(m.root)
	if m.root.Tag != "domain" {
		m.err = fmt.Errorf("its root is <%s>, want <domain>", m.root.Tag)
		return m
	}
	if w.stated != nil {
		m.state(w.stated.Root())
	} else {
		m.domainType()
		m.memory()
		m.processors()
		m.firmware()
		m.tpm()
		m.interfaces()
		m.drives()
		m.usbDevices()
	}
	m.metadata()
	for _, e := range m.removals {
		remove(e)
	}
	for i, e := range m.added { // what was removed stood before it, perhaps
		m.found[i].Paths[0] = pathOf(e)
	}
	return m
}

// record accounts for a node that changes. A node that no line of the table
// covers is a mistake of ours, and nothing is defined then.
func (m *merger) record(path, have, want string) *Difference {
	o, covered := ownerOf(path)
	if !covered && m.stated == nil {
		m.err = errors.Join(m.err, fmt.Errorf("%s is not the layout's to change", path))
	}
	d := wordsFor(path)
	d.Have, d.Want, d.Hardware = have, want, o.hardware
	if !covered {
		d.Hardware = isHardware(path)
	}
	if n := len(m.found); n > 0 {
		if last := &m.found[n-1]; last.What == d.What && last.Have == have && last.Want == want && have != "" && want != "" {
			last.Paths = append(last.Paths, path)
			last.Hardware = last.Hardware || d.Hardware
			return last
		}
	}
	m.found = append(m.found, d)
	return &m.found[len(m.found)-1]
}

// isHardware judges what a template changes.
func isHardware(path string) bool {
	for _, part := range []string{"/domain/devices/", "/domain/os/", "/domain/cpu", "/domain/features"} {
		if strings.HasPrefix(path, part) {
			return true
		}
	}
	return false
}

func (m *merger) setAttr(e *etree.Element, name, want string) {
	have := value(e, name)
	if have == "" {
		have = "none"
	}
	m.record(pathOf(e)+"/@"+name, have, want)
	e.CreateAttr(name, want)
}

func (m *merger) dropAttr(e *etree.Element, name string) {
	if have := value(e, name); have != "" {
		m.record(pathOf(e)+"/@"+name, have, "")
		e.RemoveAttr(name)
	}
}

func (m *merger) add(parent, child *etree.Element, what, want string) {
	insert(parent, child)
	d := m.record(pathOf(child), "", want)
	m.added[len(m.found)-1] = child
	if what != "" {
		d.What = what
	}
}

// drop takes an element out once everything else is done, so that the places
// of its like do not change meanwhile.
func (m *merger) drop(e *etree.Element, what, have string) {
	if have == "" {
		have = shown(e)
	}
	d := m.record(pathOf(e), have, "")
	if what != "" {
		d.What = what
	}
	m.removals = append(m.removals, e)
}

func (m *merger) refuse(code, hint, format string, args ...any) {
	m.refusals = append(m.refusals, step.Refusal{Code: code, Where: m.Name, What: fmt.Sprintf(format, args...), Hint: hint})
}

func (m *merger) say(code, format string, args ...any) {
	m.notes = append(m.notes, Note{Code: code, Where: m.Name, What: fmt.Sprintf(format, args...)})
}

func (m *merger) domainType() {
	if value(m.root, "type") != m.DomainType {
		m.setAttr(m.root, "type", m.DomainType)
	}
}

// memory sets what the VM has, and what it starts with where that was all of
// it or is now more than it has.
func (m *merger) memory() {
	e := below(m.root, "memory")
	if e == nil {
		e = etree.NewElement("memory")
		insert(m.root, e)
	}
	have, want := kib(e), uint64(m.RAMMB)<<10
	if have == want {
		return
	}
	if below(m.root, "cpu", "numa") != nil && !m.live {
		m.refuse("vm-numa", fmt.Sprintf("write ram_mb: %d, or change the cells as well: virsh edit %s", have>>10, m.Name),
			"its memory lies in NUMA cells, whose shares only a person can decide: ram_mb is %d, and it has %s MiB", m.RAMMB, mib(have))
		return
	}
	if most := below(m.root, "maxMemory"); most != nil && kib(most) < want && !m.live {
		m.refuse("vm-maxmemory", "raise it: virsh edit "+m.Name, "ram_mb is %d, and its maxMemory allows %s MiB", m.RAMMB, mib(kib(most)))
		return
	}
	m.setKiB(e, have, want)
	m.currentMemory(have, want)
}

func (m *merger) currentMemory(have, want uint64) {
	if e := below(m.root, "currentMemory"); e != nil && !m.live && kib(e) != want && (kib(e) == have || kib(e) > want) {
		m.setKiB(e, kib(e), want)
	}
}

func (m *merger) setKiB(e *etree.Element, have, want uint64) {
	m.record(pathOf(e), mib(have), mib(want))
	e.CreateAttr("unit", "KiB")
	e.SetText(strconv.FormatUint(want, 10))
}

func mib(kib uint64) string { return strconv.FormatUint(kib>>10, 10) }

// processors sets their number, with the topology that must agree with it.
func (m *merger) processors() {
	e := below(m.root, "vcpu")
	if e == nil && m.VCPU == 1 {
		return
	}
	if e == nil {
		e = etree.NewElement("vcpu")
		e.SetText("1")
		insert(m.root, e)
	}
	have := number(content(e))
	if have == m.VCPU {
		return
	}
	if m.live {
		m.record(pathOf(e), strconv.Itoa(have), strconv.Itoa(m.VCPU))
		return
	}
	cpu := below(m.root, "cpu")
	if below(cpu, "numa") != nil || below(m.root, "vcpus") != nil {
		m.refuse("vm-numa", fmt.Sprintf("write vcpu: %d, or change them as well: virsh edit %s", have, m.Name),
			"its processors are listed one by one or lie in NUMA cells: vcpu is %d, and it has %d", m.VCPU, have)
		return
	}
	topology, cores := below(cpu, "topology"), ""
	if topology != nil {
		per := 1
		for _, name := range []string{"sockets", "dies", "clusters", "threads"} {
			per *= max(number(value(topology, name)), 1)
		}
		if m.VCPU%per != 0 {
			m.refuse("vm-topology", fmt.Sprintf("write a vcpu that %d divides, or change the topology: virsh edit %s", per, m.Name),
				"vcpu is %d, and its topology (%s) allows multiples of %d only", m.VCPU, shown(topology), per)
			return
		}
		cores = strconv.Itoa(m.VCPU / per)
	}
	m.record(pathOf(e), strconv.Itoa(have), strconv.Itoa(m.VCPU))
	e.SetText(strconv.Itoa(m.VCPU))
	if number(value(e, "current")) >= m.VCPU {
		m.dropAttr(e, "current") // all of them
	}
	if topology != nil && value(topology, "cores") != cores {
		m.setAttr(topology, "cores", cores)
	}
	m.pinnedProcessors()
}

// pinnedProcessors takes out the settings of processors that are gone: libvirt
// would do so without a word.
func (m *merger) pinnedProcessors() {
	tune := below(m.root, "cputune")
	for _, e := range every(tune, "vcpupin") {
		if number(value(e, "vcpu")) >= m.VCPU {
			m.drop(e, "", "")
		}
	}
	for _, e := range every(tune, "vcpusched") {
		if listed := value(e, "vcpus"); highest(listed) >= m.VCPU {
			m.refuse("vm-vcpusched", "virsh edit "+m.Name, "vcpu is %d, and a <vcpusched> names the processors %s", m.VCPU, listed)
		}
	}
}

// highest is the largest number of a list such as 0-3,5.
func highest(list string) int {
	top := 0
	for _, n := range strings.FieldsFunc(list, func(r rune) bool { return r < '0' || r > '9' }) {
		top = max(top, number(n))
	}
	return top
}

// firmware changes only when the layout asks for another one, and then keeps
// the variables' file. Loader, template and variables are otherwise the VM's:
// its boot entries and keys are in them.
func (m *merger) firmware() {
	os := below(m.root, "os")
	loader, nvram := below(os, "loader"), below(os, "nvram")
	if !m.made || os == nil {
		return
	}
	uefi := value(os, "firmware") == "efi" || value(loader, "type") == "pflash"
	if m.live {
		if secure := value(loader, "secure") == "yes"; uefi && m.UEFI && loader != nil && secure != m.SecureBoot {
			m.record(pathOf(loader), yesNo(secure), yesNo(m.SecureBoot)).What = "secure boot"
		}
		return
	}
	if uefi && !m.UEFI {
		m.dropAttr(os, "firmware")
		for _, e := range []*etree.Element{below(os, "firmware"), loader, nvram} {
			if e != nil {
				m.drop(e, "", "")
			}
		}
		return
	}
	if !uefi || !m.SecureBoot || secureBoot(os) {
		return
	}
	// libvirt selects the firmware anew, by its features.
	if old := below(os, "firmware"); old != nil {
		remove(old)
	}
	chosen := etree.NewElement("firmware")
	for _, name := range []string{"secure-boot", "enrolled-keys"} {
		f := chosen.CreateElement("feature")
		f.CreateAttr("enabled", "yes")
		f.CreateAttr("name", name)
	}
	insert(os, chosen)
	m.record(pathOf(chosen), "no", "yes")
	if loader != nil {
		m.drop(loader, "", "")
	}
	m.dropAttr(nvram, "template")
	m.dropAttr(nvram, "templateFormat")
	features := below(m.root, "features")
	if features != nil && below(features, "smm") == nil {
		smm := etree.NewElement("smm")
		smm.CreateAttr("state", "on")
		m.add(features, smm, "", "on")
	}
}

// secureBoot reads whether a domain's firmware is to have it on.
func secureBoot(os *etree.Element) bool {
	for _, f := range every(below(os, "firmware"), "feature") {
		if value(f, "name") == "secure-boot" {
			return value(f, "enabled") == "yes"
		}
	}
	return value(below(os, "loader"), "secure") == "yes"
}

// metadata is our own note. One of an earlier version that says the same in
// other words stays until there is something else to change.
func (m *merger) metadata() {
	if m.live {
		return
	}
	want := metadata{adopted: m.adopted, devices: m.keys(), system: m.DiskTarget, media: m.media()}
	if m.ours && m.old.same(want) && (len(m.found) == 0 || m.old.system == want.system) {
		return
	}
	want.write(m)
}

// keys are the devices that the layout put in or describes: the disk, the NIC,
// the drives and USB devices that are its own.
func (m *merger) keys() []string {
	if m.stated != nil {
		return deviceKeys(m.stated.Root())
	}
	var keys []string
	for _, d := range devicesOfNote(m.root) {
		key := noteKey(d)
		mine := false
		switch d.Tag {
		case "disk":
			mine = value(below(d, "target"), "dev") == m.DiskTarget || slices.Contains(m.layoutDrives(), d)
		case "interface":
			mine = d == m.nic()
		case "hostdev":
			mine = slices.ContainsFunc(m.USB, func(u USB) bool { return key == "usb:"+u.String() })
		}
		if mine && !slices.Contains(m.removals, d) {
			keys = append(keys, key)
		}
	}
	return keys
}

// kib reads a memory element with its unit.
func kib(e *etree.Element) uint64 {
	n, err := strconv.ParseUint(content(e), 10, 64)
	if err != nil {
		return 0
	}
	switch value(e, "unit") {
	case "b", "bytes":
		return n >> 10
	case "", "KiB", "k":
		return n
	case "MiB", "M":
		return n << 10
	case "GiB", "G":
		return n << 20
	case "TiB", "T":
		return n << 30
	}
	return 0
}
