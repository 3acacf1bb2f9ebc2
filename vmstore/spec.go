package vmstore

import (
	"cmp"
	"path/filepath"

	"hvinstall/configs"
)

// Spec is one VM with every default filled in and every path decided. It is
// the data of the domain XML templates, so its field names are API.
type Spec struct {
	Name       string
	UUID       string
	DomainType string // kvm or qemu
	Machine    string // q35, or what an adopted VM has
	VCPU       int
	RAMMB      int
	MAC        string
	Bridge     string
	NICModel   string // virtio, or what an adopted VM has

	Dir        string // <libvirt_vmstore_root>/<name>
	Disk       string // the system disk
	DiskFormat string // qcow2, or what an adopted VM has
	DiskKind   string // file, or what an adopted VM has: block, network, volume
	DiskTarget string // vda
	DiskBus    string // virtio
	DiskGB     int    // wanted size in GiB; 0: as it comes

	CDROM bool   // the VM has a drive for its installer
	ISO   string // the medium in it; empty: none
	Seed  string // the NoCloud seed's path; empty: none

	UEFI       bool
	SecureBoot bool
	TPM        bool
	NVRAM      string

	USB []USB
}

// USB is a host device handed to a VM, as 0x1a86 and 0x7523.
type USB struct {
	Vendor  string `json:"vendor"`
	Product string `json:"product"`
}

func (u USB) String() string {
	return trimHex(u.Vendor) + ":" + trimHex(u.Product)
}

const (
	defaultRoot   = "/mnt/vmstore"
	defaultURI    = "qemu:///system"
	defaultBridge = "br0"
	defaultType   = "kvm"
	defaultVCPU   = 2
	defaultRAMMB  = 2048
	// defaultDiskGB is the empty disk of an ISO VM that names no size. It is
	// sparse: it takes room only as the guest writes.
	defaultDiskGB = 32
)

// defaults fills in what the layout leaves out. The loader does this too;
// facts and layouts made by hand in tests and other callers need it here.
func defaults(want configs.VMPlan) configs.VMPlan {
	or := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	or(&want.VMStoreRoot, defaultRoot)
	or(&want.URI, defaultURI)
	or(&want.DefaultBridge, defaultBridge)
	want.VMStoreRoot = filepath.Clean(want.VMStoreRoot)
	vms := make([]configs.VM, len(want.VMs))
	for i, vm := range want.VMs {
		or(&vm.State, "present")
		vms[i] = vm
	}
	want.VMs = vms
	return want
}

