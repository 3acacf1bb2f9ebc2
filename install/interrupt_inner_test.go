//go:build guest_inner

package install

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// smallHost has every kind of step, on four disks.
const smallHost = `
hostname: small
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVOS
  esp_size: 256MiB
  subvolumes: {root: /, home: /home}
  swap_size: 64MiB
  nixos: {flake: "github:me/infra#hypervisor"}
pools:
  fast:
    disks: [/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVA, /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NVB]
    storage_media: ssd
encryption:
  usb_keys:
    - {disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USBA-0:0"}
    - {uuid: 8B34-7D3C}
`

// hash is the content of a whole disk.
func hash(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// fillOutside puts random bytes on the disk that no layout names.
func fillOutside(t *testing.T) string {
	t.Helper()
	sh(t, "dd if=/dev/urandom of=%s bs=1M count=32 conv=fsync 2>/dev/null", outside)
	return hash(t, outside)
}

// mend is what a user does after a kill, beside running the same command
// again: nothing. The mounts of the killed run are still there.
func (h house) untilDone(interrupt func(n int) string) (kills int) {
	h.t.Helper()
	for n := 1; n < 400; n++ {
		r := h.run(childCost+"=1", childKill+"="+interrupt(n))
		switch {
		case r.killed:
			kills++
		case r.err != nil:
			h.t.Fatalf("after %d kills: %v\n%s", kills, r.err, r.events)
		default:
			return kills
		}
	}
	h.t.Fatal("400 runs did not finish it")
	return 0
}

// interrupted makes the small host undisturbed, then disturbed, and compares.
func interrupted(t *testing.T, layout string, disturb func(t *testing.T, h house)) {
	formatSecondStick(t)
	h := newHouse(t, layout)
	h.must(childCost + "=1")
	want := h.identities()
	teardown(t)
	before := fillOutside(t)
	formatSecondStick(t)

	count := writes(t)["vda"]
	disturb(t, h)
	if got := h.identities(); got != want {
		t.Errorf("interrupted:\n%s\nundisturbed:\n%s", got, want)
	}
	if after := hash(t, outside); after != before {
		t.Error("the disk outside the plan has changed")
	}
	if now := writes(t)["vda"]; now != count {
		t.Errorf("the disk outside the plan was written to: %s, then %s", count, now)
	}
	if again := h.must(childCost + "=1"); again.Changed != 0 {
		t.Errorf("the run after the last changed something in %d steps", again.Changed)
	}
	h.judge()
}

// TestInnerKilledAfterEachStep kills the run after its first step that changed
// something, runs again and kills that after its first, and so on to the end:
// a kill after every step there is.
func TestInnerKilledAfterEachStep(t *testing.T) { killedAfterEachStep(t, smallHost, 30) }

// TestLongInnerKilledAfterEachStep is the same for the seven-disk host.
func TestLongInnerKilledAfterEachStep(t *testing.T) { killedAfterEachStep(t, sevenDisks, 60) }

func killedAfterEachStep(t *testing.T, layout string, least int) {
	interrupted(t, layout, func(t *testing.T, h house) {
		kills := h.untilDone(func(int) string { return "done 1" })
		t.Logf("%d kills", kills)
		if kills < least {
			t.Errorf("only %d kills: the test did not reach every step", kills)
		}
	})
}

// TestInnerKilledDuringSteps kills in the middle: while the first step of each
// run is at work, later and later into it, until runs get through.
func TestInnerKilledDuringSteps(t *testing.T) {
	killedDuringSteps(t, smallHost, []int{30, 300})
}

// TestLongInnerKilledDuringSteps is the same for the seven-disk host, at more
// moments.
func TestLongInnerKilledDuringSteps(t *testing.T) {
	killedDuringSteps(t, sevenDisks, []int{0, 5, 15, 30, 60, 100, 150, 220, 300, 450, 700, 1100})
}

// killedDuringSteps kills the first step of a run at each of the delays (ms);
// the run after the last of them gets through that step and is killed in the
// next.
func killedDuringSteps(t *testing.T, layout string, delays []int) {
	interrupted(t, layout, func(t *testing.T, h house) {
		kills := 0
		for runs := 0; runs < 100*len(delays); runs++ {
			when := "done 1"
			if n := runs % (len(delays) + 1); n < len(delays) {
				when = fmt.Sprintf("during 1 %d", delays[n])
			}
			r := h.run(childCost+"=1", childKill+"="+when)
			switch {
			case r.killed:
				kills++
			case r.err != nil:
				t.Fatalf("after %d kills: %v\n%s", kills, r.err, r.events)
			default:
				t.Logf("%d kills", kills)
				return
			}
		}
		t.Fatal("the runs did not finish it")
	})
}

// TestInnerPassphraseOfTheSecondRun: a run that goes on with another passphrase
// would leave a host with two; it is refused, and nothing is half made.
func TestInnerPassphraseOfTheSecondRun(t *testing.T) {
	formatSecondStick(t)
	h := newHouse(t, smallHost)
	for n := 1; ; n++ {
		r := h.run(childCost+"=1", fmt.Sprintf("%s=done %d", childKill, n))
		if strings.Contains(r.events, `"kind":"step-done","step":"crypt/passphrase/`) {
			break
		}
		if !r.killed {
			t.Fatalf("the run was not killed: %v\n%s", r.err, r.events)
		}
	}
	write0600(t, h.pass, "another passphrase altogether\n")
	r := h.run(childCost + "=1")
	if r.err == nil || !strings.Contains(r.events, "which has one from an earlier run") {
		t.Errorf("with another passphrase: %v\n%s", r.err, r.events)
	}
	write0600(t, h.pass, passphrase+"\n")
	h.must(childCost + "=1")
	h.judge()
}
