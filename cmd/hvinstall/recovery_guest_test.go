//go:build guest

package main

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

const (
	recoveryPassphrase = "lentil orbit canyon velvet"
	byID               = "/dev/disk/by-id/"
)

// recoveryLayout is a host of two pools' worth of trouble: its stick and a disk
// of its pool are the arguments.
const recoveryLayout = `hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_OS
  esp_size: 256MiB
  subvolumes: {root: /}
  image: {url: "file:///run/none.squashfs", sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}
pools:
  bulk:
    disks: [/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_A, /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_%[2]s]
    storage_media: ssd
encryption:
  usb_keys: [{disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_%[1]s-0:0"}]
`

// recovery is the guest in which docs/recovery.md is carried out. Everything
// that was typed and said is logged: the document quotes it.
type recovery struct {
	t  *testing.T
	vm *testvm.VM
}

// types types a line and returns what it said.
func (r recovery) types(format string, args ...any) string {
	r.t.Helper()
	line := fmt.Sprintf(format, args...)
	said, err := r.vm.Shell(5*time.Minute, line)
	r.t.Logf("# %s\n%s", line, said)
	if err != nil {
		r.t.Fatal(err)
	}
	return said
}

// fails types a line that must not succeed.
func (r recovery) fails(format string, args ...any) string {
	r.t.Helper()
	line := fmt.Sprintf(format, args...)
	said, err := r.vm.Shell(5*time.Minute, line)
	r.t.Logf("# %s\n%s", line, said)
	if err == nil {
		r.t.Fatalf("%s succeeds", line)
	}
	return said
}

func (r recovery) says(said string, want ...string) {
	r.t.Helper()
	flat := strings.Join(strings.Fields(said), " ")
	for _, w := range want {
		if !strings.Contains(flat, w) {
			r.t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
}

func (r recovery) layout(stick, disk string) {
	r.t.Helper()
	text := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf(recoveryLayout, stick, disk)))
	if _, err := r.vm.Shell(time.Minute, "echo "+text+" | base64 -d >/etc/hvinstall/layout.yaml"); err != nil {
		r.t.Fatal(err)
	}
}

const converge = "hvinstall --plan /etc/hvinstall/layout.yaml --only disks --yes --passphrase-file /run/passphrase"

