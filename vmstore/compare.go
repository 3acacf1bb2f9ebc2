package vmstore

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Difference is one way in which a VM is not as its definition says.
type Difference struct {
	What string `json:"what"`
	Have string `json:"have"`
	Want string `json:"want"`
	Unit string `json:"unit,omitempty"`
}

func (d Difference) String() string {
	switch {
	case d.Have == "":
		return d.What + ": not there, wanted " + d.Want
	case d.Want == "":
		return d.What + ": " + d.Have + ", not wanted"
	}
	s := d.What + " " + d.Have + " → " + d.Want
	if d.Unit != "" {
		s += " " + d.Unit
	}
	return s
}

// differences says where a domain is not as the definition says. Only what the
// definition states is compared: libvirt adds addresses, aliases, controllers
// and defaults of its own, other ones with each version, and to hold those
// against a VM would be a difference that never settles.
func differences(want, have *element) []Difference {
	var found []Difference
	compare("", want, have, &found)
	return found
}

// startDifferences are those that need a restart: what the running VM has
// against what it should have. A device or medium that libvirt left out at the
// start because it was not there (startupPolicy) is none.
func startDifferences(want, live *element) []Difference {
	var found []Difference
	want = withoutOptional(want, live)
	want, secure := withoutFirmware(want, live)
	if secure != nil {
		found = append(found, *secure)
	}
	compare("", want, live, &found)
	return found
}

// withoutFirmware leaves out of a definition the choice of firmware, where the
// running VM has the outcome of such a choice: libvirt makes it at the start.
func withoutFirmware(want, live *element) (*element, *Difference) {
	os, loader := want.at("os"), live.at("os", "loader")
	if os.attr("firmware") != "efi" || loader.attr("type") != "pflash" {
		return want, nil
	}
	reduced := *os
	reduced.attrs = maps.Clone(os.attrs)
	delete(reduced.attrs, "firmware")
	wanted := "no"
	reduced.children = nil
	for _, c := range os.children {
		if c.name != "firmware" {
			reduced.children = append(reduced.children, c)
			continue
		}
		for _, f := range c.all("feature") {
			if f.attr("name") == "secure-boot" {
				wanted = f.attr("enabled")
			}
		}
	}
	whole := *want
	whole.children = slices.Clone(want.children)
	whole.children[slices.Index(whole.children, os)] = &reduced
	if have := yesNo(loader.attr("secure") == "yes"); have != wanted {
		return &whole, &Difference{What: "secure boot", Have: have, Want: wanted}
	}
	return &whole, nil
}

func compare(path string, want, have *element, found *[]Difference) {
	for _, name := range sortedKeys(want.attrs) {
		w, h := want.attrs[name], have.attrs[name]
		if !sameValue(path, name, w, h, want, have) {
			*found = append(*found, describe(path, "@"+name, h, w))
		}
	}
	if want.text != "" && !sameText(path, want, have) {
		*found = append(*found, describe(path, "", textOf(path, have), textOf(path, want)))
	}
	taken := map[*element]bool{}
	for _, w := range want.children {
		if ignored(path, w) {
			continue
		}
		at := path + "/" + w.name
		best, fewest := (*element)(nil), []Difference(nil)
		for _, h := range have.children {
			if h.name != w.name || taken[h] || !sameKey(at, w, h) {
				continue
			}
			var d []Difference
			compare(at, w, h, &d)
			if best == nil || len(d) < len(fewest) {
				best, fewest = h, d
			}
			if len(d) == 0 {
				break
			}
		}
		if best == nil {
			if !impliedByAbsence(at, w) {
				*found = append(*found, Difference{What: nameOf(at, w), Want: summary(at, w)})
			}
			continue
		}
		taken[best] = true
		*found = append(*found, fewest...)
	}
}

// ignored are the parts that tell nothing of the VM: our own metadata, and the
// balloon's size of the moment.
func ignored(path string, e *element) bool {
	return path == "" && (e.name == "metadata" || e.name == "currentMemory" || e.name == "uuid")
}

// sameKey keeps devices apart that have an identity of their own, so that a
// difference names the right one.
func sameKey(at string, want, have *element) bool {
	if !strings.HasPrefix(at, "/devices/") {
		return true
	}
	w, h := deviceKey(want), deviceKey(have)
	return w == "" || w == h
}

// deviceKey is a device's identity within a domain; empty for devices that are
// known by their content only.
func deviceKey(e *element) string {
	switch e.name {
	case "disk":
		return "disk:" + e.at("target").attr("dev")
	case "interface":
		// A NIC whose MAC changes is another NIC to the guest, yet it is this
		// VM's NIC: there is one, and the MAC is compared as a value.
		return ""
	case "hostdev":
		if e.attr("type") == "usb" {
			s := e.at("source")
			return "usb:" + trimHex(s.at("vendor").attr("id")) + ":" + trimHex(s.at("product").attr("id"))
		}
		a := e.at("source", "address")
		return "hostdev:" + strings.Join([]string{a.attr("domain"), a.attr("bus"), a.attr("slot"), a.attr("function"), a.attr("uuid")}, ".")
	case "controller":
		return "controller:" + e.attr("type") + ":" + e.attr("index")
	case "filesystem":
		return "filesystem:" + e.at("target").attr("dir")
	case "channel":
		return "channel:" + e.at("target").attr("name")
	}
	return ""
}

