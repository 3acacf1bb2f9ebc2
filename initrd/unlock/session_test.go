package unlock

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"hvinstall/crypt"
	"hvinstall/initrd/boot"
)

// exampleHost is a plan with an OS volume and a pool of two.
func exampleHost() boot.Config {
	return boot.Config{
		Hostname: "h", FallbackToPassword: true,
		KeyWait: boot.Duration(10 * time.Second), PoolWait: boot.Duration(10 * time.Second), PatientWait: boot.Duration(600 * time.Second),
		Keys: []boot.Key{{FSUUID: "8B34-7D3C", Filename: "h"}},
		Volumes: []boot.Volume{
			{UUID: "u-os", Mapping: "cryptroot", DiskID: "nvme-OS_S1"},
			{UUID: "u-1", Mapping: "crypt-bulk-1", DiskID: "ata-D_S2", Pool: "bulk"},
			{UUID: "u-2", Mapping: "crypt-bulk-2", DiskID: "ata-D_S3", Pool: "bulk"},
		},
		Root:  boot.Root{FSUUID: "fs"},
		Pools: []boot.Pool{{Name: "bulk", FSUUID: "fs2", Members: 2, Mountpoint: "/mnt/bulk", Degraded: boot.DegradedSkip}},
	}
}

// play is a session with what a test does to it.
type play struct {
	*testing.T
	*session
	now float64
}

func newPlay(t *testing.T, c boot.Config) *play { return &play{t, newSession(c, 2), 2} }

// disk lets the plan's own disk of a UUID appear.
func (p *play) disk(name, uuid string) {
	own := map[string]identity{
		"u-os": {bus: nvme, model: "OS", serial: "S1"},
		"u-1":  {bus: scsi, vendor: "ATA", model: "D", serial: "S2"},
		"u-2":  {bus: scsi, vendor: "ATA", model: "D", serial: "S3"},
	}
	p.appeared(device{name: name, kind: luks, uuid: uuid, disk: own[uuid]}, p.now)
}

// other lets another disk with a UUID of the plan appear.
func (p *play) other(name, uuid string) string {
	return p.appeared(device{name: name, kind: luks, uuid: uuid, disk: identity{bus: usb, vendor: "Evil", model: "Stick", serial: name}}, p.now)
}

func (p *play) key(name string, typed bool) *key {
	k := &key{Key: crypt.Key{Name: name, Secret: crypt.NewSecret([]byte(name)), Passphrase: typed}}
	p.offered(k)
	return k
}

// try begins every attempt that is due and ends it: opens says by which keys.
func (p *play) try(opens ...*key) (n int) {
	p.Helper()
	for {
		p.proven = p.rootOpen()
		st := p.next(p.now)
		if len(st.attempts) == 0 {
			return n
		}
		for _, a := range st.attempts {
			p.began(a)
			err := errors.New("no")
			for _, k := range opens {
				if a.key == k {
					err = nil
				}
			}
			p.ended(a, err, p.now)
			n++
		}
	}
}

func TestStickOpensAll(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	k := p.key("stick", false)
	if n := p.try(k); n != 2 {
		t.Fatalf("%d attempts, want 2", n)
	}
	if st := p.next(p.now); st.done || st.membersMissing || st.wake != 4 {
		t.Errorf("with a member missing: done %v, told %v, wake %v; want false, false, 4", st.done, st.membersMissing, st.wake)
	}
	if st := p.next(4); st.done || !st.membersMissing || st.wake != 12 {
		t.Errorf("2 s later: done %v, told %v, wake %v; want false, true, 12", st.done, st.membersMissing, st.wake)
	}
	p.now = 5
	p.disk("sdb1", "u-2")
	p.try(k)
	if st := p.next(p.now); !st.done || st.ask != askNothing {
		t.Errorf("all open: done %v, ask %v", st.done, st.ask)
	}
}

func TestMissingMemberIsWaitedForSinceTheLastDisk(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.now = 30 // a disk that took its time
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	k := p.key("stick", false)
	p.try(k)
	if st := p.next(39); st.done {
		t.Error("done before 10 s since the last disk")
	}
	if st := p.next(40); !st.done {
		t.Error("not done 10 s after the last disk")
	}
}