// isTrue reads a three-valued switch.
func isTrue(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// specFor decides everything about one VM. have is the domain of that name,
// nil when there is none: what a running system depends on (UUID, disk, MAC,
// machine, firmware variables) is taken from it rather than made anew.
func specFor(want configs.VMPlan, vm configs.VM, hostname string, have *Domain) Spec {
	dir := filepath.Join(want.VMStoreRoot, vm.Name)
	s := Spec{
		Name: vm.Name, UUID: UUID(hostname, vm.Name), DomainType: cmp.Or(want.DomainType, defaultType), Machine: "q35",
		VCPU: cmp.Or(vm.VCPU, defaultVCPU), RAMMB: cmp.Or(vm.RAMMB, defaultRAMMB), MAC: vm.MACAddress,
		Bridge: cmp.Or(vm.Bridge, want.DefaultBridge), NICModel: "virtio",
		Dir: dir, Disk: filepath.Join(dir, vm.Name+".qcow2"), DiskFormat: "qcow2", DiskKind: "file", DiskTarget: "vda", DiskBus: "virtio",
		DiskGB:     vm.DiskGB,
		UEFI:       isTrue(vm.Firmware.UEFI, true),
		SecureBoot: vm.Firmware.SecureBoot,
		TPM:        vm.Firmware.TPM,
		NVRAM:      filepath.Join(dir, vm.Name+"_VARS.fd"),
	}
	if vm.DiskImage != nil {
		s.Disk = filepath.Clean(vm.DiskImage.Dest)
	}
	if vm.ISOImage != nil {
		s.CDROM = true
		if isTrue(vm.ISOImage.EnableMount, true) {
			s.ISO = filepath.Clean(vm.ISOImage.Dest)
		}
		if s.DiskGB == 0 {
			s.DiskGB = defaultDiskGB
		}
	}
	if vm.CloudInit != nil {
		s.Seed = filepath.Join(dir, "seed.iso")
	}
	for _, u := range vm.USBDevices {
		s.USB = append(s.USB, USB{Vendor: "0x" + trimHex(u.VendorID), Product: "0x" + trimHex(u.ProductID)})
	}
	if have != nil {
		s.keep(vm, have)
		s.DomainType = cmp.Or(want.DomainType, have.Type, defaultType)
		if vm.Bridge == "" && !have.made() && !templated(want, vm) {
			s.Bridge = have.bridge(s.MAC)
		}
	}
	if s.MAC == "" {
		s.MAC = MAC(hostname, vm.Name)
	}
	if !s.UEFI {
		s.NVRAM, s.SecureBoot = "", false
	}
	return s
}

// templated says whether a template of the user's makes the definition.
func templated(want configs.VMPlan, vm configs.VM) bool {
	return vm.DiskImage != nil && want.DiskTemplate != "" || vm.ISOImage != nil && want.ISOTemplate != ""
}

// made says whether hvinstall made the VM, and did not take it over.
func (d *Domain) made() bool { return d.Ours && !d.Adopted }

// bridge is what the layout's NIC is plugged into: the one with this MAC, else
// the one that is described by the layout. Empty: it is on no bridge.
func (d *Domain) bridge(mac string) string {
	found := ""
	for _, nic := range d.NICs {
		if sameMAC(nic.MAC, mac) {
			return nic.Bridge
		}
		if nic.Layout {
			found = nic.Bridge
		}
	}
	return found
}

// keep takes over what an existing domain's guest depends on: the hardware that
// it was installed on, and the disk that it starts from. A snapshot puts an
// overlay in the disk's place; to go back to the file below it would lose all
// that was written since.
func (s *Spec) keep(vm configs.VM, have *Domain) {
	made := have.made()
	// What the layout leaves out is the VM's own: another number of processors
	// or another size is not what a line that is not there asks for.
	s.VCPU, s.RAMMB = cmp.Or(vm.VCPU, have.VCPU, defaultVCPU), cmp.Or(vm.RAMMB, have.RAMMB, defaultRAMMB)
	s.UUID = have.UUID
	if have.NVRAM != "" {
		s.NVRAM = have.NVRAM
	}
	if have.Machine != "" {
		s.Machine = have.Machine
	}
	for _, nic := range have.NICs {
		if !nic.Layout {
			continue
		}
		if s.MAC == "" {
			s.MAC = nic.MAC
		}
		if nic.Model != "" {
			s.NICModel = nic.Model
		}
	}
	if disk, found, _ := have.systemDisk(s.Disk); found {
		s.Disk, s.DiskTarget, s.DiskBus = disk.Path, disk.Target, disk.Bus
		if disk.Kind != "" {
			s.DiskKind = disk.Kind
		}
		switch {
		case disk.Format != "":
			s.DiskFormat = disk.Format
		case s.DiskKind == "file":
			// libvirt takes a disk whose format is not named as raw; what a guest
			// wrote to its beginning says nothing.
			s.DiskFormat = formatRaw
		}
	}
	s.TPM = s.TPM || have.TPM
	// A guest installed under BIOS does not start under UEFI, nor the other
	// way: only what the layout cannot mean by its defaults counts.
	s.UEFI = have.UEFI && (!made || isTrue(vm.Firmware.UEFI, true))
	s.SecureBoot = have.SecureBoot || made && vm.Firmware.SecureBoot && s.UEFI
}
