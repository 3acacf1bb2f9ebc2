package unlock

import (
	"fmt"
	"math"
	"slices"

	"hvinstall/crypt"
	"hvinstall/initrd/boot"
)

// session is what is known of a boot while its volumes are being opened. It
// decides and does nothing: next says what to do, the other methods take what
// happened. Moments are seconds since the kernel's start.
type session struct {
	config  boot.Config
	volumes []*volume
	keys    []*key

	started   float64 // when the waiting began
	lastDisk  float64 // when the last of the plan's volumes appeared
	lastTyped float64 // when a person last typed something
	impatient bool    // a person said to go on without what is missing
}

// volume is a volume of the plan.
type volume struct {
	boot.Volume
	devices []device // with its UUID, in the order of their appearance
	tried   map[trial]bool
	busy    bool    // a key is being tried
	stuck   float64 // when the last key at hand had failed; 0: not so
	open    bool
	by      string
	at      float64
	problem string
}

// trial is one key tried on one device.
type trial struct {
	key    *key
	device string
}

// key is a candidate. What counts is that it opens a volume.
type key struct {
	crypt.Key
	proven bool
	seen   float64 // when its stick appeared
}

// How long a pool's volume that no key at hand opens holds up a boot that has
// its root: for a person to type the passphrase, or to begin to.
const (
	stuckWait = 30
	typedWait = 60
)

// question is what people are asked on the consoles.
type question int

const (
	askNothing    question = iota
	askPassphrase          // none of the keys at hand opens the volumes
	askPatience            // Enter goes on without the members that are missing
)

// step is what to do now.
type step struct {
	attempts []attempt
	ask      question
	done     bool
	wake     float64 // when to ask next again, if nothing happens; +Inf: never

	noStick        bool // key_wait is over without any key
	rootMissing    bool // so is the time in which the OS disk should have come
	membersMissing bool // the root has been open for long enough to speak of what is not
}

// patienceBeforeWords is how long the root is open before the consoles tell
// which members of pools are missing: hard disks take longer to start than NVMe.
const patienceBeforeWords = 2

// attempt is a key to try on a device.
type attempt struct {
	volume *volume
	device device
	key    *key
}

func newSession(config boot.Config, now float64) *session {
	s := &session{config: config, started: now, lastDisk: now}
	for _, v := range config.Volumes {
		s.volumes = append(s.volumes, &volume{Volume: v, tried: map[trial]bool{}})
	}
	return s
}

// next decides. What it returns depends on the session and the moment alone.
func (s *session) next(now float64) step {
	st := step{wake: math.Inf(1)}
	// until says whether a moment has come, and has next called again when not.
	until := func(moment float64) bool {
		if now >= moment {
			return true
		}
		st.wake = min(st.wake, moment)
		return false
	}

	for _, v := range s.volumes {
		if a, ok := s.attempt(v); ok {
			st.attempts = append(st.attempts, a)
		} else if s.isStuck(v) && v.stuck == 0 {
			v.stuck = now
		}
	}
	working := len(st.attempts) > 0 || slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.busy })
	keyWait := s.started + s.config.KeyWait.Std().Seconds()

	if !s.rootOpen() {
		present := slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && len(v.devices) > 0 })
		wrong := slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && v.stuck > 0 })
		late := until(keyWait)
		st.noStick = late && len(s.keys) == 0
		st.rootMissing = !present && until(max(s.lastDisk, s.started)+s.config.PoolWait.Std().Seconds())
		openable := !slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && len(v.openable()) == 0 })
		if s.config.FallbackToPassword && openable && (wrong || late) && !working {
			st.ask = askPassphrase
		}
		return st
	}

	st.done = !working
	rootAt := 0.0
	for _, v := range s.volumes {
		if v.Pool == "" {
			rootAt = max(rootAt, v.at)
		}
	}
	for _, v := range s.volumes {
		if v.open || v.busy {
			continue
		}
		patient := s.patient(v.Pool)
		switch {
		case s.impatient:
		case len(v.devices) == 0 && patient:
			if !until(s.lastDisk + s.config.PatientWait.Std().Seconds()) {
				st.done, st.ask = false, max(st.ask, askPatience)
			}
		case len(v.devices) == 0:
			if !until(s.lastDisk + s.config.PoolWait.Std().Seconds()) {
				st.done = false
			}
		case v.stuck > 0 && s.config.FallbackToPassword:
			limit := max(v.stuck+stuckWait, s.lastTyped+typedWait)
			if patient {
				limit = max(limit, v.stuck+s.config.PatientWait.Std().Seconds())
			}
			if !until(limit) {
				st.done, st.ask = false, askPassphrase
			}
		}
	}
	if !st.done {
		st.membersMissing = until(rootAt + patienceBeforeWords)
	}
	// Volumes that are still being opened answer first.
	if working {
		st.ask = askNothing
	}
	return st
}

