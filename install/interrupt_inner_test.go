//go:build guest_inner

package install

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
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

// fillOutside puts random bytes on the disk that no layout names.
func fillOutside(t *testing.T) string {
	t.Helper()
	sh(t, "dd if=/dev/urandom of=%s bs=1M count=32 conv=fsync 2>/dev/null", outside)
	return testvm.Sum(t, outside)
}

// trial is a host that was made undisturbed once, to be made again under kills.
type trial struct {
	house
	undisturbed story
	want        string // its identities
}

func newTrial(t *testing.T, layout string) trial {
	t.Helper()
	formatSecondStick(t)
	h := newHouse(t, layout)
	first := h.must(childCost + "=1")
	return trial{h, tell(first.events), h.identities()}
}

// killed makes the host anew from blank disks. Every run gets its moment from
// when, and is killed there; what each run told goes to seen. A user does
// nothing between two runs but give the same command again.
func (x trial) killed(when func(run int) string, seen func(s story, killed bool)) {
	t := x.t
	t.Helper()
	teardown(t)
	formatSecondStick(t)
	before := fillOutside(t)
	count := writes(t)["vda"]
	kills := 0
	for run := 0; ; run++ {
		if run == 2000 {
			t.Fatal("2000 runs did not finish it")
		}
		r := x.run(childCost+"=1", childKill+"="+when(run))
		if r.err != nil && !r.killed {
			t.Fatalf("after %d kills: %v\n%s", kills, r.err, r.events)
		}
		seen(tell(r.events), r.killed)
		if !r.killed {
			break
		}
		kills++
	}
	t.Logf("%d kills", kills)
	if got := x.identities(); got != x.want {
		t.Errorf("interrupted:\n%s\nundisturbed:\n%s", got, x.want)
	}
	if again := x.must(childCost + "=1"); again.Changed != 0 {
		t.Errorf("the run after the last changed something in %d steps", again.Changed)
	}
	if after := testvm.Sum(t, outside); after != before {
		t.Error("the disk outside the plan has changed")
	}
	if now := writes(t)["vda"]; now != count {
		t.Errorf("the disk outside the plan was written to: %s, then %s", count, now)
	}
}

// TestInnerKilledAtEveryStep kills the small host's run at every step.
func TestInnerKilledAtEveryStep(t *testing.T) { killedAtEveryStep(t, smallHost) }

// TestLongInnerKilledAtEveryStep does so with the example host's.
func TestLongInnerKilledAtEveryStep(t *testing.T) { killedAtEveryStep(t, sevenDisks) }

// killedAtEveryStep kills a run in the middle of every step that it has and
// after every step, each time in the state that the kills before left, until a
// run gets through. A step that was over before the kill came gets it sooner in
// the next pass; the last pass kills as the step starts.
func killedAtEveryStep(t *testing.T, layout string) {
	x := newTrial(t, layout)
	var c coverage
	c.reset(x.undisturbed.order)
	for _, share := range []float64{0.3, 0.05, 0} {
		x.killed(func(int) string { return c.next(x.undisturbed.took, share).String() }, c.saw)
		c.endPass()
		if len(c.middle)+len(c.after) == 0 {
			break
		}
	}
	for id := range c.middle {
		t.Errorf("%s was not killed in its middle", id)
	}
	for id := range c.after {
		t.Errorf("%s was not followed by a kill", id)
	}
	x.judge()
}

// coverage is what kills are still to come.
type coverage struct {
	middle, after map[string]bool // the steps that have not been killed there
	cut           map[string]bool // killed in the middle, and not begun again since
}

func (c *coverage) reset(steps []string) {
	c.middle, c.after, c.cut = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, id := range steps {
		c.middle[id], c.after[id] = true, true
	}
}

// next are a run's moments: a share of the time that each step took undisturbed
// after its start, and each step's end.
func (c *coverage) next(took map[string]time.Duration, share float64) moments {
	m := moments{map[string]time.Duration{}, c.after}
	for id := range c.middle {
		m.During[id] = time.Duration(share * float64(took[id]))
	}
	return m
}

func (c *coverage) saw(s story, killed bool) {
	for _, id := range slices.Concat(s.order, s.middle) {
		delete(c.cut, id)
	}
	if !killed {
		return
	}
	for _, id := range s.middle {
		delete(c.middle, id)
		c.cut[id] = true
	}
	delete(c.after, s.last)
}

// endPass counts a step whose work turned out to be done when it was killed in
// its middle: no later run began it again, so that the kill came after it.
func (c *coverage) endPass() {
	for id := range c.cut {
		delete(c.after, id)
	}
	clear(c.cut)
}

// TestLongInnerKilledAfterEachStep kills the run after its first step that
// changed something, runs again and kills that after its first, and so on.
func TestLongInnerKilledAfterEachStep(t *testing.T) {
	x := newTrial(t, sevenDisks)
	kills := 0
	x.killed(func(int) string { return "done 1" }, func(_ story, killed bool) {
		if killed {
			kills++
		}
	})
	if least := len(x.undisturbed.order) * 4 / 5; kills < least {
		t.Errorf("only %d kills, want %d at least: the test did not reach every step", kills, least)
	}
	x.judge()
}

// TestLongInnerKilledDuringSteps kills the first step of a run at each of many
// moments; the run after the last of them gets through that step and is killed
// in the next.
func TestLongInnerKilledDuringSteps(t *testing.T) {
	x := newTrial(t, sevenDisks)
	delays := []int{0, 5, 15, 30, 60, 100, 150, 220, 300, 450, 700, 1100} // ms
	x.killed(func(run int) string {
		if n := run % (len(delays) + 1); n < len(delays) {
			return fmt.Sprintf("during 1 %d", delays[n])
		}
		return "done 1"
	}, func(story, bool) {})
	x.judge()
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