func TestPatientPoolWaitsLongerAndEnterEndsIt(t *testing.T) {
	c := exampleHost()
	c.Pools[0].Degraded = boot.DegradedWait
	p := newPlay(t, c)
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	k := p.key("stick", false)
	p.try(k)
	if st := p.next(100); st.done || st.ask != askPatience || st.wake != 602 {
		t.Errorf("done %v, ask %v, wake %v; want false, askPatience, 602", st.done, st.ask, st.wake)
	}
	if st := p.next(602); !st.done {
		t.Error("not done after patient_wait")
	}
	p.impatient = true
	if st := p.next(100); !st.done || st.ask != askNothing {
		t.Errorf("after Enter: done %v, ask %v", st.done, st.ask)
	}
}

func TestPromptComesAfterKeyWait(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	if st := p.next(11); st.ask != askNothing || st.noStick || st.wake != 12 {
		t.Errorf("before key_wait: ask %v, noStick %v, wake %v", st.ask, st.noStick, st.wake)
	}
	if st := p.next(12); st.ask != askPassphrase || !st.noStick {
		t.Errorf("after key_wait: ask %v, noStick %v", st.ask, st.noStick)
	}
	c := exampleHost()
	c.FallbackToPassword = false
	q := newPlay(t, c)
	q.disk("nvme0n1p2", "u-os")
	if st := q.next(1000); st.ask != askNothing || !st.noStick || st.done || !math.IsInf(st.wake, 1) {
		t.Errorf("without a passphrase: ask %v, done %v, wake %v; want to wait for ever", st.ask, st.done, st.wake)
	}
}

func TestWrongKeyAsksAtOnce(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	k := p.key("wrong stick", false)
	if st := p.next(3); st.ask != askNothing || len(st.attempts) != 1 {
		t.Fatalf("ask %v, %d attempts while the key is not tried", st.ask, len(st.attempts))
	}
	p.try()
	if right, known := p.verdict(k); right || !known {
		t.Errorf("verdict %v, %v", right, known)
	}
	if st := p.next(3); st.ask != askPassphrase {
		t.Errorf("ask %v after a wrong key, want askPassphrase", st.ask)
	}
	// A right stick that is plugged in later still opens.
	good := p.key("good stick", false)
	p.try(good)
	if !p.rootOpen() {
		t.Error("the second stick did not open the root")
	}
}

func TestWrongPassphraseIsForgotten(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	k := p.key("typed", true)
	secret := k.Secret.Bytes()
	p.try()
	if right, known := p.verdict(k); right || !known {
		t.Errorf("verdict %v, %v", right, known)
	}
	p.forget(k)
	if len(p.keys) != 0 || strings.Trim(string(secret), "\x00") != "" {
		t.Errorf("%d keys, secret %q; want none, wiped", len(p.keys), secret)
	}
	if st := p.next(20); st.ask != askPassphrase {
		t.Errorf("ask %v, want askPassphrase", st.ask)
	}
}

func TestWrongPassphraseCostsOneVolume(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	wrong := p.key("typed", true)
	if n := p.try(); n != 1 {
		t.Errorf("a wrong passphrase was tried on %d volumes, want 1", n)
	}
	p.disk("sdb1", "u-2") // disks go on appearing
	if n := p.try(); n != 0 {
		t.Errorf("it was tried on %d more", n)
	}
	p.forget(wrong)
	good := p.key("typed again", true)
	if n := p.try(good); n != 3 {
		t.Errorf("the right one was tried on %d volumes, want all 3", n)
	}
}

func TestNoPromptWithoutTheOSDisk(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("sda1", "u-1")
	if st := p.next(100); st.ask != askNothing || !st.rootMissing || st.done {
		t.Errorf("ask %v, rootMissing %v, done %v", st.ask, st.rootMissing, st.done)
	}
}