// attempt is the next key to try on a volume. A passphrase is tried on the OS
// volume first, and on the others once it, or a stick, has opened that: a wrong
// one costs one argon2id and not one for each volume.
func (s *session) attempt(v *volume) (attempt, bool) {
	if v.open || v.busy {
		return attempt{}, false
	}
	for _, k := range s.keys {
		if k.Passphrase && v.Pool != "" && !s.rootOpen() {
			continue
		}
		for _, d := range v.openable() {
			if !v.tried[trial{k, d.name}] {
				return attempt{v, d, k}, true
			}
		}
	}
	return attempt{}, false
}

// openable is the devices that a key may be tried on. A copy of a disk that
// the plan names, or a forgery of it, is none while that disk is there, whatever
// the key does on it. Where the plan's disk is not there, its name may have
// changed, by a firmware or an enclosure: one device with its UUID is it, of
// several nobody knows which.
func (v *volume) openable() []device {
	for _, d := range v.devices {
		if d.isOf(v.DiskID) {
			return []device{d}
		}
	}
	if len(v.devices) > 1 {
		return nil
	}
	return v.devices
}

// isStuck says that there is a disk, and there are keys, and none opens it.
func (s *session) isStuck(v *volume) bool {
	return !v.open && !v.busy && len(v.devices) > 0 && len(v.tried) > 0
}

func (s *session) rootOpen() bool {
	return !slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && !v.open })
}

func (s *session) patient(pool string) bool {
	return slices.ContainsFunc(s.config.Pools, func(p boot.Pool) bool {
		return p.Name == pool && p.Degraded == boot.DegradedWait
	})
}

// appeared takes a block device. It returns what a person should know.
func (s *session) appeared(d device, now float64) (warning string) {
	if d.kind != luks {
		return ""
	}
	for _, v := range s.volumes {
		if v.UUID != d.uuid || slices.ContainsFunc(v.devices, func(x device) bool { return x.name == d.name }) {
			continue
		}
		v.devices = append(v.devices, d)
		v.stuck = 0
		s.lastDisk = now
		if len(v.devices) > 1 {
			names := fmt.Sprintf("two disks carry the LUKS UUID of %s (%s and %s): one is a copy; the plan's is %s", v.Mapping, v.devices[0].name, d.name, v.DiskID)
			if len(v.openable()) == 0 {
				return names + ", and neither is that: none is opened until one of them is pulled out"
			}
			return names + ": no other is opened"
		}
	}
	return ""
}

// vanished takes a block device that is there no longer.
func (s *session) vanished(name string) {
	for _, v := range s.volumes {
		v.devices = slices.DeleteFunc(v.devices, func(d device) bool { return d.name == name })
		for t := range v.tried {
			if t.device == name {
				delete(v.tried, t)
			}
		}
	}
}

// offered takes a key.
func (s *session) offered(k *key) {
	s.keys = append(s.keys, k)
	for _, v := range s.volumes {
		v.stuck = 0
	}
}

// began and ended take an attempt's course.
func (s *session) began(a attempt) {
	a.volume.busy = true
	a.volume.tried[trial{a.key, a.device.name}] = true
}

func (s *session) ended(a attempt, err error, now float64) {
	v := a.volume
	v.busy = false
	if err != nil {
		v.problem = err.Error()
		return
	}
	v.open, v.by, v.at, v.problem, v.stuck = true, a.key.Name, now, "", 0
	a.key.proven = true
}

// verdict says whether a passphrase was right, once that is known.
func (s *session) verdict(k *key) (right, known bool) {
	if k.proven {
		return true, true
	}
	for _, v := range s.volumes {
		if a, ok := s.attempt(v); v.busy || ok && a.key == k {
			return false, false
		}
	}
	return false, true
}

// forget drops a key that opens nothing.
func (s *session) forget(k *key) {
	s.keys = slices.DeleteFunc(s.keys, func(x *key) bool { return x == k })
	k.Secret.Wipe()
}

// count is how many volumes are open.
func (s *session) count() int {
	n := 0
	for _, v := range s.volumes {
		if v.open {
			n++
		}
	}
	return n
}
