package vmstore

import "strings"

// ownedPath is one place in a domain's description that the layout decides.
type ownedPath struct {
	path string // an XPath without places in lists
	key  string // what of the layout decides it
	// hardware is true where the guest sees another machine after the change:
	// adopting a VM then takes the word "adopt".
	hardware bool
}

// owned is all that a run may change in a VM that exists, besides what a
// user's template states. Everything else in libvirt's description stays as it
// is, order included; the merge refuses to touch what is not in this table.
var owned = []ownedPath{
	{"/domain/@type", "libvirt_domain_type", true},
	{"/domain/metadata", "", false}, // hvinstall's own element in it
	{"/domain/metadata/hvinstall:vm", "", false},
	{"/domain/memory", "ram_mb", false},
	{"/domain/currentMemory", "ram_mb", false},
	{"/domain/vcpu", "vcpu", false},
	{"/domain/vcpu/@current", "vcpu", false},
	{"/domain/cpu/topology/@cores", "vcpu", false},
	{"/domain/cputune/vcpupin", "vcpu", false}, // of processors that are gone
	{"/domain/cputune/vcpusched", "vcpu", false},
	{"/domain/os/@firmware", "firmware", true},
	{"/domain/os/firmware", "firmware", true},
	{"/domain/os/loader", "firmware", true},
	{"/domain/os/nvram", "firmware", true},
	{"/domain/os/nvram/@template", "firmware", true},
	{"/domain/os/nvram/@templateFormat", "firmware", true},
	{"/domain/features/smm", "firmware", true},
	{"/domain/devices/tpm", "firmware.tpm", true},
	{"/domain/devices/interface", "bridge", true},
	{"/domain/devices/interface/@type", "bridge", true},
	{"/domain/devices/interface/source", "bridge", true},
	{"/domain/devices/interface/source/@bridge", "bridge", false},
	{"/domain/devices/interface/mac/@address", "mac_address", true},
	{"/domain/devices/disk", "iso_image, cloud_init", true}, // drives of the installer and the seed
	{"/domain/devices/disk/source", "iso_image, cloud_init", false},
	{"/domain/devices/disk/source/@file", "iso_image, cloud_init", false},
	{"/domain/devices/hostdev", "usb_devices", true},
}

// ownerOf finds a path's line in the table.
func ownerOf(path string) (ownedPath, bool) {
	plain := withoutPlaces(path)
	for _, o := range owned {
		if o.path == plain {
			return o, true
		}
	}
	return ownedPath{}, false
}

// withoutPlaces is the path without [1].
func withoutPlaces(path string) string {
	var b strings.Builder
	for rest := path; ; {
		before, after, found := strings.Cut(rest, "[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, rest, _ = strings.Cut(after, "]")
	}
}