func TestPoolThatNoKeyOpensDoesNotHoldTheHostForEver(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	p.disk("sdb1", "u-2")
	k := p.key("stick", false)
	p.try(k)
	p.volumes[2].open = false
	p.now = 4
	st := p.next(p.now)
	if st.ask != askPassphrase || st.done {
		t.Fatalf("ask %v, done %v; want the passphrase of crypt-bulk-2", st.ask, st.done)
	}
	p.lastTyped = 20 // somebody is there
	if st := p.next(40); st.done {
		t.Error("went on while somebody was typing")
	}
	if st := p.next(81); !st.done {
		t.Error("waits for ever at 3 in the morning")
	}
}

// TestCopyIsNotOpenedBesideTheOriginal: one prepared disk beside the plan's
// took the key that was wrong there.
func TestCopyIsNotOpenedBesideTheOriginal(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	warning := p.other("sdx1", "u-os")
	if !strings.Contains(warning, "sdx1") || !strings.Contains(warning, "which is nvme0n1p2: no other is opened") {
		t.Errorf("warning %q does not say which it is", warning)
	}
	p.key("stick", false)
	st := p.next(2)
	if len(st.attempts) != 1 || st.attempts[0].device.name != "nvme0n1p2" {
		t.Fatalf("attempts %+v, want one on nvme0n1p2", st.attempts)
	}
	p.try() // it does not open
	p.key("mistyped", true)
	p.try()
	// The plan's disk is pulled: what was wrong on it is tried on no copy, even
	// when a person says that this is the disk.
	p.vanished("nvme0n1p2")
	p.next(100)
	p.agree()
	if st := p.next(100); len(st.attempts) != 0 {
		t.Errorf("attempts %+v with keys that were wrong on the plan's disk", st.attempts)
	}
	for trial := range p.volumes[0].tried {
		if trial.device != "nvme0n1p2" {
			t.Errorf("%s was tried on %s", trial.key.Name, trial.device)
		}
	}
}

// TestCopyThatComesFirstIsNotOpened: a stick is ready before a disk that has
// to start, and the init knows the copy alone for a while.
func TestCopyThatComesFirstIsNotOpened(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.other("sdx1", "u-os")
	k := p.key("stick", false)
	if st := p.next(11); len(st.attempts) != 0 || st.ask != askNothing || st.wake != 12 {
		t.Fatalf("%+v, want to wait for the plan's disk until 12", st)
	}
	p.now = 11
	p.disk("nvme0n1p2", "u-os")
	p.try(k)
	if !p.rootOpen() || p.volumes[0].on.name != "nvme0n1p2" {
		t.Errorf("the root is on %q, want nvme0n1p2", p.volumes[0].on.name)
	}
}

// TestOtherDiskIsOpenedOnceAPersonSaysSo: never unattended, for it may be a copy.
func TestOtherDiskIsOpenedOnceAPersonSaysSo(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.other("sdx1", "u-os")
	k := p.key("stick", false)
	for _, now := range []float64{12, 100, 100000} {
		if st := p.next(now); len(st.attempts) != 0 || st.ask != askDisk {
			t.Fatalf("at %v: %+v, want a question", now, st)
		}
	}
	p.agree()
	p.now = 100001
	if p.try(k); !p.rootOpen() {
		t.Error("not open although a person said so")
	}
	if warning := func() string { p.disk("nvme0n1p2", "u-os"); return p.volumes[0].copies() }(); !strings.Contains(warning, "was opened from sdx1") {
		t.Errorf("%q does not tell what was opened", warning)
	}

	// The word is for that disk alone.
	q := newPlay(t, exampleHost())
	q.other("sdx1", "u-os")
	q.key("stick", false)
	q.next(12)
	q.agree()
	q.vanished("sdx1")
	q.now = 13
	q.other("sdx1", "u-os")
	if st := q.next(100); len(st.attempts) != 0 || st.ask != askDisk {
		t.Errorf("%+v, want to be asked again", st)
	}
}

