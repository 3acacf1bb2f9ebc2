package vmstore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// metadataSpace is the name space of our element in a domain's <metadata>,
// which libvirt keeps as it is.
const metadataSpace = "urn:hvinstall:vm:1"

// metadata is what a domain carries of us.
type metadata struct {
	source  string   // hash of the definition
	devices []string // keys of the devices that the definition has
	adopted bool     // the VM was there before us
}

// sourceHash is the definition's identity.
func sourceHash(xml string) string {
	sum := sha256.Sum256([]byte(xml))
	return hex.EncodeToString(sum[:16])
}

func (m metadata) xml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<hvinstall:vm xmlns:hvinstall=%q source=%q`, metadataSpace, m.source)
	if m.adopted {
		b.WriteString(` adopted="yes"`)
	}
	b.WriteString(">")
	for _, d := range m.devices {
		b.WriteString(`<hvinstall:device key="`)
		_ = xml.EscapeText(&b, []byte(d))
		b.WriteString(`"/>`)
	}
	b.WriteString("</hvinstall:vm>")
	return b.String()
}

// readMetadata finds our element in a domain's description.
func readMetadata(domain *element) (metadata, bool) {
	all := domain.at("metadata")
	if all == nil {
		return metadata{}, false
	}
	i := slices.IndexFunc(all.children, func(c *element) bool { return c.space == metadataSpace })
	if i < 0 {
		return metadata{}, false
	}
	e := all.children[i]
	m := metadata{source: e.attr("source"), adopted: e.attr("adopted") == "yes"}
	for _, d := range e.all("device") {
		m.devices = append(m.devices, d.attr("key"))
	}
	return m, true
}

var metadataEnd = regexp.MustCompile(`</metadata>|<metadata\s*/>`)

// findMetadata is where a definition's own metadata ends, which only a user's
// template has; a plain search first spares the expression on all others.
func findMetadata(definition string) []int {
	if !strings.Contains(definition, "metadata") {
		return nil
	}
	return metadataEnd.FindStringIndex(definition)
}

// withMetadata puts our element into a definition, beside what a template may
// have there.
func withMetadata(definition string, root *element, m metadata) (string, error) {
	if at := findMetadata(definition); at != nil {
		head, tail := definition[:at[0]], definition[at[1]:]
		if definition[at[0]:at[0]+2] != "</" {
			head += "<metadata>"
		}
		return head + m.xml() + "</metadata>" + tail, nil
	}
	name := root.at("name")
	if name == nil {
		return "", fmt.Errorf("a domain needs a <name>")
	}
	return definition[:name.end] + "\n  <metadata>" + m.xml() + "</metadata>" + definition[name.end:], nil
}

// deviceKeys are the devices of a definition that a person could have added to
// a VM as well; those we put there are told apart by them.
func deviceKeys(domain *element) []string {
	var keys []string
	for _, d := range devicesOfNote(domain) {
		keys = append(keys, noteKey(d))
	}
	return keys
}

// devicesOfNote are those that a person adds to a VM by hand, and would miss.
func devicesOfNote(domain *element) []*element {
	var found []*element
	devices := domain.at("devices")
	if devices == nil {
		return nil
	}
	for _, d := range devices.children {
		switch d.name {
		case "disk", "interface", "hostdev", "filesystem", "redirdev", "shmem", "vsock", "watchdog", "parallel", "smartcard", "memory", "iommu":
			found = append(found, d)
		}
	}
	return found
}

func noteKey(e *element) string {
	if e.name == "interface" {
		return "interface:" + strings.ToLower(e.at("mac").attr("address"))
	}
	if key := deviceKey(e); key != "" {
		return key
	}
	return e.name + ":" + e.attr("type") + e.attr("model")
}

// byHand are the devices of a domain that neither the definition has nor an
// earlier definition of ours had. They stay: a redefinition carries them over.
func byHand(have, want *element, m metadata, ours bool) []*element {
	known := deviceKeys(want)
	if ours {
		known = append(known, m.devices...)
	}
	nics := 0
	var found []*element
	for _, d := range devicesOfNote(have) {
		if d.name == "interface" {
			nics++
			if nics == 1 && !ours {
				continue // an adopted VM's first NIC is the one that the layout describes
			}
		}
		if d.name == "watchdog" && d.attr("model") == "itco" {
			continue // part of every q35
		}
		if !slices.Contains(known, noteKey(d)) {
			found = append(found, d)
		}
	}
	return found
}

// withDevices adds raw device elements to a definition.
func withDevices(definition, from string, devices []*element) string {
	if len(devices) == 0 {
		return definition
	}
	at := strings.LastIndex(definition, "</devices>")
	if at < 0 {
		return definition
	}
	var b strings.Builder
	b.WriteString(definition[:at])
	for _, d := range devices {
		b.WriteString("  " + from[d.start:d.end] + "\n  ")
	}
	b.WriteString(definition[at:])
	return b.String()
}

var machineQ35 = regexp.MustCompile(`machine=(["'])q35["']`)

// withMachine pins a definition's q35 to the version that the domain has: a
// newer QEMU would otherwise give a guest that exists new hardware.
func withMachine(definition, machine string) string {
	if machine == "" || !isQ35(machine) {
		return definition
	}
	return machineQ35.ReplaceAllString(definition, "machine=${1}"+machine+"${1}")
}
