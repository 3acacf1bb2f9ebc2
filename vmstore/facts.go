package vmstore

import "github.com/beevik/etree"

// Facts is what Probe found: plain values, so that a plan can be made from
// them on another machine.
type Facts struct {
	Libvirt Libvirt  `json:"libvirt"`
	Domains []Domain `json:"domains,omitempty"`
	// Files are the images, installers and disks that the layout or a domain
	// names and that are there, by path.
	Files map[string]File `json:"files,omitempty"`
	// Directories are the entries of libvirt_vmstore_root, by name.
	Directories map[string]Directory `json:"directories,omitempty"`
	// Sources are the images to be downloaded, by URL: what their servers say.
	Sources map[string]Source `json:"sources,omitempty"`
	// Links are the images that build on other files, and Missing those of these
	// files that are not there.
	Links   []Link   `json:"links,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Saved are the domain.xml files in the VMs' directories, by VM.
	Saved map[string]Saved `json:"saved,omitempty"`
	// Previous is what the store keeps of VMs that are gone or were changed.
	Previous []Previous `json:"previous,omitempty"`
	// Texts are the user's templates, by path.
	Texts map[string]string `json:"texts,omitempty"`
	// Seeds are the files of cloud-init that the layout names, by path: the
	// SHA-256 of each, for what is in them may be a secret.
	Seeds map[string]string `json:"seeds,omitempty"`
	Host  Host              `json:"host"`
}

// Libvirt says what answered.
type Libvirt struct {
	URI       string `json:"uri"`
	Local     bool   `json:"local"` // its files are this machine's files
	Reachable bool   `json:"reachable"`
	Why       string `json:"why,omitempty"` // why it is not reachable
	Version   string `json:"version,omitempty"`
	// KVM and Firmware are by libvirt's own account.
	KVM        bool `json:"kvm,omitempty"`
	UEFI       bool `json:"uefi,omitempty"`
	SecureBoot bool `json:"secure_boot,omitempty"`
	TPM        bool `json:"tpm,omitempty"`
	// CapabilitiesKnown is false for a libvirt that was not asked or did not say.
	CapabilitiesKnown bool `json:"capabilities_known,omitempty"`
}

// Domain is one VM that libvirt knows.
type Domain struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid"`
	State      string `json:"state"` // running, paused, shut off, …
	Active     bool   `json:"active,omitempty"`
	Persistent bool   `json:"persistent,omitempty"`
	// Reason is libvirt's, of a VM that does not run well: "I/O error".
	Reason string `json:"reason,omitempty"`
	// Failing are its disks that had I/O errors, by target.
	Failing []string `json:"failing,omitempty"`
	// Suspended is the description of the state that libvirt saved: the VM goes
	// on with it when it is started.
	Suspended string `json:"suspended,omitempty"`
	Autostart bool   `json:"autostart,omitempty"`

	// Ours, Adopted, Devices and System are from our metadata.
	Ours    bool     `json:"ours,omitempty"`
	Adopted bool     `json:"adopted,omitempty"`
	Devices []string `json:"devices,omitempty"` // those that the layout describes
	System  string   `json:"system,omitempty"`  // target of the disk that it starts from

	Type       string       `json:"type,omitempty"` // kvm, qemu, …
	Machine    string       `json:"machine,omitempty"`
	RAMMB      int          `json:"ram_mb,omitempty"` // of the next start
	VCPU       int          `json:"vcpu,omitempty"`
	LiveRAMMB  int          `json:"live_ram_mb,omitempty"` // of the running VM
	LiveVCPU   int          `json:"live_vcpu,omitempty"`
	UEFI       bool         `json:"uefi,omitempty"`
	SecureBoot bool         `json:"secure_boot,omitempty"`
	NVRAM      string       `json:"nvram,omitempty"`
	TPM        bool         `json:"tpm,omitempty"`
	Disks      []DomainDisk `json:"disks,omitempty"`
	NICs       []DomainNIC  `json:"nics,omitempty"`
	USB        []USB        `json:"usb,omitempty"`

	// Inactive and Live are libvirt's own descriptions: of the next start, and
	// of what runs.
	Inactive string `json:"inactive,omitempty"`
	Live     string `json:"live,omitempty"`
	// tree is the first of them, read.
	tree *etree.Document
}

// DomainDisk is a disk or drive of a domain.
type DomainDisk struct {
	Target string `json:"target"`
	Bus    string `json:"bus,omitempty"`
	Device string `json:"device"`         // disk, cdrom, …
	Kind   string `json:"kind,omitempty"` // file, block, network, …
	Path   string `json:"path,omitempty"`
	Source string `json:"source,omitempty"` // of a volume or network disk: pool/volume, rbd:pool/image
	Format string `json:"format,omitempty"`
	Boot   int    `json:"boot,omitempty"` // its place in the boot order; 0: none
}

