package configs

import (
	"fmt"
	"strings"
	"testing"
)

// bigLayout has 24 disks and 500 VMs.
func bigLayout() []byte {
	var b strings.Builder
	b.WriteString("hostname: big\nos:\n  disk: /dev/disk/by-id/nvme-OS\n  image: {url: file:///run/i}\npools:\n")
	for pool := range 4 {
		fmt.Fprintf(&b, "  store%d:\n    storage_media: hdd\n    disks:\n", pool)
		for disk := range 6 {
			fmt.Fprintf(&b, "      - {id: /dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY%d%d, size: 4TB}\n", pool, disk)
		}
	}
	b.WriteString("libvirt_vmstore_root: /mnt/store0/vms\nlibvirt_vms:\n")
	for i := range 500 {
		fmt.Fprintf(&b, `  - name: vm-%03d            # the VM
    state: present
    vcpu: 2
    ram_mb: 4096
    mac_address: "52:54:00:12:%02x:%02x"
    disk_gb: 32
    disk_image:
      url: "https://example.org/images/appliance.qcow2.xz"
      dest: "/mnt/store0/vms/vm-%03d/disk.qcow2"
      checksum: sha256:%064x
    autostart: true
    boot_order: %d
`, i, i/256, i%256, i, i, i+1)
	}
	return []byte(b.String())
}

// BenchmarkLoad is the layout's part of a dry run of 24 disks and 500 VMs,
// which as a whole has 100 ms.
func BenchmarkLoad(b *testing.B) {
	data := bigLayout()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Load("layout.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}
