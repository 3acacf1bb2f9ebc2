//go:build guest

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// sevenDisks are the spec's disks at their real sizes, as sparse files.
func sevenDisks() []testvm.Drive {
	return []testvm.Drive{
		{ID: "os", Model: testvm.NVMe, Serial: "OS0500", Size: 500107862016},
		{ID: "vm1", Model: testvm.NVMe, Serial: "VM1000A", Size: 1000204886016},
		{ID: "vm2", Model: testvm.NVMe, Serial: "VM1000B", Size: 1000204886016},
		{ID: "vm3", Model: testvm.NVMe, Serial: "VM0500", Size: 500107862016},
		{ID: "bulk1", Model: testvm.SATA, Product: "ST4000VN008", Serial: "ZGY0A1B2", Size: 4000787030016, Sector: 4096},
		{ID: "bulk2", Model: testvm.SATA, Product: "ST2000VN004", Serial: "Z523C4D5", Size: 2000398934016, Sector: 4096},
		{ID: "bulk3", Model: testvm.SATA, Product: "WDC_WD20EFRX", Serial: "WCC4M6E7", Size: 2000398934016, Sector: 4096},
		{ID: "key", Model: testvm.USB, Serial: "KEY1", Size: 8 << 30},
	}
}

const sevenDisksLayout = `hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_OS0500
  subvolumes: {root: /, home: /home}
  swap_size: 1GiB
  image: {url: "file:///run/none.squashfs", sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}
pools:
  vmstore:
    disks:
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000A, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000B, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM0500, size: 500GB}
    storage_media: ssd
  bulk:
    disks:
      - /dev/disk/by-id/ata-ST4000VN008_ZGY0A1B2
      - /dev/disk/by-id/ata-ST2000VN004_Z523C4D5
      - /dev/disk/by-id/ata-WDC_WD20EFRX_WCC4M6E7
    storage_media: hdd
encryption:
  usb_keys: [{disk: /dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_KEY1-0:0}]
users:
  - {name: me, ssh_authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 me@laptop"]}
`

// TestDisksAtTheConsole is a person at a console: the preview, yes, the
// passphrase twice, the progress; then the same command again.
func TestDisksAtTheConsole(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "hvinstall")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	layout := filepath.Join(dir, "layout.yaml")
	if err := os.WriteFile(layout, []byte(sevenDisksLayout), 0o600); err != nil {
		t.Fatal(err)
	}
	vm := testvm.BootGuest(t, testvm.Guest{
		Config: testvm.Config{Memory: 4096, Drives: sevenDisks(), Timeout: 15 * time.Minute},
		Files:  map[string]string{"/bin/hvinstall": binary, "/layout.yaml": layout},
	})
	expect := func(within time.Duration, pattern string) {
		t.Helper()
		if _, err := vm.Expect(within, pattern); err != nil {
			t.Fatal(err)
		}
	}
	send := func(s string) {
		t.Helper()
		if err := vm.Send(s); err != nil {
			t.Fatal(err)
		}
	}
	send("stty cols 100 rows 50; export TERM=linux; hvinstall --plan /layout.yaml --only disks\n")
	expect(time.Minute, `8 disks: 8 created; 2 pools`)
	expect(time.Minute, `Type yes to go on: `)
	send("yes\n")
	expect(time.Minute, `Passphrase for every volume: `)
	send("not a real secret at all\n")
	expect(time.Minute, `The same once more: `)
	send("not a real secret at all\n")
	expect(10*time.Minute, `changed something, in`)
	expect(time.Minute, `mounted at /mnt/target`)

	again, err := vm.Shell(time.Minute, "hvinstall --plan /layout.yaml --only disks")
	if err != nil || !strings.Contains(again, "nothing to do") {
		t.Errorf("the second run = %v:\n%s\nwant nothing to do", err, again)
	}
	status, err := vm.Shell(time.Minute, "NO_COLOR=1 hvinstall status --plan /layout.yaml")
	if err != nil {
		t.Errorf("status: %v", err)
	}
	t.Logf("status:\n%s", status)
	if os.Getenv("HVINSTALL_KEEP_LOGS") != "" {
		t.Logf("console:\n%s", vm.Transcript())
	}
}