func sameValue(path, name, want, have string, w, h *element) bool {
	if want == have {
		return true
	}
	switch {
	case path == "/os/type" && name == "machine":
		return want == "q35" && isQ35(have)
	case name == "unit":
		// The unit belongs to the text, which is compared in bytes.
		return true
	case path == "/devices/interface/mac" && name == "address":
		return sameMAC(want, have)
	case name == "id" && strings.HasPrefix(path, "/devices/hostdev"):
		return trimHex(want) == trimHex(have)
	case path == "/devices/graphics" && name == "port":
		// -1 asks for any port; a running VM has got one.
		return want == "-1"
	case path == "/devices/console" && name == "type", path == "/devices/serial" && name == "type":
		return want == have
	}
	return false
}

func sameText(path string, want, have *element) bool {
	if want.text == have.text {
		return true
	}
	switch path {
	case "/memory", "/maxMemory":
		return kib(want) == kib(have) && kib(want) > 0
	case "/uuid":
		return strings.EqualFold(want.text, have.text)
	}
	return false
}

// kib reads a memory element with its unit.
func kib(e *element) uint64 {
	n, err := strconv.ParseUint(e.content(), 10, 64)
	if err != nil {
		return 0
	}
	switch e.attr("unit") {
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

func textOf(path string, e *element) string {
	if path == "/memory" {
		return strconv.FormatUint(kib(e)>>10, 10)
	}
	return e.text
}

// impliedByAbsence are elements whose absence in libvirt's account means what
// the definition says.
func impliedByAbsence(at string, want *element) bool {
	return at == "/os/firmware" && want.at("feature").attr("enabled") == "no"
}

// withoutOptional leaves out of a definition the optional devices and media
// that the running VM lacks.
func withoutOptional(want, live *element) *element {
	devices, running := want.at("devices"), live.at("devices")
	if devices == nil || running == nil {
		return want
	}
	reduced := *devices
	reduced.children = nil
	for _, d := range devices.children {
		if d.at("source").attr("startupPolicy") == "" {
			reduced.children = append(reduced.children, d)
			continue
		}
		i := slices.IndexFunc(running.children, func(r *element) bool {
			return r.name == d.name && deviceKey(r) == deviceKey(d)
		})
		switch {
		case i < 0:
			if d.name == "disk" {
				reduced.children = append(reduced.children, d)
			}
		case running.children[i].at("source") == nil:
			empty := *d
			empty.children = slices.DeleteFunc(slices.Clone(d.children), func(c *element) bool { return c.name == "source" })
			reduced.children = append(reduced.children, &empty)
		default:
			reduced.children = append(reduced.children, d)
		}
	}
	whole := *want
	whole.children = slices.Clone(want.children)
	whole.children[slices.Index(whole.children, devices)] = &reduced
	return &whole
}

// describe puts a difference in words that a person would use.
func describe(path, attr, have, want string) Difference {
	names := map[string]Difference{
		"/memory":                          {What: "ram", Unit: "MiB"},
		"/vcpu":                            {What: "vcpu"},
		"/name":                            {What: "name"},
		"@type":                            {What: "domain type"},
		"/os/type@machine":                 {What: "machine"},
		"/os@firmware":                     {What: "firmware"},
		"/os/nvram":                        {What: "firmware variables"},
		"/os/firmware/feature@enabled":     {What: "secure boot"},
		"/cpu/topology@cores":              {What: "cores"},
		"/cpu@mode":                        {What: "cpu mode"},
		"/devices/interface/mac@address":   {What: "mac"},
		"/devices/interface/source@bridge": {What: "bridge"},
		"/devices/interface/model@type":    {What: "nic model"},
		"/devices/disk/source@file":        {What: "disk file"},
		"/devices/disk/driver@type":        {What: "disk format"},
	}
	d, known := names[path+attr]
	if !known {
		d.What = strings.TrimPrefix(strings.TrimPrefix(path, "/devices"), "/") + attr
	}
	d.Have, d.Want = have, want
	if d.Have == "" {
		d.Have = "none"
	}
	return d
}

// nameOf names an element that is missing altogether.
func nameOf(at string, e *element) string {
	switch at {
	case "/devices/disk":
		return e.attr("device") + " " + e.at("target").attr("dev")
	case "/devices/hostdev":
		return strings.Replace(deviceKey(e), "usb:", "USB device ", 1)
	}
	return strings.TrimPrefix(strings.TrimPrefix(at, "/devices"), "/")
}

func summary(at string, e *element) string {
	switch at {
	case "/devices/disk":
		if file := e.at("source").attr("file"); file != "" {
			return file
		}
		return "an empty drive"
	case "/devices/disk/source":
		return e.attr("file")
	case "/devices/hostdev":
		return "it"
	}
	if e.text != "" {
		return e.text
	}
	var parts []string
	for _, k := range sortedKeys(e.attrs) {
		parts = append(parts, fmt.Sprintf("%s=%s", k, e.attrs[k]))
	}
	if len(parts) == 0 {
		return "yes"
	}
	return strings.Join(parts, " ")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
