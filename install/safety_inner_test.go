//go:build guest_inner

package install

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const diskA = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVA"

// between starts a run, and does something when the run has decided its plan
// and not begun to write. It returns what the run said.
func (h house) between(f func()) (string, error) {
	h.t.Helper()
	pause := filepath.Join(h.t.TempDir(), "pause")
	cmd := h.command(childCost+"=1", childWait+"="+pause)
	var events bytes.Buffer
	cmd.Stderr = &events
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < 1200; i++ {
		if _, err := os.Stat(pause); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	f()
	if err := os.Remove(pause); err != nil {
		h.t.Fatalf("the run did not come to its pause: %v\n%s", err, events.String())
	}
	err := cmd.Wait()
	return events.String(), err
}

func ends(t *testing.T, path string) string {
	t.Helper()
	head := make([]byte, 4<<20)
	readAt(t, path, head, 0)
	return string(head)
}

// TestInnerDiskHeld: a program that opens a disk between preview and apply
// keeps it; nothing is written to that disk.
func TestInnerDiskHeld(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	before := ends(t, diskA)
	var held *os.File
	said, err := h.between(func() {
		var err error
		if held, err = os.OpenFile(diskA, os.O_RDWR|unix.O_EXCL, 0); err != nil {
			t.Fatal(err)
		}
	})
	defer held.Close()
	if err == nil || !strings.Contains(said, "nvme-QEMU_NVMe_Ctrl_NVA: the disk is in use by another program") {
		t.Errorf("= %v\n%s", err, said)
	}
	if ends(t, diskA) != before {
		t.Error("the held disk was written to")
	}
	// A run that begins now sees it in its plan already.
	if r := h.run(childCost + "=1"); r.err == nil || !strings.Contains(r.events, "disk-held") {
		t.Errorf("a new run: %v\n%s", r.err, r.events)
	}
}

// TestInnerDiskChanged: somebody's data that appears between preview and apply
// is kept.
func TestInnerDiskChanged(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	digest := h.plan().Digest
	said, err := h.between(func() { sh(t, "mkfs.ext4 -q -L photos %s && sync", diskA) })
	if err == nil || !strings.Contains(said, "what is on the disk has changed from blank to ext4") {
		t.Errorf("= %v\n%s", err, said)
	}
	sh(t, "blkid -p %s | grep -q photos && e2fsck -fn %s", diskA, diskA)
	if now := h.plan().Digest; now == digest {
		t.Error("the plan's digest is the same with another content on a disk")
	}
	if r := h.run(childCost + "=1"); r.err == nil || !strings.Contains(r.events, "disk-data") {
		t.Errorf("a new run: %v\n%s", r.err, r.events)
	}
	// With consent for that disk, and for no other, it goes on.
	h.must(childCost+"=1", childErase+"=nvme-QEMU_NVMe_Ctrl_NVA")
	h.judge()
	t.Run("unlock", h.unlocks)
}

// TestInnerDiskSwapped: another blank disk of the same size that answers to the
// name in the plan, between preview and apply, is not the disk that was shown.
func TestInnerDiskSwapped(t *testing.T) {
	const name, other = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVOS", "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVC"
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	digest := h.plan().Digest
	was := strings.TrimSpace(sh(t, "readlink %s", name))
	before := writes(t)
	said, err := h.between(func() { sh(t, "ln -sfn $(readlink %s) %s", other, name) })
	now := h.plan()
	if now.Digest == digest {
		t.Error("the plan's digest is the same with another disk")
	}
	sh(t, "ln -sfn %s %s", was, name)
	if err == nil || !strings.Contains(said, "another disk has taken this place (QEMU NVMe Ctrl/NVC, it was QEMU NVMe Ctrl/NVOS)") {
		t.Errorf("= %v\n%s", err, said)
	}
	for _, disk := range []string{name, other} {
		kernel := strings.TrimSpace(sh(t, "basename $(readlink -f %s)", disk))
		if now := writes(t)[kernel]; now != before[kernel] {
			t.Errorf("%s was written to: %s, then %s", disk, before[kernel], now)
		}
	}
}

// TestInnerTwoRuns: the second run says who holds the lock. The host that the
// first one makes is met by another host's layout, and then renamed.
func TestInnerTwoRuns(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	said, err := h.between(func() {
		r := h.run(childCost + "=1")
		if r.err == nil || !strings.Contains(r.events, "another run is under way: PID") {
			t.Errorf("the second run: %v\n%s", r.err, r.events)
		}
	})
	if err != nil {
		t.Fatalf("the first run: %v\n%s", err, said)
	}
	t.Run("another host's layout", h.meetsAnotherLayout)
	t.Run("renamed", h.isRenamed)
}

// meetsAnotherLayout: a disk that one host's layout made is not another's,
// whatever that one's layout calls it; neither with its own name nor with
// consent for some other disk.
func (h house) meetsAnotherLayout(t *testing.T) {
	h.t = t
	release(t)
	before := writes(t)
	second := staying(t, "seed: another\n"+strings.Replace(strings.Replace(smallHost, "hostname: small", "hostname: other", 1), "fast:", "vault:", 1))
	r := second.run(childCost + "=1")
	if r.err == nil || strings.Count(r.events, "refused disk-of-host") != 3 || strings.Count(r.events, "refused stick-of-host") != 1 ||
		strings.Contains(r.events, "--erase") {
		t.Errorf("another host's layout on the same disks: %v\n%s", r.err, r.events)
	}
	r = second.run(childCost+"=1", childErase+"=nvme-QEMU_NVMe_Ctrl_NVC")
	if r.err == nil || !strings.Contains(r.events, "refused erase-unknown") {
		t.Errorf("consent for a disk that no layout names: %v\n%s", r.err, r.events)
	}
	for name, count := range writes(t) {
		if before[name] != count {
			t.Errorf("%s was written to: %s, then %s", name, before[name], count)
		}
	}
	h.must(childCost + "=1")
	h.judge()
}

// isRenamed: a host whose layout has another hostname keeps every disk, though
// nothing but the disks says which host it is. (Its pools are mounted, and btrfs
// writes by itself: writes cannot be counted.)
func (h house) isRenamed(t *testing.T) {
	h.t = t
	h.must(childCost + "=1")
	before := h.identities()
	again := staying(t, strings.Replace(smallHost, "hostname: small", "hostname: other", 1))
	if r := again.must(childCost + "=1"); strings.Contains(r.events, "refused ") {
		t.Errorf("the host renamed: %s", r.events)
	}
	if after := again.identities(); after != before {
		t.Errorf("what the disks carry has changed:\n%s\nbefore:\n%s", after, before)
	}
	// The key file has the new name, too, and is the key that it was.
	real := strings.TrimSpace(sh(t, "readlink -f %s", secondStick))
	if was, is := mtype(t, real, "small"), mtype(t, real, "other"); len(was) != 4096 || was != is {
		t.Errorf("the stick's keys have %d and %d bytes, want the same 4096", len(was), len(is))
	}
	again.judge()
}

// TestInnerSticks: what can be wrong with a stick is said, nothing on it is
// lost, and the run goes on once it is put right: the first on blank disks, the
// others on the host that stands then, whose stick is a new one.
func TestInnerSticks(t *testing.T) {
	real := strings.TrimSpace(sh(t, "readlink -f %s", secondStick))
	h := newHouse(t, smallHost)
	mount := func(do string) {
		t.Helper()
		sh(t, "mkdir -p /mnt/stick && mount -t vfat %s /mnt/stick && { %s; sync; umount /mnt/stick; }", real, do)
	}
	for _, c := range []struct {
		name, want string
		spoil      func()
		mend       func()
	}{
		{"no VFAT", "stick-missing",
			func() { sh(t, "wipefs -qa %s && mkfs.ext4 -q -F %s 65536 && udevadm settle", real, real) },
			func() {
				sh(t, "wipefs -qa %s; mkfs.vfat -I -F 32 -s 1 -i 8B347D3C %s 70000 && udevadm settle", real, real)
			}},
		{"another file of that name", `a file \"small\" that is not a key of hvinstall's`,
			func() { mount("echo 'a letter' >/mnt/stick/small") },
			func() {
				if got := mtype(t, real, "small"); got != "a letter\n" {
					t.Errorf("the file is now %q", got)
				}
				mount("rm /mnt/stick/small")
			}},
		{"zeros of a key's length", `a file \"small\" that is not a key of hvinstall's`,
			func() { mount("head -c 4096 /dev/zero >/mnt/stick/small") }, func() { mount("rm /mnt/stick/small") }},
		{"full", "the stick is full",
			func() { mount("dd if=/dev/zero of=/mnt/stick/big bs=64k 2>/dev/null || true") },
			func() {
				if out := sh(t, "mdir -b -i %s ::", real); strings.Contains(out, "part") {
					t.Errorf("a part of the key was left: %s", out)
				}
				mount("rm /mnt/stick/big")
			}},
		{"read-only", "the stick is read-only", func() { sh(t, "blockdev --setro %s", real) }, func() { sh(t, "blockdev --setrw %s", real) }},
	} {
		// Small, so that it is soon full.
		sh(t, "wipefs -qa %s; mkfs.vfat -I -F 32 -n MINE -s 1 -i 8B347D3C %s 70000 && echo 'my notes' | mcopy -i %s - ::notes.txt && udevadm settle", real, real, real)
		c.spoil()
		r := h.run(childCost + "=1")
		if r.err == nil || !strings.Contains(r.events, c.want) {
			t.Errorf("%s: %v, want %q\n%s", c.name, r.err, c.want, r.events)
		}
		c.mend()
		if c.name != "no VFAT" {
			if got := mtype(t, real, "notes.txt"); got != "my notes\n" {
				t.Errorf("%s: the stick's own file is now %q", c.name, got)
			}
		}
		h.must(childCost + "=1")
		if key := mtype(t, real, "small"); len(key) != 4096 {
			t.Errorf("%s: put right, the key has %d bytes", c.name, len(key))
		}
	}
	h.judge()
}

// TestInnerNoStick: without a USB key the passphrase is the only way in.
func TestInnerNoStick(t *testing.T) {
	h := newHouse(t, strings.Split(smallHost, "encryption:")[0])
	h.must(childCost + "=1")
	h.judge()
	if r := h.must(childCost + "=1"); r.Changed == 0 {
		t.Error("nothing was mounted again")
	}
	t.Run("header's first copy gone", h.opensBySecondCopy)
}

// TestInnerLookWritesNothing: a dry run leaves every disk as it is.
func TestInnerLookWritesNothing(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	sh(t, "sync; udevadm settle")
	before := writes(t)
	r := h.must(childCost+"=1", childLook+"=1")
	if r.States < 30 {
		t.Errorf("looked at %d steps only", r.States)
	}
	for name, count := range writes(t) {
		if before[name] != count {
			t.Errorf("the dry run wrote to %s: %s, then %s", name, before[name], count)
		}
	}
	if mounts, err := exec.Command("grep", "/run/hvinstall", "/proc/self/mounts").Output(); err == nil {
		t.Errorf("the dry run left mounts:\n%s", mounts)
	}
}
