package install

import (
	"time"

	"hvinstall/disk"
	"hvinstall/net/bridge"
	"hvinstall/net/filter"
	"hvinstall/osimage"
	"hvinstall/vmstore"
)

// FactsVersion is the form of Facts as JSON. Fields are added within a
// version; one that changes its meaning makes a new one.
const FactsVersion = 1

// Facts is a machine as Probe saw it. It is plain JSON, so that a plan can be
// made from a machine captured elsewhere. It holds no secrets: names, numbers
// and what is on the disks by type and label.
type Facts struct {
	Version        int          `json:"version"`
	Taken          time.Time    `json:"taken"`
	Hostname       string       `json:"hostname,omitempty"`
	Seed           string       `json:"seed,omitempty"`    // that this host keeps: what its disks' identities were derived from
	Vendor         string       `json:"vendor,omitempty"`  // of the machine, from DMI
	Product        string       `json:"product,omitempty"` // of the machine, from DMI
	CPUs           int          `json:"cpus"`              // that this process may use
	CPUVendor      string       `json:"cpu_vendor,omitempty"`
	Memory         Memory       `json:"memory"`
	UEFI           bool         `json:"uefi"`                     // booted by UEFI
	KVM            bool         `json:"kvm"`                      // /dev/kvm is there and may be opened
	Root           bool         `json:"root"`                     // taken as root: otherwise much is unseen
	Live           bool         `json:"live"`                     // the running system is a live one: its root is in memory
	Virtualisation string       `json:"virtualisation,omitempty"` // what the machine itself runs in: kvm, qemu, vmware, …; empty on bare metal
	Kernel         string       `json:"kernel,omitempty"`         // release
	OS             string       `json:"os,omitempty"`             // os-release's ID and version, as "debian 12"
	Modules        []string     `json:"modules,omitempty"`        // kernel modules of disk controllers and USB hosts
	Disks          disk.Facts   `json:"disks"`
	Network        bridge.Facts `json:"network"`
	Filter         filter.Facts `json:"filter,omitzero"`
	// Accounts are those of the installed host that is looked at.
	Accounts osimage.AccountFacts `json:"accounts,omitzero"`

	// LiveImage is the system image on the live medium, with the sum that the
	// medium states for it; nil in another system.
	LiveImage *LiveImage `json:"live_image,omitempty"`
	// VMs is there when a layout with VMs was at hand; see ProbeVMs.
	VMs *vmstore.Facts `json:"vms,omitempty"`
}

// LiveImage is a squashfs on the live medium.
type LiveImage struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// Memory is in bytes.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"` // what can be taken without swapping
}

// Unseen is everything that could not be read, and why.
func (f Facts) Unseen() []string {
	unseen := append([]string(nil), f.Disks.Unseen...)
	return append(unseen, f.Network.Unseen...)
}
