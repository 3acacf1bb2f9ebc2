package spechost

// Passphrase, User and Password are the host's; they protect nothing.
const (
	Passphrase = "correct horse battery staple"
	User       = "snyssen"
	Password   = "letmein"
)

// ImageURL is the system's image on the live stick, in Layout.
const ImageURL = "file:///run/hvinstall/live/hvinstall/root.squashfs"

// Layout is the specification's layout on the machine's disks, without VMs.
const Layout = `hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_OS500
  subvolumes: {root: /, home: /home}
  swap_size: 1GiB
  kernel_args: [console=tty0, "console=ttyS0,115200"]
  image: {url: "` + ImageURL + `"}
pools:
  vmstore:
    disks:
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000A, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000B, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM500, size: 500GB}
    storage_media: ssd
  bulk:
    disks:
      - {id: /dev/disk/by-id/ata-ST4000VN008_BULK4000, size: 4TB}
      - {id: /dev/disk/by-id/ata-ST2000VN004_BULK2000A, size: 2TB}
      - {id: /dev/disk/by-id/ata-ST2000VN004_BULK2000B, size: 2TB}
    storage_media: hdd
encryption:
  usb_keys:
    - {disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_KEY001-0:0"}
network: {bridge: br0, nic: enp5s0}
nfs_exports:
  exports:
    - {path: /mnt/bulk/apps-vm}
    - {path: /mnt/bulk/homeassistant-vm, clients: [192.168.1.0/24, 100.64.0.0/10]}
    - {path: /mnt/bulk/scrypted}
locale: {lang: en_GB.UTF-8, timezone: Europe/Brussels, keymap: be}
users:
  # The password is "letmein".
  - {name: snyssen, groups: [wheel], password_hash: "$6$e2e$JIQj2kbSUlw9a/XJbatEWNFljF0rAkrel8.CwqwpUBcV6MY7mWSiBb/tmUg27BwbdPQM6JFGbo/vAXA/oYN9N/"}
libvirtd: {users: [snyssen]}
libvirt_domain_type: qemu
`

// VMs are appended to Layout: an appliance, an installation medium and a VM
// that is not wanted. Their images come from a Server.
const VMs = `libvirt_vms:
  - name: appliance
    vcpu: 1
    ram_mb: 256
    mac_address: "52:54:00:aa:00:01"
    disk_gb: 1
    disk_image: {url: "` + ServerURL + `/appliance.qcow2.xz", dest: /mnt/vmstore/appliance/appliance.qcow2}
  - name: installer
    vcpu: 1
    ram_mb: 256
    disk_gb: 4
    iso_image: {url: "` + ServerURL + `/appliance.iso", dest: /mnt/vmstore/installer/installer.iso}
    autostart: false
    running: false
  - name: retired
    state: absent
`

// SecondVM is one more VM, to append to VMs: from an image that is known
// already.
const SecondVM = `  - name: second
    vcpu: 1
    ram_mb: 256
    disk_image: {url: "` + ServerURL + `/appliance.qcow2.xz", dest: /mnt/vmstore/second/second.qcow2}
    running: false
`
