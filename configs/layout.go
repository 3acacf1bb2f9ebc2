// Package configs is layout.yaml: its types, its strict decoding, its
// validation and its JSON Schema.
//
// It reads the bytes it is given and nothing else: it never looks at the
// machine, so that a layout can be checked anywhere. Every error it returns
// points at file:line:column.
package configs

// The tags of a field say all that the decoder, the JSON Schema and
// docs/layout.md need:
//
//	yaml      its key; required without omitempty
//	doc       what it means
//	default   filled in when the key is absent; after = only told, and filled
//	          in by defaults.go because it depends on other keys
//	form      how the text, or each text of a list, must look: forms.go
//	enum      the words allowed
//	min, max  of a number, of a size in bytes, of a duration in seconds
//	plain     number: text that YAML may read as a number is taken as written
//	short     the struct may be written as this field alone
//	single    a list of one may be written as its element
//	mapkey    the list is a mapping, in the file's order, whose keys go to this
//	          field (and its values to mapvalue), keyform says how keys look
//	secret    never shown
//	example   for docs/layout.md, where neither default nor form has one

// Layout is the whole of layout.yaml, with defaults filled in by Load.
type Layout struct {
	Hostname   string     `yaml:"hostname" doc:"the host's name; one DNS label" form:"hostname" example:"hypervisor"`
	Seed       string     `yaml:"seed,omitempty" doc:"what the identities of new disks are derived from; drawn at the first installation and kept on the disks; give another one to make a host anew" form:"word" default:"=drawn" example:"hypervisor-2026"`
	OS         *OS        `yaml:"os,omitempty" doc:"the system disk and what is installed on it; absent: this host's system is left alone" example:"{disk: /dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A, nixos: {flake: github:me/infra#hypervisor}}"`
	Pools      []Pool     `yaml:"pools,omitempty" doc:"btrfs RAID1 pools by name, each disk in a LUKS2 volume of its own" mapkey:"Name" keyform:"pool" example:"{bulk: {disks: [/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2, /dev/disk/by-id/ata-ST2000VN004-2E4164_Z523C4D5], storage_media: hdd}}"`
	Encryption Encryption `yaml:"encryption,omitempty" doc:"how the LUKS volumes are unlocked" example:"{usb_keys: [{uuid: 8B34-7D3C}]}"`

	Network    *Network    `yaml:"network,omitempty" doc:"the bridge that puts VMs on the LAN" example:"{nic: enp5s0}"`
	NFSExports *NFSExports `yaml:"nfs_exports,omitempty" doc:"directories served by NFS" example:"{exports: [{path: /mnt/bulk/apps-vm}]}"`
	Locale     Locale      `yaml:"locale,omitempty" doc:"language, time zone and keyboard" example:"{timezone: Europe/Brussels, keymap: be}"`
	Users      []User      `yaml:"users,omitempty" doc:"accounts of the installed system" example:"[{name: snyssen, groups: [wheel]}]"`
	Libvirtd   Libvirtd    `yaml:"libvirtd,omitempty" doc:"who may use libvirt" example:"{users: [snyssen]}"`

	VMPlan `yaml:",inline"`

	// Path is the file the layout was read from; errors name it.
	Path string `yaml:"-" json:"-"`
	// Source is the file's text as it was read, without what --vms replaced.
	Source []byte `yaml:"-" json:"-"`
}

