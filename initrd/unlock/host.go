package unlock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"hvinstall/crypt"
	"hvinstall/initrd/boot"
)

// opening is a session at work: it does what the session decides.
type opening struct {
	*session
	con    *consoles
	hw     *hardware
	report *boot.Report

	results chan result
	sticks  chan stickResult
	over    chan struct{}   // closed when no key is wanted any longer
	mounted sync.WaitGroup  // sticks that are mounted
	said    map[string]bool // what was said once, and is not said again

	prompt  *prompter
	asked   question
	typed   *key    // a passphrase that is being tried
	wrong   int     // how many were wrong
	deafTo  float64 // when the next one may be typed
	waiting bool    // for deafTo
}

type result struct {
	attempts []attempt
	opened   []crypt.Opened
}

type stickResult struct {
	device device
	key    *key
	err    error
}

// bootHost opens the volumes and mounts the root and the pools.
func bootHost(con *consoles, hw *hardware, config boot.Config, a arguments, report *boot.Report) error {
	o := &opening{
		session: newSession(config, uptime()), con: con, hw: hw, report: report,
		results: make(chan result), sticks: make(chan stickResult), over: make(chan struct{}), said: map[string]bool{},
	}
	err := o.run(a)
	o.forgetKeys()
	o.tellVolumes()
	if err != nil {
		return err
	}
	mountPools(con, o.session, report)
	report.Mounted = uptime()
	return nil
}

// run returns when the root is mounted, and every pool open as far as it will
// be. Nothing of a pool is opened for a root that is not the host's own.
func (o *opening) run(a arguments) error {
	for {
		if o.rootOpen() && !o.proven {
			o.hw.loader.loadAlways() // btrfs
			o.report.Modules = uptime()
			if err := mountHostRoot(o.con, o.session, a); err != nil {
				o.question(askNothing) // what is typed now is for who says what went wrong
				return err
			}
			o.proven = true
		}
		now := uptime()
		st := o.next(now)
		o.start(st.attempts)
		o.tell(st)
		o.question(st.ask)
		if st.done && len(st.attempts) == 0 {
			o.question(askNothing)
			return nil
		}
		wake := st.wake
		if o.waiting {
			wake = min(wake, o.deafTo)
		}
		o.wait(wake - now)
	}
}

// wait takes the next thing that happens. The timer is for decisions that are
// due because nothing has happened.
func (o *opening) wait(seconds float64) {
	var timer <-chan time.Time
	if !math.IsInf(seconds, 1) {
		t := time.NewTimer(time.Duration(max(seconds, 0) * float64(time.Second)))
		defer t.Stop()
		timer = t.C
	}
	var answers chan []byte
	var typing chan struct{}
	if o.prompt != nil {
		answers, typing = o.prompt.answers, o.prompt.typing
	}
	select {
	case <-timer:
		o.listenAgain()
	case e := <-o.hw.devices:
		o.deviceEvent(e)
	case r := <-o.results:
		o.finished(r)
	case s := <-o.sticks:
		o.stick(s)
	case answer := <-answers:
		o.answered(answer)
	case <-typing:
		o.lastTyped = uptime()
	}
}

// start tries keys beside the loop, those of one key in one go: crypt bounds
// the memory of what it does at once.
func (o *opening) start(attempts []attempt) {
	batches := map[*key][]attempt{}
	for _, a := range attempts {
		o.began(a)
		batches[a.key] = append(batches[a.key], a)
	}
	for k, batch := range batches {
		o.hw.trials.began()
		guard(o.con, func() {
			defer o.hw.trials.ended()
			o.try(k, batch)
		})
	}
}

