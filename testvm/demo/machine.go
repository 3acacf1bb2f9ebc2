package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/testvm"
)

// machine is the spec's hypervisor as files in a folder: its seven disks at
// their real sizes, its key stick, its firmware's variables, the live stick.
type machine struct {
	dir     string
	mirror  io.Writer
	forward []string
}

// Passphrase and password of the demo's host; they protect nothing.
const (
	passphrase = "correct horse battery staple"
	user       = "me"
	password   = "letmein"
)

func (m *machine) disks() []testvm.Drive {
	disks := []testvm.Drive{
		{ID: "os", Model: testvm.NVMe, Serial: "OS500", Size: 500107862016},
		{ID: "vm1", Model: testvm.NVMe, Serial: "VM1000A", Size: 1000204886016},
		{ID: "vm2", Model: testvm.NVMe, Serial: "VM1000B", Size: 1000204886016},
		{ID: "vm3", Model: testvm.NVMe, Serial: "VM500", Size: 500107862016},
		{ID: "bulk1", Model: testvm.SATA, Serial: "BULK4000", Product: "ST4000VN008", Size: 4000787030016, Sector: 4096},
		{ID: "bulk2", Model: testvm.SATA, Serial: "BULK2000A", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
		{ID: "bulk3", Model: testvm.SATA, Serial: "BULK2000B", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
		{ID: "key", Model: testvm.USB, Serial: "KEY001", Size: 4e9},
	}
	for i := range disks {
		disks[i].Path = filepath.Join(m.dir, disks[i].ID+".img")
	}
	return disks
}

// layout is the spec's layout on the demo's disks. image is where the demo's
// appliances are served.
func layout(image string) string {
	return `hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_OS500
  subvolumes: {root: /, home: /home}
  swap_size: 1GiB
  kernel_args: [console=tty0, "console=ttyS0,115200"]
  image: {url: "file:///run/hvinstall/live/hvinstall/root.squashfs"}
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
users:
  # The password is "letmein".
  - {name: me, groups: [wheel], password_hash: "$6$e2e$JIQj2kbSUlw9a/XJbatEWNFljF0rAkrel8.CwqwpUBcV6MY7mWSiBb/tmUg27BwbdPQM6JFGbo/vAXA/oYN9N/"}
libvirtd: {users: [me]}
libvirt_domain_type: qemu
libvirt_vms:
  - name: appliance
    vcpu: 1
    ram_mb: 256
    mac_address: "52:54:00:aa:00:01"
    disk_gb: 1
    disk_image: {url: "` + image + `/appliance.qcow2.xz", dest: /mnt/vmstore/appliance/appliance.qcow2}
  - name: installer
    vcpu: 1
    ram_mb: 256
    disk_gb: 4
    iso_image: {url: "` + image + `/appliance.iso", dest: /mnt/vmstore/installer/installer.iso}
    autostart: false
    running: false
  - name: retired
    state: absent
`
}

// makeDisks makes what is not there, as sparse files.
func (m *machine) makeDisks() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	for _, d := range m.disks() {
		if err := os.Remove(d.Path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := testvm.Sparse(d.Path, d.Size); err != nil {
			return err
		}
	}
	err := os.Remove(m.vars())
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func (m *machine) vars() string { return filepath.Join(m.dir, "vars.fd") }

func (m *machine) live() testvm.Drive {
	return testvm.Drive{ID: "live", Model: testvm.USB, Serial: "LIVE001", Path: filepath.Join(m.dir, "live.img"), Boot: 1}
}

// dataAt is where mtools finds the data partition of the live image, behind
// the ESP of 128 MiB.
const dataAt = "@@129M"

// makeLive copies the live image and puts the layout on it, as a person does
// on any computer.
func (m *machine) makeLive(ctx context.Context, image, text string) error {
	file := filepath.Join(m.dir, "layout.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"cp", "--sparse=always", "--reflink=auto", image, m.live().Path},
		{"mcopy", "-o", "-i", m.live().Path + dataAt, file, "::/layout.yaml"},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
}

// boot starts the machine, with or without the live stick.
func (m *machine) boot(ctx context.Context, limit time.Duration, live bool) (*testvm.VM, error) {
	c := testvm.Config{
		Memory: 4096, OVMF: true, Vars: m.vars(), Drives: m.disks(), Timeout: slow(limit), Screen: true, Mirror: m.mirror,
		NICs: []testvm.NIC{{PCIBus: 5, MAC: "52:54:00:12:34:56", Net: "192.168.1.0/24", Forward: m.forward}},
	}
	if live {
		c.Drives = append(c.Drives, m.live())
	}
	return testvm.Start(ctx, c, filepath.Join(m.dir, "logs"))
}