// VMPlan holds the libvirt_* keys, which are those of the Ansible role that
// hvinstall replaces; --vms reads only these from another file.
type VMPlan struct {
	VMStoreRoot   string   `yaml:"libvirt_vmstore_root,omitempty" doc:"where each VM has its directory" default:"/mnt/vmstore" form:"path"`
	DefaultBridge string   `yaml:"libvirt_default_bridge,omitempty" doc:"bridge of a VM that names none" default:"=network.bridge, else br0" form:"ifname" example:"br0"`
	URI           string   `yaml:"libvirt_uri,omitempty" doc:"libvirt connection" default:"qemu:///system" form:"libvirt_uri"`
	DomainType    string   `yaml:"libvirt_domain_type,omitempty" doc:"kvm, or qemu where there is no usable KVM" enum:"kvm,qemu" default:"=kvm; of a VM that exists what it has" example:"kvm"`
	DiskTemplate  string   `yaml:"libvirt_disk_template,omitempty" doc:"a Go template file that replaces the domain XML of disk_image VMs" form:"file" example:"/etc/hvinstall/disk.xml.tmpl"`
	ISOTemplate   string   `yaml:"libvirt_iso_template,omitempty" doc:"a Go template file that replaces the domain XML of iso_image VMs" form:"file" example:"/etc/hvinstall/iso.xml.tmpl"`
	PurgeAfter    Duration `yaml:"libvirt_purge_after,omitempty" doc:"an absent VM's directory is moved aside and deleted after this time, rather than at once" min:"0" max:"31536000" default:"=at once" example:"7d"`
	Overcommit    string   `yaml:"libvirt_overcommit,omitempty" doc:"VMs with more memory or processors than the machine: warn says so, and refuses one VM that is larger than the machine; allow does neither" enum:"warn,allow" default:"=warn"`
	VMs           []VM     `yaml:"libvirt_vms,omitempty" doc:"the VMs, each present or absent" example:"[{name: myvm, state: absent}]"`
}

// DiskRef names a disk by its /dev/disk/by-id path: a string, or a mapping
// with expectations that must hold before anything is written.
type DiskRef struct {
	ID     string `yaml:"id" doc:"/dev/disk/by-id/... path; the only way to name a disk" form:"disk" short:"true"`
	Size   Size   `yaml:"size,omitempty" doc:"the size expected, as printed on the disk; 3 % either way is accepted" example:"1TB"`
	Model  string `yaml:"model,omitempty" doc:"the model expected" form:"text" plain:"number" example:"Samsung SSD 970 EVO 1TB"`
	Serial string `yaml:"serial,omitempty" doc:"the serial number expected" form:"text" plain:"number" example:"S466NX0M712345A"`
	Media  string `yaml:"media,omitempty" doc:"what the disk is, where the kernel's word is wrong (USB bridges, RAID controllers)" enum:"ssd,hdd" example:"ssd"`
}

// OS is the system disk: an ESP and one LUKS2 volume holding btrfs.
type OS struct {
	Disk         DiskRef     `yaml:"disk" doc:"the system disk" example:"/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A"`
	ESPSize      Size        `yaml:"esp_size,omitempty" doc:"EFI system partition; at least 256MiB" default:"1GiB" min:"268435456" max:"68719476736"`
	Subvolumes   []Subvolume `yaml:"subvolumes,omitempty" doc:"btrfs subvolumes and where each is mounted" default:"={root: /, home: /home, nix: /nix}; without nix for an image" mapkey:"Name" mapvalue:"Mountpoint" keyform:"subvolume" form:"path" example:"{root: /, home: /home, nix: /nix}"`
	SwapSize     Size        `yaml:"swap_size,omitempty" doc:"a swapfile in a subvolume of its own; absent: none" min:"16777216" max:"4398046511104" example:"8GiB"`
	MountOptions []string    `yaml:"mount_options,omitempty" doc:"btrfs mount options of the system's subvolumes" default:"compress=zstd,noatime" form:"mount_option"`
	StorageMedia string      `yaml:"storage_media,omitempty" doc:"ssd: discard on; hdd: off" enum:"ssd,hdd" default:"ssd"`
	Adopt        bool        `yaml:"adopt,omitempty" doc:"keep the LUKS volume and file system already on the disk although hvinstall did not make them; nothing is erased" default:"=false"`
	KernelArgs   []string    `yaml:"kernel_args,omitempty" doc:"added to the installed kernel's command line" form:"kernel_arg" example:"[intel_iommu=on]"`
	Image        *Image      `yaml:"image,omitempty" doc:"install this squashfs; exactly one of image and nixos" example:"{url: file:///run/hvinstall/live/hvinstall/root.squashfs}"`
	NixOS        *NixOS      `yaml:"nixos,omitempty" doc:"install NixOS; exactly one of image and nixos" example:"{flake: github:me/infra#hypervisor}"`
}