// try tries a key. By a passphrase each volume takes seconds: of that the loop
// hears as each opens.
func (o *opening) try(k *key, batch []attempt) {
	volumes, ciphers := make([]crypt.VolumePlan, len(batch)), make([]string, len(batch))
	for i, a := range batch {
		ciphers[i] = a.device.cipher
		volumes[i] = crypt.VolumePlan{
			Mapping: a.volume.Mapping, Device: a.device.path(), DiskID: a.volume.DiskID,
			Pool: a.volume.Pool, UUID: a.volume.UUID, Adopted: a.volume.Adopted,
			KeyDigest: a.volume.KeyDigest,
		}
	}
	var told sync.Map
	opened := make([]crypt.Opened, len(batch))
	// Whatever happens, the loop hears of every attempt: a volume that it takes
	// for busy holds up the boot for ever.
	defer func() {
		p := recover()
		var rest result
		for i, a := range batch {
			if _, is := told.Load(i); is {
				continue
			}
			if p != nil {
				opened[i].Err = fmt.Errorf("opening %s met a bug of the init: %v", a.volume.Mapping, p)
			}
			rest.attempts, rest.opened = append(rest.attempts, a), append(rest.opened, opened[i])
		}
		if len(rest.attempts) > 0 {
			o.results <- rest
		}
	}()
	o.hw.loader.loadCiphers(ciphers...)
	copy(opened, crypt.UnlockTelling(context.Background(), volumes, []crypt.Key{k.Key}, func(i int, opened crypt.Opened) {
		if k.Passphrase {
			o.results <- result{batch[i : i+1], []crypt.Opened{opened}}
			told.Store(i, true)
		}
	}))
}

func (o *opening) finished(r result) {
	now := uptime()
	for i, a := range r.attempts {
		err := r.opened[i].Err
		o.ended(a, err, now)
		var fits *crypt.NoKeyFitsError
		switch {
		case err == nil && o.report.FirstOpen == 0:
			o.report.FirstOpen = now
			o.report.UnlockedBy = a.key.Name
			o.report.Stick = a.key.seen
		case err != nil && !errors.As(err, &fits):
			o.con.warn("%v", err)
		}
		if r.opened[i].Damaged {
			o.once("header "+a.volume.Mapping, "one of the two copies of the LUKS header of %s is damaged; run 'hvinstall --plan' soon, which mends it from the other", a.volume.Mapping)
		}
		if v := a.volume; err == nil && a.device.disk.claims(v.Volume) != itself && v.DiskID != "" {
			o.once("name "+v.Mapping, "%s is on %s, and the plan's name for its disk is %s; 'hvinstall --plan' learns the new name", v.Mapping, a.device, diskName(v.DiskID))
		}
		if err == nil {
			o.report.LastOpen = now
			if err := rememberMapping(a.volume.Mapping); err != nil {
				o.con.warn("%v", err)
			}
		}
	}
	k := r.attempts[0].key
	if k.proven {
		o.con.say("%d of %d volumes open, by %s", o.count(), len(o.volumes), k.Name)
	} else if !k.Passphrase && o.fails(k) {
		o.once("key "+k.Name, "the key of %s opens none of the volumes", k.Name)
	}
	o.judge()
}

// fails says that a key was tried everywhere and opened nothing.
func (o *opening) fails(k *key) bool {
	right, known := o.verdict(k)
	return known && !right
}

// judge tells whether the passphrase that was typed was right.
func (o *opening) judge() {
	if o.typed == nil {
		return
	}
	right, known := o.verdict(o.typed)
	if !known {
		return
	}
	if !right {
		o.forget(o.typed)
		o.wrong++
		// The first mistake is a slip of the finger; who goes on is slowed down.
		delay := min(math.Pow(2, float64(o.wrong-1)), 30)
		o.deafTo, o.waiting = uptime()+delay, true
		o.con.setPrompt("")
		o.con.important("that passphrase opens none of the volumes; again in %.0f s", delay)
	}
	o.typed = nil
	if right && o.prompt != nil {
		o.prompt.setDeaf(false)
	}
}

func (o *opening) listenAgain() {
	if o.waiting && uptime() >= o.deafTo {
		o.waiting = false
		if o.prompt != nil {
			o.prompt.setDeaf(false)
			o.con.setPrompt(o.promptText())
		}
	}
}

