//go:build guest_inner

package install

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/step"
)

// movingHost is the host whose disks move, see TestDisksMoved.
const movingHost = `
hostname: small
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVOS
  esp_size: 256MiB
  subvolumes: {root: /, home: /home}
  swap_size: 64MiB
  nixos: {flake: "github:me/infra#hypervisor"}
pools:
  bulk:
    disks: [/dev/disk/by-id/ata-ST4000VN008_HDA, /dev/disk/by-id/ata-ST2000VN004_HDB, /dev/disk/by-id/ata-ST2000VN004_HDC]
    storage_media: hdd
encryption:
  usb_keys:
    - {disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USBA-0:0"}
`

// TestInnerBeforeTheMove makes the host, and leaves it on its disks.
func TestInnerBeforeTheMove(t *testing.T) {
	h := staying(t, movingHost)
	h.must(childCost + "=1")
	sh(t, "echo kept >%s/mnt/bulk/file", TargetRoot)
	release(t)
}

// staying is a house that is not torn down.
func staying(t *testing.T, layout string) house {
	dir := t.TempDir()
	h := house{t, filepath.Join(dir, "layout.yaml"), filepath.Join(dir, "passphrase")}
	write0600(t, h.layout, layout)
	write0600(t, h.pass, passphrase+"\n")
	return h
}

// TestInnerAfterTheMove runs the layout, with another hostname and the disks'
// old names, on the moved disks.
func TestInnerAfterTheMove(t *testing.T) {
	h := staying(t, strings.Replace(movingHost, "hostname: small", "hostname: renamed", 1))
	plan := h.plan()
	if len(plan.Refusals) > 0 {
		t.Fatalf("refused: %v", plan.Refusals)
	}
	said := strings.Join(plan.Warnings, "\n")
	for _, want := range []string{
		"was nvme-QEMU_NVMe_Ctrl_NVOS, is nvme-QEMU_NVMe_Ctrl_MOVED now: the disk carries its volume cryptroot",
		"was ata-ST4000VN008_HDA, is usb-QEMU_QEMU_HARDDISK_ENCLOSURE-0:0 now: the disk carries its volume crypt-bulk-1",
		"was ata-ST2000VN004_HDB, is ata-ST2000VN005_HDB2 now: the disk carries its volume crypt-bulk-2",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the preview does not say %q:\n%s", want, said)
		}
	}
	for _, d := range plan.Disk.Disks {
		if d.Fate != disk.Keep {
			t.Errorf("%s: %s, want keep", d.Name, d.Fate)
		}
	}
	h.must(childCost + "=1")
	sh(t, "grep -q kept %s/mnt/bulk/file", TargetRoot)

	sh(t, "sync; udevadm settle")
	before := writes(t)
	if second := h.must(childCost + "=1"); second.Changed != 0 {
		t.Errorf("the second run changed something in %d steps:\n%s", second.Changed, second.events)
	}
	h.sampleOfEdits()
	sh(t, "sync")
	if now := writes(t); !maps.Equal(now, before) {
		t.Errorf("the second run or a look wrote: %v, then %v", before, now)
	}
	h.changesInPlace()
	h.judge()
}

// changesInPlace gives the host another swap_size and other mount options: both
// are carried out, once.
func (h house) changesInPlace() {
	t := h.t
	t.Helper()
	text, err := os.ReadFile(h.layout)
	if err != nil {
		t.Fatal(err)
	}
	write0600(t, h.layout, strings.NewReplacer("swap_size: 64MiB", "swap_size: 96MiB", "storage_media: hdd", "storage_media: hdd\n    mount_options: [compress=lzo, noatime]").Replace(string(text)))
	h.must(childCost + "=1")
	if size := strings.TrimSpace(sh(t, "stat -c %%s %s/swap/swapfile", TargetRoot)); size != "100663296" {
		t.Errorf("the swapfile has %s bytes, want 96 MiB", size)
	}
	if options := sh(t, "findmnt -n -o OPTIONS --mountpoint %s/mnt/bulk", TargetRoot); !strings.Contains(options, "compress=lzo") {
		t.Errorf("the pool is mounted with %s, want compress=lzo", options)
	}
	if again := h.must(childCost + "=1"); again.Changed != 0 {
		t.Errorf("the run after it changed something in %d steps:\n%s", again.Changed, again.events)
	}
}

// sampleOfEdits looks, on the real machine, at 20 layouts with one line edited
// each: what a step finds in another's place, the plan has refused.
func (h house) sampleOfEdits() {
	t := h.t
	t.Helper()
	facts, err := Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(h.layout)
	if err != nil {
		t.Fatal(err)
	}
	layouts := map[string]*configs.Layout{}
	file := filepath.Join(t.TempDir(), "layout.yaml")
	for name, edited := range edits(string(text), facts) {
		write0600(t, file, edited)
		if layout, err := configs.LoadFile(file, ""); err == nil { // else refused before any machine is looked at
			layouts[name] = layout
		}
	}
	names := slices.Sorted(maps.Keys(layouts))
	looked, refused := 0, 0
	for i := range 20 {
		name := names[i*len(names)/20]
		plan := Make(Input{Layout: layouts[name], Facts: facts, Only: []Part{PartDisks}})
		if len(plan.Refusals) > 0 {
			refused++
			t.Logf("%s: refused: %v", name, plan.Refusals[0])
			continue
		}
		looked++
		keyring := &crypt.Keyring{Passphrase: func(context.Context) (crypt.Secret, error) { return crypt.ReadPassphraseFile(h.pass) }}
		steps := diskSteps(plan.Disk, plan.Crypt, DiskEnv{Root: TargetRoot, ESP: "/boot", Keyring: keyring})
		found, err := step.Look(context.Background(), steps, 2*runtime.NumCPU())
		keyring.Wipe()
		if err != nil {
			t.Errorf("%s: not refused, and a step cannot look: %v", name, err)
		}
		for _, f := range found {
			if f.State == step.Foreign {
				t.Errorf("%s: not refused, and %s would stop: %s", name, f.Step, f.Why)
			}
		}
	}
	if looked < 5 || refused < 5 {
		t.Errorf("of 20 of %d edited layouts %d were looked at and %d refused, want some of both", len(names), looked, refused)
	}
	t.Logf("of 20 of %d edited layouts %d were refused", len(names), refused)
}