// Subvolume is a btrfs subvolume of the OS file system.
type Subvolume struct {
	Name       string `yaml:"name" form:"subvolume" doc:"its name" example:"home"`
	Mountpoint string `yaml:"mountpoint" form:"path" doc:"where it is mounted" example:"/home"`
}

// Image is a root file system as squashfs.
type Image struct {
	URL    string `yaml:"url" doc:"file://, http:// or https://" form:"url" example:"file:///run/hvinstall/live/hvinstall/root.squashfs"`
	SHA256 string `yaml:"sha256,omitempty" doc:"64 hex digits; may be absent only for the live stick's own image, whose sum is on the stick" form:"sha256"`
}

// NixOS says how nixos-install is run and what the generated modules hold.
type NixOS struct {
	Flake         string         `yaml:"flake,omitempty" doc:"flake reference with the host's attribute: github:me/infra#hypervisor" form:"flake" example:"github:me/infra#hypervisor"`
	File          string         `yaml:"file,omitempty" doc:"a configuration.nix instead of a flake" form:"file" example:"/root/configuration.nix"`
	ModulesDir    string         `yaml:"modules_dir,omitempty" doc:"where the generated modules are placed in the flake" default:"=nix/hosts/HOSTNAME" form:"file" example:"nix/hosts/hypervisor"`
	Imports       []string       `yaml:"imports,omitempty" doc:"the user's own modules, as Nix expressions: flake.modules.nixos.tailscale" form:"nix_import" example:"[flake.modules.nixos.tailscale]"`
	Options       map[string]any `yaml:"options,omitempty" doc:"plain NixOS option values by their dotted names" keyform:"nix_option" example:"{services.fstrim.enable: true}"`
	Bootloader    string         `yaml:"bootloader,omitempty" doc:"what boots the system" enum:"systemd-boot,grub" default:"systemd-boot"`
	SystemdInitrd *bool          `yaml:"systemd_initrd,omitempty" doc:"boot.initrd.systemd.enable" default:"=the release's own: true since 26.05" example:"true"`
	StateVersion  string         `yaml:"state_version,omitempty" doc:"system.stateVersion, as 25.11" form:"state_version" plain:"number" example:"25.11"`
	Channel       string         `yaml:"channel,omitempty" doc:"channel copied by nixos-install; absent: none" form:"url_or_path" example:"https://nixos.org/channels/nixos-25.11"`
}

// Pool is a btrfs RAID1 file system, data and metadata, over LUKS2 volumes.
type Pool struct {
	Name         string    `yaml:"-"`
	Disks        []DiskRef `yaml:"disks" doc:"two or more disks" example:"[/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2, {id: /dev/disk/by-id/ata-ST2000VN004-2E4164_Z523C4D5, size: 2TB}]"`
	StorageMedia string    `yaml:"storage_media" doc:"ssd: discard on; hdd: off; checked against the kernel's rotational flag" enum:"ssd,hdd"`
	Mountpoint   string    `yaml:"mountpoint,omitempty" doc:"where it is mounted; below /mnt, /srv or /var/lib" default:"=/mnt/POOL" form:"path" example:"/mnt/vmstore"`
	MountOptions []string  `yaml:"mount_options,omitempty" doc:"btrfs mount options" default:"compress=zstd,noatime" form:"mount_option"`
	Degraded     string    `yaml:"degraded,omitempty" doc:"what boot does when a disk of the pool is missing: mount it degraded, wait for the disk, or skip the pool" enum:"mount,wait,skip" default:"skip"`
	Adopt        bool      `yaml:"adopt,omitempty" doc:"keep the LUKS volumes and file system already on the disks although hvinstall did not make them; nothing is erased" default:"=false"`
}

