//go:build loop

package crypt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hvinstall/step"
)

// Headers are written to files here, which need neither root nor device
// mapper; opening mappings is tested in a guest.

const loopPassphrase = "lentil orbit canyon velvet"

type quiet struct{ t *testing.T }

func (q quiet) Progress(int64, int64, string)  {}
func (q quiet) Log(format string, args ...any) { q.t.Logf(format, args...) }
func (q quiet) Warn(format string, a ...any)   { q.t.Logf("warning: "+format, a...) }

func newVolume(t *testing.T, name string) VolumePlan {
	t.Helper()
	if _, err := exec.LookPath("cryptsetup"); err != nil {
		t.Fatal("cryptsetup is not installed: apt-get install cryptsetup-bin")
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	return VolumePlan{
		Mapping: name, Device: path, DiskID: "/dev/disk/by-id/x", UUID: "6f1c2a3b-0000-5000-8000-00000000000" + strconv.Itoa(len(name)%10),
		SectorSize: 4096, AllowDiscards: true, Create: true,
	}
}

func ring() *Keyring {
	return &Keyring{
		ForceCost:  &Cost{Time: 4, Memory: 32, Parallel: 1},
		Passphrase: func(context.Context) (Secret, error) { return NewSecret([]byte(loopPassphrase)), nil },
	}
}

func yes() (bool, error) { return true, nil }
func no() (bool, error)  { return false, nil }

// do runs steps one after the other, with their checks before and after.
func do(t *testing.T, steps ...step.Step) error {
	t.Helper()
	for _, s := range steps {
		s.After = nil
		r := step.Runner{Events: func(e step.Event) {
			if e.Message != "" {
				t.Logf("%s %s: %s", e.Kind, e.Step, e.Message)
			}
		}}
		if _, err := r.Run(context.Background(), []step.Step{s}); err != nil {
			return err
		}
	}
	return nil
}

// opensBy asks cryptsetup, the other hand.
func opensBy(t *testing.T, v VolumePlan, secret []byte) bool {
	t.Helper()
	cmd := exec.Command("cryptsetup", "open", "--test-passphrase", "--key-file", "-", v.Device)
	cmd.Stdin = strings.NewReader(string(secret))
	return cmd.Run() == nil
}

// TestVolumeWithTwoSticks makes a volume with two sticks' keys and the
// passphrase, and reads what cryptsetup says of it.
func TestVolumeWithTwoSticks(t *testing.T) {
	v := newVolume(t, "crypt-a")
	keys := []KeyPlan{{FSUUID: "AAAA-0001", Filename: "h"}, {FSUUID: "AAAA-0002", Filename: "h"}}
	p := Plan{Volumes: []VolumePlan{v}, Keys: keys}
	k := ring()
	k.keep(keys[0].FSUUID, NewKey(KeySize))
	k.keep(keys[1].FSUUID, NewKey(KeySize))
	if err := do(t, p.FormatStep(v, k, yes), p.SlotStep(v, keys[0], k), p.SlotStep(v, keys[1], k), p.PassphraseStep(v, k)); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	if h.UUID != v.UUID || h.Label != v.Mapping || h.Subsystem != Subsystem || h.Sector != 4096 {
		t.Errorf("header = %+v", h)
	}
	if h.KeySlot("AAAA-0001") != 0 || h.KeySlot("AAAA-0002") != 1 || h.PassphraseSlot() != 2 || len(h.Slots) != 3 {
		t.Errorf("slots = %+v, tokens %+v", h.Slots, h.Tokens)
	}
	for n, want := range map[int]Slot{0: {"pbkdf2", 1000, Cost{}, 2}, 1: {"pbkdf2", 1000, Cost{}, 2}, 2: {"argon2id", 0, *k.ForceCost, 1}} {
		if h.Slots[n] != want {
			t.Errorf("slot %d = %+v, want %+v", n, h.Slots[n], want)
		}
	}
	dump, err := exec.Command("cryptsetup", "luksDump", v.Device).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	for _, want := range []string{"Hash:       sha512", "Iterations: 1000", "Priority:   preferred", "Subsystem:     \thvinstall", "hvinstall-key", "hvinstall-passphrase"} {
		if !strings.Contains(string(dump), want) {
			t.Errorf("luksDump lacks %q:\n%s", want, dump)
		}
	}
	for name, secret := range map[string][]byte{"stick 1": k.key("AAAA-0001").Bytes(), "stick 2": k.key("AAAA-0002").Bytes(), "passphrase": []byte(loopPassphrase)} {
		if !opensBy(t, v, secret) {
			t.Errorf("cryptsetup does not open it by the %s", name)
		}
	}
	if opensBy(t, v, []byte("wrong")) {
		t.Error("a wrong passphrase opens it")
	}
	before, err := os.ReadFile(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := do(t, p.FormatStep(v, k, no), p.SlotStep(v, keys[0], k), p.SlotStep(v, keys[1], k), p.PassphraseStep(v, k), p.CostStep(k)); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(v.Device)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("a second run changed the volume (%v)", err)
	}
}

// TestVolumeWithoutStick: the throw-away key's slot is gone at the end.
func TestVolumeWithoutStick(t *testing.T) {
	v := newVolume(t, "crypt-bc")
	p, k := Plan{Volumes: []VolumePlan{v}}, ring()
	if err := do(t, p.FormatStep(v, k, yes), p.PassphraseStep(v, k)); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Slots) != 1 || h.Slots[h.PassphraseSlot()].KDF != "argon2id" {
		t.Errorf("slots = %+v, want the passphrase's alone", h.Slots)
	}
	if !opensBy(t, v, []byte(loopPassphrase)) {
		t.Error("the passphrase does not open it")
	}
}