// DomainNIC is a network card of a domain.
type DomainNIC struct {
	MAC    string `json:"mac"`
	Model  string `json:"model,omitempty"`
	Bridge string `json:"bridge,omitempty"`
	Layout bool   `json:"layout,omitempty"` // the one that the layout describes
}

// File is a disk image or installer that is there.
type File struct {
	Format    string `json:"format"`            // qcow2, raw, iso, …
	Virtual   int64  `json:"virtual,omitempty"` // bytes that the guest sees
	Size      int64  `json:"size"`              // the file's length
	Allocated int64  `json:"allocated"`         // bytes that it takes on the disk
	Problem   string `json:"problem,omitempty"` // why it is no whole image
	// Needs is another file that the image needs: what a snapshot made, and
	// what no download may bring.
	Needs string `json:"needs,omitempty"`
}

// Directory is an entry of libvirt_vmstore_root.
type Directory struct {
	Kind      string `json:"kind"` // directory, symlink, file, …
	Files     int    `json:"files,omitempty"`
	Allocated int64  `json:"allocated,omitempty"`
	NoCOW     bool   `json:"nocow,omitempty"`
}

// Saved is a domain.xml beside a VM's disk: what libvirt had when it was written.
type Saved struct {
	XML     string `json:"xml,omitempty"` // without passwords
	Problem string `json:"problem,omitempty"`
}

// Source is what a server says of an image that is to be downloaded.
type Source struct {
	Size    int64  `json:"size,omitempty"` // bytes; 0 where the server does not say
	Problem string `json:"problem,omitempty"`
	// Sum is what the list of sums that Checksum names says of it: sha256:HEX.
	Checksum string `json:"checksum,omitempty"`
	Sum      string `json:"sum,omitempty"`
}

// Host is what the machine can do.
type Host struct {
	Known     bool     `json:"known"` // false in facts that were not captured on the hypervisor
	RAM       int64    `json:"ram,omitempty"`
	Swap      int64    `json:"swap,omitempty"`
	CPUs      int      `json:"cpus,omitempty"`
	KVM       Device   `json:"kvm"`
	QEMUUser  string   `json:"qemu_user,omitempty"`
	QEMUFound bool     `json:"qemu_found,omitempty"`
	Blocked   string   `json:"blocked,omitempty"` // the directory on the way to the root that the qemu user cannot pass
	Bridges   []string `json:"bridges,omitempty"`
	// Firmware are the descriptors that libvirt selects from.
	Firmware []Firmware `json:"firmware,omitempty"`
	// AppArmor is true where libvirt's profiles confine VMs; AppArmorReads are
	// the path patterns that its helper may read.
	AppArmor      bool           `json:"apparmor,omitempty"`
	AppArmorReads []string       `json:"apparmor_reads,omitempty"`
	Free          int64          `json:"free,omitempty"`    // bytes free below the root
	RootFS        string         `json:"root_fs,omitempty"` // its file system's type
	RootMissing   bool           `json:"root_missing,omitempty"`
	USB           map[string]int `json:"usb,omitempty"`      // devices plugged in, by 1a86:7523, and how many of each
	Programs      []string       `json:"programs,omitempty"` // those found of the ones we may need
	// USBPlaces are the same devices by bus and device number, "1.4", and by
	// port, "1-2".
	USBPlaces map[string]string `json:"usb_places,omitempty"`
	// BootUnit is true where hvinstall-vms.service is enabled.
	BootUnit bool `json:"boot_unit,omitempty"`
}

// Device is a device node as the qemu user sees it.
type Device struct {
	Present bool   `json:"present,omitempty"`
	Usable  bool   `json:"usable,omitempty"`
	Why     string `json:"why,omitempty"` // why it is not usable
}

// Firmware is one descriptor of /usr/share/qemu/firmware.
type Firmware struct {
	Path       string `json:"path"`
	Code       string `json:"code"` // the file that it names
	UEFI       bool   `json:"uefi,omitempty"`
	SecureBoot bool   `json:"secure_boot,omitempty"`
	Enrolled   bool   `json:"enrolled,omitempty"`
	Missing    bool   `json:"missing,omitempty"` // a file that it names is not there
}

func (f Facts) domain(name string) *Domain {
	for i := range f.Domains {
		if f.Domains[i].Name == name {
			return &f.Domains[i]
		}
	}
	return nil
}