// Encryption is how the LUKS volumes are unlocked at boot.
type Encryption struct {
	USBKeys            []USBKey `yaml:"usb_keys,omitempty" doc:"USB sticks, each with a key of its own in a keyslot of its own" example:"[{uuid: 8B34-7D3C}]"`
	KeyFilename        string   `yaml:"key_filename,omitempty" doc:"the key file in the stick's root" default:"=hostname" form:"fat_name" example:"hypervisor"`
	FallbackToPassword *bool    `yaml:"fallback_to_password,omitempty" doc:"ask for the passphrase when no stick unlocks" default:"true"`
	KeyWait            Duration `yaml:"key_wait,omitempty" doc:"how long boot waits for a stick before it asks for the passphrase" default:"10s" min:"1" max:"600"`
}

// USBKey is a stick: a whole disk to format, or an existing VFAT by its UUID.
type USBKey struct {
	Disk string `yaml:"disk,omitempty" doc:"/dev/disk/by-id/usb-... path; formatted VFAT, with consent like any erase" form:"disk" example:"/dev/disk/by-id/usb-SanDisk_Ultra_4C530001230101117392-0:0"`
	UUID string `yaml:"uuid,omitempty" doc:"volume serial of an existing VFAT, as 8B34-7D3C; the key file is added, nothing else is touched" form:"vfat_uuid" plain:"number"`
}

// Network is the bridge and the host's own address on it.
type Network struct {
	Bridge    string   `yaml:"bridge,omitempty" doc:"the bridge; at most 15 bytes" default:"br0" form:"ifname"`
	NIC       NIC      `yaml:"nic,omitempty" doc:"the NIC enslaved to the bridge: a name or {mac: ...}; absent: the one with the default route" example:"enp5s0"`
	DHCP      *bool    `yaml:"dhcp,omitempty" doc:"ask the LAN for an address; off when addresses are given" default:"=true without addresses" example:"true"`
	Addresses []string `yaml:"addresses,omitempty" doc:"static addresses with their prefix length: 192.168.1.10/24" form:"address" single:"true" example:"[192.168.1.10/24]"`
	Gateway   []string `yaml:"gateway,omitempty" doc:"default gateways, one for each address family; a single one may be written plainly" form:"ip" single:"true" example:"192.168.1.1"`
	DNS       []string `yaml:"dns,omitempty" doc:"DNS servers" form:"ip" single:"true" example:"[192.168.1.1]"`
	Domains   []string `yaml:"domains,omitempty" doc:"DNS search domains" form:"domain" single:"true" example:"[lan]"`
	MTU       int      `yaml:"mtu,omitempty" doc:"default: the NIC's own" default:"=the NIC's own" min:"1280" max:"9216" example:"9000"`
	OpenPorts []string `yaml:"open_ports,omitempty" doc:"ports of the host that the filter opens to everyone who reaches it, beside ssh and, for their clients, the NFS exports" form:"port" example:"[tcp/8080, udp/51820, tcp/9000-9010]"`
}

// NIC names a network card by interface name or by MAC.
type NIC struct {
	Name string `yaml:"name,omitempty" doc:"interface name: enp5s0" form:"ifname" short:"true" example:"enp5s0"`
	MAC  string `yaml:"mac,omitempty" doc:"permanent MAC address" form:"mac"`
}

// NFSExports are the directories served to the LAN.
type NFSExports struct {
	LanCIDR string      `yaml:"lan_cidr,omitempty" doc:"clients of an export that names none" default:"192.168.1.0/24" form:"cidr"`
	Exports []NFSExport `yaml:"exports" doc:"the exported directories" example:"[{path: /mnt/bulk/apps-vm}]"`
}

