package vmstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// metadataSpace is the name space of our element in a domain's <metadata>,
// which libvirt keeps as it is.
const metadataSpace = "urn:hvinstall:vm:1"

// metadata is what a domain carries of us.
type metadata struct {
	devices []string          // keys of the devices that the layout put in or describes
	media   map[string]string // files that it put into drives, by the drive's key
	system  string            // target of the disk that the VM starts from
	adopted bool              // the VM was there before us
}

// same compares what earlier versions have noted as well.
func (m metadata) same(other metadata) bool {
	return m.adopted == other.adopted && (m.system == "" || m.system == other.system && maps.Equal(m.media, other.media)) &&
		slices.Equal(slices.Sorted(slices.Values(m.devices)), slices.Sorted(slices.Values(other.devices)))
}

// write puts the note into the domain, in the place of an earlier one.
func (m metadata) write(at *merger) {
	e := etree.NewElement("hvinstall:vm")
	e.CreateAttr("xmlns:hvinstall", metadataSpace)
	if m.adopted {
		e.CreateAttr("adopted", "yes")
	}
	e.CreateAttr("system", m.system)
	for _, key := range m.devices {
		d := e.CreateElement("hvinstall:device")
		d.CreateAttr("key", key)
		if file := m.media[key]; file != "" {
			d.CreateAttr("file", file)
		}
	}
	parent := below(at.root, "metadata")
	if old := noteOf(at.root); old != nil {
		at.record("/domain/metadata/hvinstall:vm", fmt.Sprintf("%d devices", len(noted(old))), fmt.Sprintf("%d devices", len(m.devices)))
		index := old.Index()
		parent.RemoveChildAt(index)
		parent.InsertChildAt(index, e)
		return
	}
	if parent != nil {
		at.add(parent, e, "", "in its metadata")
		return
	}
	parent = etree.NewElement("metadata")
	parent.AddChild(e)
	at.add(at.root, parent, "hvinstall's own note", "in its metadata")
}

// noted are the devices of a note.
func noted(note *etree.Element) []*etree.Element {
	return slices.DeleteFunc(note.ChildElements(), func(c *etree.Element) bool { return c.Tag != "device" })
}

// noteOf finds our element in a domain's description.
func noteOf(domain *etree.Element) *etree.Element {
	for _, all := range every(domain, "metadata") {
		for _, e := range all.ChildElements() {
			if e.NamespaceURI() == metadataSpace {
				return e
			}
		}
	}
	return nil
}

func readMetadata(domain *etree.Element) (metadata, bool) {
	e := noteOf(domain)
	if e == nil {
		return metadata{}, false
	}
	m := metadata{adopted: value(e, "adopted") == "yes", system: value(e, "system"), media: map[string]string{}}
	for _, d := range noted(e) {
		m.devices = append(m.devices, value(d, "key"))
		if file := value(d, "file"); file != "" {
			m.media[value(d, "key")] = file
		}
	}
	return m, true
}

// deviceKeys are the devices of a definition that a person could have added to
// a VM as well; those we put there are told apart by them.
func deviceKeys(domain *etree.Element) []string {
	var keys []string
	for _, d := range devicesOfNote(domain) {
		keys = append(keys, noteKey(d))
	}
	return keys
}

// devicesOfNote are those that a person adds to a VM by hand, and would miss.
func devicesOfNote(domain *etree.Element) []*etree.Element {
	var found []*etree.Element
	devices := below(domain, "devices")
	if devices == nil {
		return nil
	}
	for _, d := range devices.ChildElements() {
		switch d.Tag {
		case "disk", "interface", "hostdev", "filesystem", "redirdev", "shmem", "vsock", "watchdog", "parallel", "smartcard", "memory", "iommu":
			found = append(found, d)
		}
	}
	return found
}

func noteKey(e *etree.Element) string {
	if e.Tag == "interface" {
		return "interface:" + strings.ToLower(value(below(e, "mac"), "address"))
	}
	if key := deviceKey(e); key != "" {
		return key
	}
	return e.Tag + ":" + value(e, "type") + value(e, "model")
}

// byHand are the devices of a domain that are not the layout's. They stay.
func (m *merger) byHand() []string {
	known := append(m.keys(), m.old.devices...)
	var found []string
	for _, d := range devicesOfNote(m.root) {
		if d.Tag == "watchdog" && value(d, "model") == "itco" {
			continue // part of every q35
		}
		if key := noteKey(d); !slices.Contains(known, key) {
			found = append(found, key)
		}
	}
	return found
}