// TestRenamedPoolDiskIsOpenedAfterAWhile: an enclosure or a firmware changes a
// disk's name, and nobody is there at 3 in the morning.
func TestRenamedPoolDiskIsOpenedAfterAWhile(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	p.other("sdx1", "u-2")
	k := p.key("stick", false)
	p.try(k)
	if st := p.next(11); st.done || p.volumes[2].open {
		t.Errorf("done %v, open %v before the plan's disk was waited for", st.done, p.volumes[2].open)
	}
	p.now = 12
	p.try(k)
	if st := p.next(12); !st.done || !p.volumes[2].open {
		t.Errorf("done %v, open %v; want the pool whole", st.done, p.volumes[2].open)
	}
}

// TestPoolsWaitForTheRootsProof: keys are tried on them for nobody else.
func TestPoolsWaitForTheRootsProof(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("nvme0n1p2", "u-os")
	p.disk("sda1", "u-1")
	k := p.key("stick", false)
	st := p.next(2)
	if len(st.attempts) != 1 || st.attempts[0].volume != p.volumes[0] {
		t.Fatalf("attempts %+v, want the OS volume's alone", st.attempts)
	}
	p.began(st.attempts[0])
	p.ended(st.attempts[0], nil, 2)
	if st := p.next(2); len(st.attempts) != 0 || st.done {
		t.Errorf("%+v before the root is proven", st)
	}
	p.proven = true
	if st := p.next(2); len(st.attempts) != 1 || st.attempts[0].key != k {
		t.Errorf("attempts %+v, want the pool's", st.attempts)
	}
}

// TestOfTwoCopiesNoneIsOpened: without the plan's disk nobody knows which of
// two is it; pulling one out answers that.
func TestOfTwoCopiesNoneIsOpened(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.other("sdx1", "u-os")
	if warning := p.other("sdy1", "u-os"); !strings.Contains(warning, "pulled out") {
		t.Errorf("warning %q does not say what to do", warning)
	}
	p.key("stick", false)
	for _, now := range []float64{2, 1000} {
		if st := p.next(now); len(st.attempts) != 0 || st.ask != askNothing {
			t.Fatalf("%+v, want nothing tried and nothing asked", st)
		}
	}
	p.agree()
	if st := p.next(1000); len(st.attempts) != 0 {
		t.Errorf("attempts %+v on one of two", st.attempts)
	}
	// Nor of two that both call themselves the plan's.
	q := newPlay(t, exampleHost())
	q.disk("nvme0n1p2", "u-os")
	q.disk("nvme9n1p2", "u-os")
	q.key("stick", false)
	if st := q.next(1000); len(st.attempts) != 0 {
		t.Errorf("attempts %+v on one of two that call themselves the plan's", st.attempts)
	}
}

func TestDecoyWithoutTheUUIDIsLeftAlone(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("sdx1", "another")
	p.key("stick", false)
	if st := p.next(2); len(st.attempts) != 0 {
		t.Errorf("attempts %+v on a disk that is not in the plan", st.attempts)
	}
}

func TestDiskThatGoesAndComesIsTriedAgain(t *testing.T) {
	p := newPlay(t, exampleHost())
	p.disk("sda1", "u-os")
	p.key("stick", false)
	p.try()
	p.vanished("sda1")
	if st := p.next(3); len(st.attempts) != 0 {
		t.Errorf("attempts %+v on a disk that went", st.attempts)
	}
	p.disk("sda1", "u-os")
	if st := p.next(3); len(st.attempts) != 1 {
		t.Errorf("%d attempts on a disk that came back, want 1", len(st.attempts))
	}
}

// TestTryAlwaysAnswers: a bug while a key is tried is a problem of these
// volumes; without an answer they would be busy for ever.
func TestTryAlwaysAnswers(t *testing.T) {
	p := newPlay(t, exampleHost())
	o := &opening{session: p.session, results: make(chan result, 1)} // without hardware: nothing works
	v := p.volumes[0]
	o.try(&key{}, []attempt{{volume: v, device: device{name: "sda1"}}})
	select {
	case r := <-o.results:
		if len(r.attempts) != 1 || r.opened[0].Err == nil {
			t.Errorf("%+v, want one error", r)
		}
	default:
		t.Error("no answer")
	}
}