// NFSExport is one exported directory.
type NFSExport struct {
	Path    string   `yaml:"path" doc:"absolute path below a pool's mountpoint" form:"path" example:"/mnt/bulk/apps-vm"`
	Clients []string `yaml:"clients,omitempty" doc:"networks in CIDR form, IPv4 or IPv6" default:"=[lan_cidr]" form:"cidr" single:"true" example:"[192.168.1.0/24, 100.64.0.0/10]"`
	Options []string `yaml:"options,omitempty" doc:"options of exports(5), without the squash ones" default:"rw,sync,no_subtree_check" form:"nfs_option"`
	Squash  string   `yaml:"squash,omitempty" doc:"whose files a client's root makes" enum:"root_squash,no_root_squash,all_squash" default:"root_squash"`
	Owner   string   `yaml:"owner,omitempty" doc:"user or uid owning the directory" default:"root" form:"owner" plain:"number"`
	Group   string   `yaml:"group,omitempty" doc:"group or gid owning the directory" default:"root" form:"owner" plain:"number"`
	Mode    string   `yaml:"mode,omitempty" doc:"octal mode of the directory" default:"0755" form:"mode" plain:"number"`
}

// Locale is language, time zone and keyboard.
type Locale struct {
	Lang     string `yaml:"lang,omitempty" doc:"language and character set" default:"C.UTF-8" form:"lang"`
	Timezone string `yaml:"timezone,omitempty" doc:"time zone" default:"UTC" form:"timezone"`
	Keymap   string `yaml:"keymap,omitempty" doc:"console keymap" default:"us" form:"keymap"`
}

// User is an account of the installed system.
type User struct {
	Name              string   `yaml:"name" doc:"login name" form:"user"`
	SSHAuthorizedKeys []string `yaml:"ssh_authorized_keys,omitempty" doc:"lines of authorized_keys" form:"ssh_key"`
	PasswordHash      string   `yaml:"password_hash,omitempty" doc:"a crypt(5) hash, as mkpasswd prints; absent: no password login" form:"password_hash" secret:"true"`
	Groups            []string `yaml:"groups,omitempty" doc:"supplementary groups; wheel becomes sudo on Debian" form:"user" example:"[wheel]"`
}

// Libvirtd is who may use the system libvirt socket and KVM without sudo.
type Libvirtd struct {
	Users []string `yaml:"users,omitempty" doc:"added to the libvirt and kvm groups" form:"user" example:"[snyssen]"`
}

// VM is one entry of libvirt_vms.
type VM struct {
	Name       string    `yaml:"name" doc:"the domain's name and its directory under libvirt_vmstore_root" form:"vm" example:"haos"`
	State      string    `yaml:"state,omitempty" doc:"present, or absent: destroyed, undefined and its directory deleted" enum:"present,absent" default:"present"`
	VCPU       int       `yaml:"vcpu,omitempty" doc:"virtual CPUs" default:"=2; of a VM that exists what it has" min:"1" max:"288" example:"2"`
	RAMMB      int       `yaml:"ram_mb,omitempty" doc:"memory in MiB" default:"=2048; of a VM that exists what it has" min:"64" max:"16777216" example:"4096"`
	MACAddress string    `yaml:"mac_address,omitempty" doc:"static MAC, for DHCP reservations" default:"=derived from host and name" form:"mac"`
	DiskGB     int       `yaml:"disk_gb,omitempty" doc:"virtual disk size in GiB; only enlarges, never shrinks" default:"=the image's own; 32 for an ISO VM" min:"1" max:"65536" example:"32"`
	DiskImage  *VMDisk   `yaml:"disk_image,omitempty" doc:"an appliance's disk; exactly one of disk_image and iso_image" example:"{url: https://example.org/haos_ova.qcow2.xz, dest: /mnt/vmstore/haos/haos.qcow2}"`
	ISOImage   *VMISO    `yaml:"iso_image,omitempty" doc:"an installer; exactly one of disk_image and iso_image" example:"{url: https://example.org/installer.iso, dest: /mnt/vmstore/testvm/installer.iso}"`
	USBDevices []USBHost `yaml:"usb_devices,omitempty" doc:"host USB devices handed to the VM" example:"[{vendor_id: 0x1a86, product_id: 0x7523}]"`
	Bridge     string    `yaml:"bridge,omitempty" doc:"the bridge its NIC is plugged into" default:"=libvirt_default_bridge; of a VM made by hand what it has" form:"ifname" example:"br0"`
	Autostart  *bool     `yaml:"autostart,omitempty" doc:"started with the host" default:"=true; of a VM made by hand what it has" example:"true"`
	Running    *bool     `yaml:"running,omitempty" doc:"started by a run when it is not running" default:"=true; a VM made by hand is left as it is" example:"true"`
	Protected  bool      `yaml:"protected,omitempty" doc:"state absent is refused while this is true" default:"=false"`
	BootOrder  int       `yaml:"boot_order,omitempty" doc:"VMs start in ascending order after a host boot" default:"=last" min:"1" max:"9999" example:"1"`
	BootDelay  Duration  `yaml:"boot_delay,omitempty" doc:"wait after starting this VM before the next" min:"0" max:"3600" default:"=none" example:"30s"`
	PurgeAfter Duration  `yaml:"purge_after,omitempty" doc:"libvirt_purge_after for this VM" min:"0" max:"31536000" default:"=libvirt_purge_after" example:"7d"`
	NoCOW      bool      `yaml:"nocow,omitempty" doc:"chattr +C on the VM's empty directory: faster, but btrfs cannot heal its images" default:"=false"`
	Firmware   Firmware  `yaml:"firmware,omitempty" doc:"UEFI, Secure Boot, TPM" example:"{tpm: true}"`
	CloudInit  *Cloud    `yaml:"cloud_init,omitempty" doc:"a NoCloud seed image" example:"{user_data: /etc/hvinstall/haos.user-data}"`
}