// TestVolumeCutShort: a volume whose first key is gone is made anew while its
// disk is being made, and never afterwards.
func TestVolumeCutShort(t *testing.T) {
	v := newVolume(t, "crypt-def")
	p := Plan{Volumes: []VolumePlan{v}}
	if err := do(t, p.FormatStep(v, ring(), yes)); err != nil {
		t.Fatal(err)
	}
	// The next run knows no throw-away key.
	if state, why, err := p.FormatStep(v, ring(), yes).Check(context.Background()); state != step.Absent || err != nil {
		t.Errorf("begun: %v (%s), %v; want it made anew", state, why, err)
	}
	if state, why, err := p.FormatStep(v, ring(), no).Check(context.Background()); state != step.Done || err != nil {
		t.Errorf("complete: %v (%s), %v; want it left alone", state, why, err)
	}
	k := ring()
	if err := do(t, p.FormatStep(v, k, yes), p.PassphraseStep(v, k)); err != nil {
		t.Fatal(err)
	}
	// Without its header, a complete volume is never formatted again.
	if err := os.WriteFile(v.Device, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	state, why, err := p.FormatStep(v, ring(), no).Check(context.Background())
	if state != step.Foreign || err != nil || !strings.Contains(why, "luksHeaderRestore") {
		t.Errorf("without its header: %v (%s), %v; want foreign and the way to its backup", state, why, err)
	}
}

// TestHeaderCutShort: a header of which only the beginning reached the disk
// promises slots that hold nothing; it is made anew.
func TestHeaderCutShort(t *testing.T) {
	v := newVolume(t, "crypt-hijk")
	keys := []KeyPlan{{FSUUID: "AAAA-0001", Filename: "h"}, {FSUUID: "AAAA-0002", Filename: "h"}}
	p, k := Plan{Volumes: []VolumePlan{v}, Keys: keys}, ring()
	for _, key := range keys {
		k.keep(key.FSUUID, NewKey(KeySize))
	}
	if err := do(t, p.FormatStep(v, k, yes)); err != nil {
		t.Fatal(err)
	}
	if state, why, err := p.FormatStep(v, k, yes).Check(context.Background()); state != step.Done || err != nil {
		t.Errorf("whole: %v (%s), %v", state, why, err)
	}
	whole, err := os.ReadFile(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	for name, reached := range map[string]int{"the first copy": 16 << 10, "both copies": 32 << 10, "the first slot": 32<<10 + 258048} {
		cut := slices.Clone(whole)
		clear(cut[reached:])
		if err := os.WriteFile(v.Device, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		if state, why, err := p.FormatStep(v, k, yes).Check(context.Background()); state != step.Absent || err != nil {
			t.Errorf("only %s: %v (%s), %v; want it made anew", name, state, why, err)
		}
		if err := do(t, p.FormatStep(v, k, yes), p.SlotStep(v, keys[0], k), p.SlotStep(v, keys[1], k)); err != nil {
			t.Errorf("only %s: %v", name, err)
		}
		for _, key := range keys {
			if !opensBy(t, v, k.key(key.FSUUID).Bytes()) {
				t.Errorf("only %s, then made anew: the key of %s does not open it", name, key.FSUUID)
			}
		}
	}
}

// TestEnrolmentsCutShort: a slot without its token was not proven, and is found
// again and not made twice.
func TestEnrolmentsCutShort(t *testing.T) {
	v := newVolume(t, "crypt-g")
	key := KeyPlan{FSUUID: "AAAA-0001", Filename: "h"}
	p, k := Plan{Volumes: []VolumePlan{v}, Keys: []KeyPlan{key}}, ring()
	k.keep(key.FSUUID, NewKey(KeySize))
	ctx := context.Background()
	if err := do(t, p.FormatStep(v, k, yes)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.addSlot(ctx, k.key(key.FSUUID), NewSecret([]byte(loopPassphrase)), k.ForceCost.options(), t.Logf); err != nil {
		t.Fatal(err)
	}
	if err := do(t, p.SlotStep(v, key, k), p.PassphraseStep(v, k)); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(v.Device)
	if err != nil || len(h.Slots) != 2 || h.PassphraseSlot() != 1 || h.KeySlot(key.FSUUID) != 0 {
		t.Errorf("header = %+v, %v; want the slots that were there, marked", h, err)
	}
}

// TestStickWithAnotherKey: a stick that was made anew gets its slot back, by
// the passphrase, and the old key opens nothing any more.
func TestStickWithAnotherKey(t *testing.T) {
	v := newVolume(t, "crypt-hi")
	key := KeyPlan{FSUUID: "AAAA-0001", Filename: "h"}
	p, k := Plan{Volumes: []VolumePlan{v}, Keys: []KeyPlan{key}}, ring()
	old := NewKey(KeySize)
	k.keep(key.FSUUID, old)
	if err := do(t, p.FormatStep(v, k, yes), p.SlotStep(v, key, k), p.PassphraseStep(v, k)); err != nil {
		t.Fatal(err)
	}
	again := ring()
	fresh := NewKey(KeySize)
	again.keep(key.FSUUID, fresh)
	if err := do(t, p.SlotStep(v, key, again)); err != nil {
		t.Fatal(err)
	}
	if !opensBy(t, v, fresh.Bytes()) || opensBy(t, v, old.Bytes()) || !opensBy(t, v, []byte(loopPassphrase)) {
		t.Errorf("opens by the new key %v, the old %v, the passphrase %v; want true, false, true",
			opensBy(t, v, fresh.Bytes()), opensBy(t, v, old.Bytes()), opensBy(t, v, []byte(loopPassphrase)))
	}
	h, err := ReadHeader(v.Device)
	if err != nil || len(h.Slots) != 2 || len(h.Tokens) != 2 {
		t.Errorf("slots %+v, tokens %+v, %v", h.Slots, h.Tokens, err)
	}
}

// TestPassphrasesMustAgree: a second run with another passphrase stops before
// it writes.
func TestPassphrasesMustAgree(t *testing.T) {
	a, b := newVolume(t, "crypt-jkl"), newVolume(t, "crypt-mnop")
	p, k := Plan{Volumes: []VolumePlan{a, b}}, ring()
	if err := do(t, p.FormatStep(a, k, yes), p.PassphraseStep(a, k)); err != nil {
		t.Fatal(err)
	}
	other := ring()
	other.Passphrase = func(context.Context) (Secret, error) { return NewSecret([]byte("another")), nil }
	err := do(t, p.FormatStep(b, other, yes), p.PassphraseStep(b, other))
	if err == nil || !strings.Contains(err.Error(), "crypt-jkl, which has one from an earlier run") {
		t.Errorf("with another passphrase: %v", err)
	}
	right := ring()
	if err := do(t, p.FormatStep(b, right, yes), p.PassphraseStep(b, right)); err != nil {
		t.Error(err)
	}
}

// TestForeignVolume: another volume in the place is named and left alone.
func TestForeignVolume(t *testing.T) {
	v := newVolume(t, "crypt-q")
	other := v
	other.UUID = "11111111-2222-4333-8444-555555555555"
	k := ring()
	if err := (Plan{}).FormatStep(other, k, yes).Do(context.Background(), quiet{t}); err != nil {
		t.Fatal(err)
	}
	err := do(t, (Plan{Volumes: []VolumePlan{v}}).FormatStep(v, k, yes))
	var foreign *step.ForeignError
	if !errors.As(err, &foreign) || !strings.Contains(err.Error(), other.UUID) {
		t.Errorf("= %v, want it called foreign", err)
	}
}

// TestDamagedHeader: either copy is enough, and the newer one counts.
func TestDamagedHeader(t *testing.T) {
	v := newVolume(t, "crypt-rs")
	key := NewKey(64)
	if err := v.formatWith(context.Background(), key, t.Logf); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"first": 5000, "second": 16384 + 5000} {
		broken := slices.Clone(whole)
		broken[at] ^= 0xff
		if err := os.WriteFile(v.Device, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := ReadHeader(v.Device); err != nil || h.UUID != v.UUID || !h.Damaged {
			t.Errorf("with the %s copy damaged: %+v, %v", name, h, err)
		}
		if fits, err := v.opens(key, 0); err != nil || !fits {
			t.Errorf("with the %s copy damaged, the key opens it: %v, %v", name, fits, err)
		}
		if fits, err := v.opens(NewKey(64), 0); err != nil || fits {
			t.Errorf("with the %s copy damaged, another key opens it: %v, %v", name, fits, err)
		}
		if left, err := os.ReadFile(v.Device); err != nil || !bytes.Equal(left, broken) {
			t.Errorf("with the %s copy damaged, opening wrote to the volume (%v)", name, err)
		}
	}
	// The next run has it mended, and keeps what is in it.
	broken := slices.Clone(whole)
	broken[5000] ^= 0xff
	if err := os.WriteFile(v.Device, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := do(t, (Plan{Volumes: []VolumePlan{v}}).FormatStep(v, ring(), no)); err != nil {
		t.Error(err)
	}
	if h, err := ReadHeader(v.Device); err != nil || h.Damaged || len(h.Slots) != 1 {
		t.Errorf("mended: %+v, %v", h, err)
	}
	broken = slices.Clone(whole)
	broken[5000] ^= 0xff
	broken[16384+5000] ^= 0xff
	if err := os.WriteFile(v.Device, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := ReadHeader(v.Device); !errors.Is(err, ErrNoHeader) || !h.Unfinished {
		t.Errorf("with both damaged: %+v, %v", h, err)
	}
}

// TestCostIsCryptsetups holds the cost that is forced on every volume against
// what cryptsetup chooses for a volume of its own: within a factor of two,
// because a benchmark on a busy machine never comes out the same twice. One of
// three measurements must hold: something else may run during any of them, and
// a cost that is wrong by itself is wrong in all three.
func TestCostIsCryptsetups(t *testing.T) {
	for range 3 {
		ours, its := measureBoth(t)
		work := func(c Cost) int { return c.Time * c.Memory }
		t.Logf("ours %+v, cryptsetup's own %+v", ours, its)
		if ours.Parallel == its.Parallel && work(ours)*2 >= work(its) {
			return
		}
	}
	t.Error("the cost measured is less than half of what cryptsetup chooses, three times")
}

// measureBoth is our cost and the one that cryptsetup chooses by itself.
func measureBoth(t *testing.T) (ours, its Cost) {
	t.Helper()
	ours, err := MeasureCost(context.Background(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	v := newVolume(t, "crypt-tuv")
	cmd := exec.Command("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--key-file", "-", v.Device)
	cmd.Stdin = strings.NewReader(loopPassphrase)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h, err := ReadHeader(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	return ours, h.Slots[0].Cost
}