// answered takes a line that somebody typed.
func (o *opening) answered(answer []byte) {
	o.lastTyped = uptime()
	switch {
	case o.asked == askDisk:
		yes := string(answer) == "yes"
		clear(answer)
		if !yes {
			o.con.important("that was not yes: nothing was done")
			o.con.setPrompt("")
			o.con.setPrompt(o.promptText())
			return
		}
		o.agree()
	case o.asked == askPatience || o.rootOpen() && len(answer) == 0:
		clear(answer)
		o.impatient = true
	case len(answer) == 0:
		o.con.setPrompt("")
		o.con.setPrompt(o.promptText())
	default:
		o.prompt.setDeaf(true)
		o.con.setPrompt("")
		o.con.important("checking the passphrase")
		o.typed = &key{Key: crypt.Key{Name: "the passphrase", Secret: crypt.NewSecret(answer), Passphrase: true}}
		o.offered(o.typed)
	}
}

// deviceEvent takes a block device that came, changed or went.
func (o *opening) deviceEvent(e deviceEvent) {
	if e.gone {
		o.vanished(e.device.name)
		return
	}
	if warning := o.appeared(e.device, uptime()); warning != "" {
		o.once(warning, "%s", warning)
	}
	if e.device.kind != vfat {
		return
	}
	seen := uptime()
	for _, k := range o.config.Keys {
		if strings.EqualFold(k.FSUUID, e.device.uuid) {
			o.mounted.Add(1)
			guard(o.con, func() {
				defer o.mounted.Done()
				o.readStick(e.device, k, seen)
			})
		}
	}
}

// readStick reads a stick's key and hands it on before the stick is unmounted,
// which takes the kernel longer than all the rest.
func (o *opening) readStick(d device, k boot.Key, seen float64) {
	o.hw.loader.load(stickModules...)
	err := withStick(d, func(folder string) error {
		found, err := readKey(d, k, folder)
		if err == nil {
			found.seen = seen
			o.offer(stickResult{device: d, key: found})
		}
		return err
	})
	if err != nil {
		o.offer(stickResult{device: d, err: err})
	}
}

// offer gives the loop what became of a stick; after the loop's end, nobody.
func (o *opening) offer(s stickResult) {
	select {
	case o.sticks <- s:
	case <-o.over:
		if s.key != nil {
			s.key.Secret.Wipe()
		}
	}
}

func (o *opening) stick(s stickResult) {
	if s.err != nil {
		o.once("stick "+s.device.name+s.device.uuid, "%v", s.err)
		return
	}
	for _, k := range o.keys {
		if k.Stick != "" && k.Secret.Equal(s.key.Secret) {
			s.key.Secret.Wipe()
			return
		}
	}
	o.con.say("key stick %s is there", s.key.Stick)
	o.offered(s.key)
}

// once warns of a thing once.
func (o *opening) once(id, format string, args ...any) {
	if o.first(id) {
		o.con.warn(format, args...)
	}
}

// first says whether a thing is said for the first time.
func (o *opening) first(id string) bool {
	said := o.said[id]
	o.said[id] = true
	return !said
}

// unmountWait bounds how long a stick that answers no more holds up the boot.
const unmountWait = 5 * time.Second

// forgetKeys wipes every key, and returns when no stick is mounted: the system
// must find neither.
func (o *opening) forgetKeys() {
	close(o.over)
	for _, k := range slices.Clone(o.keys) {
		o.forget(k)
	}
	unmounted := make(chan struct{})
	guard(o.con, func() {
		o.mounted.Wait()
		close(unmounted)
	})
	select {
	case <-unmounted:
	case <-time.After(unmountWait):
	}
}

// tellVolumes writes the volumes into the report.
func (o *opening) tellVolumes() {
	for _, v := range o.volumes {
		r := boot.VolumeReport{Mapping: v.Mapping, DiskID: v.DiskID, Open: v.open, By: v.by, At: v.at}
		switch {
		case v.open:
		case len(v.devices) == 0:
			r.Problem = fmt.Sprintf("no disk with LUKS UUID %s", v.UUID)
		default:
			r.Problem = v.problem
		}
		o.report.Volumes = append(o.report.Volumes, r)
	}
}
