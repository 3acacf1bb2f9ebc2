package unlock

import (
	"fmt"
	"math"
	"slices"
	"strings"

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
	proven    bool    // the root is the host's own: pools may be opened for it
}

// volume is a volume of the plan.
type volume struct {
	boot.Volume
	devices []device // with its UUID, in the order of their appearance
	tried   map[trial]bool
	refused map[*key]bool // the keys that are wrong on the plan's own disk
	agreed  string        // the device that a person said is the plan's disk under another name
	late    bool          // the plan's disk was waited for long enough
	on      device        // what it was opened from
	busy    bool          // a key is being tried
	stuck   float64       // when the last key at hand had failed; 0: not so
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
	askDisk                // whether the only disk at hand is the OS disk under another name
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
		s.volumes = append(s.volumes, &volume{Volume: v, tried: map[trial]bool{}, refused: map[*key]bool{}})
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
		v.late = v.doubtful() && until(s.lastDisk+s.config.PoolWait.Std().Seconds())
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
		doubtful := slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && v.late && len(v.openable()) == 0 })
		openable := !slices.ContainsFunc(s.volumes, func(v *volume) bool { return v.Pool == "" && len(v.openable()) == 0 })
		switch {
		case working:
		case doubtful:
			st.ask = askDisk
		case s.config.FallbackToPassword && openable && (wrong || late):
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
	if !s.proven {
		st.done = false
		return st
	}
	for _, v := range s.volumes {
		if v.open || v.busy {
			continue
		}
		patient := s.patient(v.Pool)
		switch {
		case s.impatient:
		case v.doubtful() && !v.late:
			st.done = false
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

// attempt is the next key to try on a volume. The pools are opened for a root
// that is the host's own, and by what opened that: a wrong passphrase costs one
// argon2id and not one for each volume. What is wrong on the plan's disk is
// tried on no other.
func (s *session) attempt(v *volume) (attempt, bool) {
	if v.open || v.busy || v.Pool != "" && !s.proven {
		return attempt{}, false
	}
	for _, k := range s.keys {
		for _, d := range v.openable() {
			if !v.tried[trial{k, d.name}] && (!v.refused[k] || d.disk.claims(v.Volume) != stranger) {
				return attempt{v, d, k}, true
			}
		}
	}
	return attempt{}, false
}

// openable is the device that a key may be tried on, or none. A copy of the
// plan's disk, or a forgery, is none while that is there, whatever the key does
// on it. Another disk may be the plan's under another name, which a firmware or
// an enclosure gave it: for a pool's volume, it is taken once the plan's disk
// was waited for; for the OS, once a person says so. Of several nobody knows.
func (v *volume) openable() []device {
	plans := v.plans()
	switch {
	case len(plans) == 1:
		return plans
	case !v.doubtful():
		return nil
	case v.DiskID == "", v.Pool != "" && v.late, v.Pool == "" && v.agreed == v.devices[0].name:
		return v.devices
	}
	return nil
}

// doubtful says that there is one device, and that it is not the plan's.
func (v *volume) doubtful() bool { return !v.open && len(v.devices) == 1 && len(v.plans()) == 0 }

// plans are the devices that are the plan's disk, by the best claim there is.
func (v *volume) plans() []device {
	best, plans := renamed, []device(nil)
	for _, d := range v.devices {
		switch c := d.disk.claims(v.Volume); {
		case c < best:
		case c > best:
			best, plans = c, []device{d}
		default:
			plans = append(plans, d)
		}
	}
	return plans
}

// agree takes a person's word that the only disk at hand is the OS disk.
func (s *session) agree() {
	for _, v := range s.volumes {
		if v.Pool == "" && v.doubtful() {
			v.agreed, v.stuck = v.devices[0].name, 0
		}
	}
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
			return v.copies()
		}
	}
	return ""
}

// copies tells of the devices that carry one volume's UUID.
func (v *volume) copies() string {
	var names []string
	for _, d := range v.devices {
		names = append(names, d.String())
	}
	text := fmt.Sprintf("%s carry the same LUKS UUID, that of %s: one is a copy or a forgery; ", strings.Join(names, " and "), v.Mapping)
	plans := v.plans()
	switch {
	case v.open && (len(plans) != 1 || plans[0].name != v.on.name):
		return text + fmt.Sprintf("it was opened from %s before the others came, and the plan's is %s: switch the machine off and pull the copy out", v.on, diskName(v.DiskID))
	case len(plans) == 1:
		return text + fmt.Sprintf("the plan's is %s, which is %s: no other is opened", diskName(v.DiskID), plans[0].name)
	case len(plans) > 1:
		return text + fmt.Sprintf("more than one calls itself %s, the plan's: none is opened until the others are pulled out", diskName(v.DiskID))
	}
	return text + fmt.Sprintf("none of them is %s, the plan's: none is opened until the others are pulled out", diskName(v.DiskID))
}

// vanished takes a block device that is there no longer.
func (s *session) vanished(name string) {
	for _, v := range s.volumes {
		v.devices = slices.DeleteFunc(v.devices, func(d device) bool { return d.name == name })
		if v.agreed == name {
			v.agreed = ""
		}
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
		if a.device.disk.claims(v.Volume) != stranger {
			v.refused[a.key] = true
		}
		return
	}
	v.open, v.on, v.by, v.at, v.problem, v.stuck = true, a.device, a.key.Name, now, "", 0
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