// TestRecovery carries out what docs/recovery.md says, in the order of its
// chapters: a lost stick, a failed disk, a damaged header.
func TestRecovery(t *testing.T) {
	binary, err := testvm.Program(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	vm := testvm.BootGuest(t, testvm.Guest{
		Config: testvm.Config{Memory: 3072, Timeout: 20 * time.Minute, Drives: []testvm.Drive{
			{ID: "os", Model: testvm.NVMe, Serial: "OS", Size: 16 << 30},
			{ID: "a", Model: testvm.NVMe, Serial: "A", Size: 8 << 30},
			{ID: "b", Model: testvm.NVMe, Serial: "B", Size: 8 << 30},
			{ID: "c", Model: testvm.NVMe, Serial: "C", Size: 8 << 30},
			{ID: "one", Model: testvm.USB, Serial: "ONE", Size: 1 << 30},
			{ID: "two", Model: testvm.USB, Serial: "TWO", Size: 1 << 30},
		}},
		Files: map[string]string{"/bin/hvinstall": binary},
	})
	r := recovery{t, vm}
	r.types("export NO_COLOR=1; stty cols 80; mkdir -p /etc/hvinstall /mnt/bulk; umask 077; echo '%s' >/run/passphrase; printf %%s '%s' >/run/open", recoveryPassphrase, recoveryPassphrase)
	r.layout("ONE", "B")
	r.types(converge)
	r.types("head -c 50000000 /dev/urandom >/mnt/target/mnt/bulk/data; sha256sum /mnt/target/mnt/bulk/data >/run/sum")

	r.lostStick()
	r.failedDisk()
	r.damagedHeader()
	r.damagedSystemHeader()

	again := r.types(converge)
	r.says(again, "nothing to do")
}

func (r recovery) lostStick() {
	r.types("mcopy -i $(readlink -f %susb-QEMU_QEMU_HARDDISK_ONE-0:0-part1) ::hypervisor /run/lost.key", byID)
	r.layout("TWO", "B")
	r.types(converge)
	status := r.types("hvinstall status --plan /etc/hvinstall/layout.yaml || true")
	kills := regexp.MustCompile(`cryptsetup luksKillSlot (\S+) (\d+)`).FindAllString(strings.Join(strings.Fields(status), " "), -1)
	if len(kills) != 3 {
		r.t.Fatalf("status names %d slots to take away, want one for each of 3 volumes", len(kills))
	}
	for _, kill := range kills {
		device := strings.Fields(kill)[2]
		r.types("cryptsetup open --test-passphrase --key-file /run/lost.key %s", device)
		r.types("%s --batch-mode", kill)
		r.fails("cryptsetup open --test-passphrase --key-file /run/lost.key %s", device)
	}
	r.types(converge) // the headers' backups lose the slot, too
	for _, backup := range []string{"/mnt/target/var/lib/hvinstall/headers/crypt-bulk-1.luks", "/mnt/target/mnt/bulk/.hvinstall/headers/cryptroot.luks"} {
		r.fails("cryptsetup open --test-passphrase --key-file /run/lost.key %s", backup)
	}
}

func (r recovery) failedDisk() {
	r.types("umount /mnt/target/mnt/bulk && cryptsetup close crypt-bulk-1 && cryptsetup close crypt-bulk-2 && btrfs device scan --forget")
	// The disk leaves its PCIe slot.
	r.types("echo 1 >/sys/block/$(basename $(readlink -f %snvme-QEMU_NVMe_Ctrl_B))/device/device/remove; udevadm settle; [ ! -e %snvme-QEMU_NVMe_Ctrl_B ]", byID, byID)
	r.says(r.fails(converge), "nvme-QEMU_NVMe_Ctrl_B: the disk is not there", "nvme-QEMU_NVMe_Ctrl_C")
	r.layout("TWO", "C")
	r.says(r.types("hvinstall --plan /etc/hvinstall/layout.yaml --only disks --dry-run"), "takes in crypt-bulk-2")
	r.types(converge)
	show := r.types("btrfs filesystem show /mnt/target/mnt/bulk")
	if strings.Count(show, "devid") != 2 || strings.Contains(strings.ToLower(show), "missing") {
		r.t.Errorf("the pool:\n%s", show)
	}
	r.types("btrfs scrub start -B /mnt/target/mnt/bulk")
	r.types("sha256sum -c /run/sum")
}

func (r recovery) damagedHeader() {
	r.types("umount /mnt/target/mnt/bulk && cryptsetup close crypt-bulk-1 && cryptsetup close crypt-bulk-2 && btrfs device scan --forget")
	r.types("dd if=/dev/zero of=/dev/disk/by-partlabel/disk-bulk-1-luks bs=1M count=16 conv=fsync && udevadm settle")
	r.says(r.fails(converge), "its LUKS header is gone", "cryptsetup luksHeaderRestore")
	r.types("cryptsetup luksHeaderRestore --batch-mode /dev/disk/by-partlabel/disk-bulk-1-luks --header-backup-file /mnt/target/var/lib/hvinstall/headers/crypt-bulk-1.luks && udevadm settle")
	r.types(converge)
	r.types("sha256sum -c /run/sum")
	r.types("btrfs scrub start -B /mnt/target/mnt/bulk")
}

// damagedSystemHeader is the same for the system disk, whose backup is on the
// pool.
func (r recovery) damagedSystemHeader() {
	r.types("for m in $(awk '$2 ~ \"^/mnt/target\" {print $2}' /proc/mounts | sort -r); do umount $m; done; for m in crypt-bulk-1 crypt-bulk-2 cryptroot; do cryptsetup close $m; done; btrfs device scan --forget")
	r.types("dd if=/dev/zero of=/dev/disk/by-partlabel/disk-os-luks bs=1M count=16 conv=fsync && udevadm settle")
	r.says(r.fails(converge), "held the volume cryptroot once", "cryptsetup luksHeaderRestore")
	r.types("for n in 1 2; do cryptsetup open --key-file /run/open /dev/disk/by-partlabel/disk-bulk-$n-luks crypt-bulk-$n; done")
	r.types("mount -o subvol=bulk /dev/mapper/crypt-bulk-1 /mnt/bulk")
	r.types("cryptsetup luksHeaderRestore --batch-mode /dev/disk/by-partlabel/disk-os-luks --header-backup-file /mnt/bulk/.hvinstall/headers/cryptroot.luks && udevadm settle")
	r.types("umount /mnt/bulk")
	r.types(converge)
	r.types("sha256sum -c /run/sum")
}