// VMDisk is an appliance image.
type VMDisk struct {
	URL      string `yaml:"url" doc:"http, https or file" form:"url" example:"https://example.org/haos_ova.qcow2.xz"`
	Dest     string `yaml:"dest" doc:"final path, inside the VM's directory" form:"path" example:"/mnt/vmstore/haos/haos.qcow2"`
	Extract  *bool  `yaml:"extract,omitempty" doc:"unpack an archive" default:"=decided by its first bytes" example:"true"`
	Checksum string `yaml:"checksum,omitempty" doc:"sha256:HEX, sha512:HEX, or sha256:URL of a sums file; of what is downloaded" form:"checksum"`
}

// VMISO is an installer medium.
type VMISO struct {
	URL         string `yaml:"url" doc:"http, https or file" form:"url" example:"https://example.org/installer.iso"`
	Dest        string `yaml:"dest" doc:"final path, inside the VM's directory" form:"path" example:"/mnt/vmstore/testvm/installer.iso"`
	Checksum    string `yaml:"checksum,omitempty" doc:"sha256:HEX, sha512:HEX, or sha256:URL of a sums file" form:"checksum"`
	EnableMount *bool  `yaml:"enable_mount,omitempty" doc:"false takes the medium out of the drive" default:"true"`
}

// USBHost is a host USB device by vendor and product id.
type USBHost struct {
	VendorID  string `yaml:"vendor_id" doc:"0x and four hex digits" form:"usb_id" plain:"number" example:"0x1a86"`
	ProductID string `yaml:"product_id" doc:"0x and four hex digits" form:"usb_id" plain:"number" example:"0x7523"`
}

// Firmware is how a VM boots.
type Firmware struct {
	UEFI       *bool `yaml:"uefi,omitempty" doc:"UEFI, rather than BIOS" default:"true"`
	SecureBoot bool  `yaml:"secure_boot,omitempty" doc:"with the vendor's keys enrolled; appliances such as HAOS do not boot with it" default:"=false"`
	TPM        bool  `yaml:"tpm,omitempty" doc:"an emulated TPM 2.0" default:"=false"`
}

// Cloud is a NoCloud seed: the text of its files, or a path to one.
type Cloud struct {
	UserData      string `yaml:"user_data,omitempty" doc:"text of user-data, or the path of a file with it" form:"user_data" example:"|"`
	MetaData      string `yaml:"meta_data,omitempty" doc:"text of meta-data, or the path of a file with it" form:"block" default:"=instance-id and local-hostname from the name" example:"|"`
	NetworkConfig string `yaml:"network_config,omitempty" doc:"text of network-config, or the path of a file with it" form:"block" example:"|"`
}
