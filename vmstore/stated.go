package vmstore

import (
	"maps"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// change is a difference that can be made good.
type change struct {
	path, have, want string
	what             string         // empty: by the path
	new              *etree.Element // what is added
	do               func()
}

// state brings the domain to what a user's template states. What the template
// does not speak of stays; a device of an earlier template that this one no
// longer has goes.
func (m *merger) state(want *etree.Element) {
	before := kib(below(m.root, "memory"))
	changes := stated("/domain", want, m.root, m.live)
	m.bootOrders(want)
	for _, c := range changes {
		d := m.record(c.path, c.have, c.want)
		if c.what != "" {
			d.What = c.what
		}
		if c.new != nil {
			m.added[len(m.found)-1] = c.new
		}
		c.do()
	}
	if m.live {
		return
	}
	m.currentMemory(before, kib(below(m.root, "memory")))
	wanted := deviceKeys(want)
	for _, d := range devicesOfNote(m.root) {
		if key := noteKey(d); slices.Contains(m.old.devices, key) && !slices.Contains(wanted, key) {
			m.drop(d, strings.Replace(key, ":", " ", 1), "there")
		}
	}
}

// bootOrders finds an order that the template gives to a device while another
// that somebody put in has it: libvirt would refuse the domain at every run.
func (m *merger) bootOrders(want *etree.Element) {
	if m.live {
		return
	}
	taken := map[string]*etree.Element{}
	for _, d := range below(want, "devices").NotNil().ChildElements() {
		if order := value(below(d, "boot"), "order"); order != "" {
			taken[order] = d
		}
	}
	for _, d := range below(m.root, "devices").NotNil().ChildElements() {
		order := value(below(d, "boot"), "order")
		if other := taken[order]; order != "" && other != nil && (d.Tag != other.Tag || deviceKey(d) != deviceKey(other)) {
			m.refuse("vm-boot-order", "give one of them another order: virsh edit "+m.Name,
				"its template gives the boot order %s to %s, and %s has it", order, noteKey(other), noteKey(d))
		}
	}
}

// stated finds where an element does not hold what another states. libvirt adds
// addresses, aliases, controllers and defaults of its own, other ones with each
// version, and to hold those against a VM would be a difference that never
// settles.
func stated(path string, want, have *etree.Element, live bool) []change {
	var found []change
	if live && path == "/domain/os" {
		want, found = withoutFirmware(want, have)
	}
	for _, a := range want.Attr {
		if a.Space == "xmlns" || a.Key == "xmlns" {
			continue
		}
		key, h := a.FullKey(), value(have, a.FullKey())
		if !sameValue(path, key, a.Value, h) {
			if h == "" {
				h = "none"
			}
			found = append(found, change{path: pathOf(have) + "/@" + key, have: h, want: a.Value, do: func() { have.CreateAttr(key, a.Value) }})
		}
	}
	if w := content(want); w != "" && !sameText(path, want, have) {
		found = append(found, change{path: pathOf(have), have: textOf(path, have), want: textOf(path, want), do: func() {
			have.SetText(want.Text())
			if have.RemoveAttr("unit"); value(want, "unit") != "" {
				have.CreateAttr("unit", value(want, "unit"))
			}
		}})
	}
	taken := map[*etree.Element]bool{}
	for _, w := range want.ChildElements() {
		if path == "/domain" && (w.Tag == "metadata" || w.Tag == "currentMemory" || w.Tag == "uuid") {
			continue
		}
		at := path + "/" + w.FullTag()
		best, fewest := bestMatch(at, w, have, taken, live)
		if best == nil {
			if at == "/domain/os/firmware" && value(below(w, "feature"), "enabled") == "no" || live && isOptional(w) && w.Tag != "disk" {
				continue // its absence means the same
			}
			copied := w.Copy()
			found = append(found, change{
				path: pathOf(have) + "/" + w.FullTag(), want: summary(at, w), what: nameOf(at, w), new: copied, do: func() { insert(have, copied) },
			})
			continue
		}
		taken[best] = true
		found = append(found, fewest...)
	}
	return found
}

// bestMatch is the child that is most like what is wanted.
func bestMatch(at string, w, have *etree.Element, taken map[*etree.Element]bool, live bool) (best *etree.Element, fewest []change) {
	for _, h := range have.ChildElements() {
		if h.FullTag() != w.FullTag() || taken[h] || !sameKey(at, w, h) {
			continue
		}
		compared := w
		if live && isOptional(w) && below(h, "source") == nil {
			compared = w.Copy()
			remove(below(compared, "source"))
		}
		d := stated(at, compared, h, live)
		if best == nil || len(d) < len(fewest) {
			best, fewest = h, d
		}
		if len(d) == 0 {
			break
		}
	}
	return best, fewest
}

// isOptional is a device or medium that libvirt leaves out at the start when it
// is not there.
func isOptional(e *etree.Element) bool { return value(below(e, "source"), "startupPolicy") != "" }

// withoutFirmware leaves out of a definition the choice of firmware, where the
// running VM has the outcome of such a choice: libvirt makes it at the start.
func withoutFirmware(want, live *etree.Element) (*etree.Element, []change) {
	loader := below(live, "loader")
	if value(want, "firmware") != "efi" || value(loader, "type") != "pflash" {
		return want, nil
	}
	wanted, have := yesNo(secureBoot(want)), yesNo(value(loader, "secure") == "yes")
	want = want.Copy()
	want.RemoveAttr("firmware")
	for _, e := range every(want, "firmware") {
		remove(e)
	}
	if have == wanted {
		return want, nil
	}
	return want, []change{{path: pathOf(loader), have: have, want: wanted, what: "secure boot", do: func() {}}}
}

// sameKey keeps devices apart that have an identity of their own, so that a
// difference names the right one.
func sameKey(at string, want, have *etree.Element) bool {
	if !strings.HasPrefix(at, "/domain/devices/") {
		return true
	}
	w, h := deviceKey(want), deviceKey(have)
	return w == "" || w == h
}

// deviceKey is a device's identity within a domain; empty for devices that are
// known by their content only.
func deviceKey(e *etree.Element) string {
	switch e.Tag {
	case "disk":
		return "disk:" + value(below(e, "target"), "dev")
	case "interface":
		// A NIC whose MAC changes is another NIC to the guest, yet it is this
		// VM's NIC: there is one, and the MAC is compared as a value.
		return ""
	case "hostdev":
		s := below(e, "source")
		if value(e, "type") == "usb" {
			key := "usb:"
			if vendor := below(s, "vendor"); vendor != nil {
				key += trimHex(value(vendor, "id")) + ":" + trimHex(value(below(s, "product"), "id"))
			}
			// Two of one model are told apart by where they are plugged in.
			if place := usbPlace(s); place != "" {
				key += "@" + place
			}
			return key
		}
		a := below(s, "address")
		return "hostdev:" + strings.Join([]string{value(a, "domain"), value(a, "bus"), value(a, "slot"), value(a, "function"), value(a, "uuid")}, ".")
	case "controller":
		return "controller:" + value(e, "type") + ":" + value(e, "index")
	case "filesystem":
		return "filesystem:" + value(below(e, "target"), "dir")
	case "channel":
		return "channel:" + value(below(e, "target"), "name")
	}
	return ""
}

func sameValue(path, name, want, have string) bool {
	if want == have {
		return true
	}
	switch {
	case path == "/domain/os/type" && name == "machine":
		return want == "q35" && isQ35(have)
	case name == "unit":
		// The unit belongs to the text, which is compared in bytes.
		return true
	case path == "/domain/devices/interface/mac" && name == "address":
		return sameMAC(want, have)
	case name == "id" && strings.HasPrefix(path, "/domain/devices/hostdev"):
		return trimHex(want) == trimHex(have)
	case path == "/domain/devices/graphics" && name == "port":
		// -1 asks for any port; a running VM has got one.
		return want == "-1"
	}
	return false
}

func sameText(path string, want, have *etree.Element) bool {
	if content(want) == content(have) {
		return true
	}
	switch path {
	case "/domain/memory", "/domain/maxMemory":
		return kib(want) == kib(have) && kib(want) > 0
	}
	return false
}

func textOf(path string, e *etree.Element) string {
	switch {
	case path == "/domain/memory", path == "/domain/maxMemory":
		return mib(kib(e))
	case content(e) == "":
		return "none"
	}
	return content(e)
}

// nameOf names an element that is missing altogether.
func nameOf(at string, e *etree.Element) string {
	switch at {
	case "/domain/devices/disk":
		return value(e, "device") + " " + value(below(e, "target"), "dev")
	case "/domain/devices/hostdev":
		return strings.Replace(deviceKey(e), "usb:", "USB device ", 1)
	}
	return strings.TrimPrefix(strings.TrimPrefix(at, "/domain/"), "devices/")
}

func summary(at string, e *etree.Element) string {
	switch at {
	case "/domain/devices/disk":
		if file := value(below(e, "source"), "file"); file != "" {
			return file
		}
		return "an empty drive"
	case "/domain/devices/disk/source":
		return value(e, "file")
	case "/domain/devices/hostdev":
		return "it"
	}
	if text := content(e); text != "" {
		return text
	}
	attrs := map[string]string{}
	for _, a := range e.Attr {
		attrs[a.FullKey()] = a.Value
	}
	if len(attrs) == 0 {
		return "yes"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		parts = append(parts, k+"="+attrs[k])
	}
	return strings.Join(parts, " ")
}
