//go:build guest_inner

package install

import (
	"strings"
	"testing"
	"time"
)

// sevenDisks is the example host of the documentation: OS 500 GB, a VM store
// of 1 TB, 1 TB and 500 GB, and a bulk store of 4 TB, 2 TB and 2 TB.
const sevenDisks = `
hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVOS
  esp_size: 1GiB
  subvolumes: {root: /, home: /home, nix: /nix}
  swap_size: 1GiB
  nixos: {flake: "github:me/infra#hypervisor"}
pools:
  vmstore:
    disks:
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVA, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVB, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVC, size: 500GB}
    storage_media: ssd
  bulk:
    disks: [/dev/disk/by-id/ata-ST4000VN008_HDA, /dev/disk/by-id/ata-ST2000VN004_HDB, /dev/disk/by-id/ata-ST2000VN004_HDC]
    storage_media: hdd
encryption:
  usb_keys:
    - {disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USBA-0:0"}
    - {uuid: 8B34-7D3C}
`

const secondStick = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USBB-0:0"

// outside is the disk that no layout names.
const outside = "/dev/disk/by-id/virtio-OUTSIDE"

func formatSecondStick(t *testing.T) {
	t.Helper()
	sh(t, "mkfs.vfat -I -F 32 -n MINE -i 8B347D3C %s && echo 'my notes' | mcopy -i $(readlink -f %s) - ::notes.txt && udevadm settle && ls /dev/disk/by-uuid/8B34-7D3C", secondStick, secondStick)
}

// TestInnerSevenDisks makes the example host at its real sizes, has it judged,
// and runs again.
func TestInnerSevenDisks(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, sevenDisks)
	secrets := watchForSecrets(t, passphrase)
	first := h.must()
	secrets()
	t.Logf("the run: %d steps changed something, %.1f s, peak of %d MiB", first.Changed, first.Seconds, first.RSS>>10)
	if strings.Contains(first.events, passphrase) {
		t.Error("the passphrase is in the events")
	}
	identities := h.identities()
	t.Logf("\n%s", identities)

	sh(t, "sync; udevadm settle")
	before := writes(t)
	second := h.must()
	sh(t, "sync")
	if second.Changed != 0 {
		t.Errorf("the second run changed something in %d steps:\n%s", second.Changed, second.events)
	}
	for name, count := range writes(t) {
		if before[name] != count {
			t.Errorf("the second run wrote to %s: %s, then %s", name, before[name], count)
		}
	}
	if notes := mtype(t, secondStick, "notes.txt"); notes != "my notes\n" {
		t.Errorf("the second stick's own file = %q", notes)
	}
	h.judge()

	// The volumes' passphrase costs what cryptsetup would choose here.
	p := h.plan()
	started := time.Now()
	opened := h.open(p)
	t.Logf("opening %d volumes by key: %.2f s", len(opened), time.Since(started).Seconds())

	// Mounted again from there, nothing is made anew.
	third := h.must()
	if again := h.identities(); again != identities {
		t.Errorf("after closing and running again:\n%s\nbefore:\n%s", again, identities)
	}
	t.Logf("the run that mounts again: %d steps, %.1f s", third.Changed, third.Seconds)
}
