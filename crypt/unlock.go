package crypt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/anatol/luks.go"
	"golang.org/x/sync/semaphore"
)

// Key is a secret that may open volumes.
type Key struct {
	Name   string // for people: "USB key 8B34-7D3C", "the passphrase"
	Secret Secret
	// Passphrase tells what a person typed from a key file: the first is tried
	// on the expensive slots, the second on the cheap ones.
	Passphrase bool
	// Stick is the VFAT serial of the stick that the key came from; its slot is
	// tried first.
	Stick string
}

// Opened is what became of one volume.
type Opened struct {
	Mapping string
	Already bool   // it was open before
	Key     string // Name of the key that opened it
	Slot    int    // the keyslot used; -1 where none was
	Damaged bool   // one of the two copies of its header is damaged; the other served
	Err     error  // nil: the volume is open
}

// NoKeyFitsError is a volume that none of the keys opens.
type NoKeyFitsError struct {
	Mapping, Device string
	Tried           []string
}

func (e *NoKeyFitsError) Error() string {
	if len(e.Tried) == 0 {
		return fmt.Sprintf("%s (%s): no key was given", e.Mapping, e.Device)
	}
	return fmt.Sprintf("%s (%s): not opened by %s", e.Mapping, e.Device, strings.Join(e.Tried, ", "))
}

// Unlock opens volumes side by side, each by the first of the keys that fits,
// and makes their mappings. It needs no program and no udev. The result has
// one entry for each volume, in their order; a volume that is open already is
// left as it is. Flags such as allow-discards are taken from each header.
//
// Key files come before passphrases. A passphrase is tried on the first volume
// that is still closed, and on the others only once it has opened that one:
// a wrong one costs one argon2id computation and not one for each volume. An
// adopted volume, whose passphrase may be its own, is always tried. argon2id
// runs side by side within the memory that is available.
func Unlock(ctx context.Context, volumes []VolumePlan, keys []Key) []Opened {
	return UnlockTelling(ctx, volumes, keys, func(int, Opened) {})
}

// UnlockTelling is Unlock for who cannot wait for the last: it tells of each
// volume, by its place, as soon as a key has opened it. tell is called by
// several goroutines.
func UnlockTelling(ctx context.Context, volumes []VolumePlan, keys []Key, tell func(int, Opened)) []Opened {
	available := availableMemory()
	u := unlocker{memory: semaphore.NewWeighted(available), memoryTotal: available, results: make([]Opened, len(volumes)), volumes: volumes, tell: tell}
	for i, v := range volumes {
		u.results[i] = Opened{Mapping: v.Mapping, Slot: -1, Err: &NoKeyFitsError{Mapping: v.Mapping, Device: v.Device}}
	}
	all := make([]int, len(volumes))
	for i := range all {
		all[i] = i
	}
	files := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Passphrase })
	u.each(ctx, all, files)
	for _, k := range keys {
		if !k.Passphrase {
			continue
		}
		closed := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return !u.wantsKey(i) })
		if len(closed) == 0 {
			break
		}
		u.each(ctx, closed[:1], []Key{k})
		fits := u.results[closed[0]].Err == nil
		u.each(ctx, slices.DeleteFunc(closed[1:], func(i int) bool { return !fits && !volumes[i].Adopted }), []Key{k})
	}
	return u.results
}

type unlocker struct {
	volumes     []VolumePlan
	results     []Opened
	memory      *semaphore.Weighted
	memoryTotal int64
	tell        func(int, Opened)
}

// wantsKey reports whether another key may help a volume.
func (u *unlocker) wantsKey(i int) bool {
	var noFit *NoKeyFitsError
	return errors.As(u.results[i].Err, &noFit)
}

func (u *unlocker) each(ctx context.Context, indexes []int, keys []Key) {
	var wait sync.WaitGroup
	for _, i := range indexes {
		wait.Add(1)
		go func() {
			defer wait.Done()
			u.guarded(ctx, i, keys)
			u.telling(i)
		}()
	}
	wait.Wait()
}

// guarded is one, of which a panic is an error of this volume alone: in the
// initramfs it would end the machine's first process.
func (u *unlocker) guarded(ctx context.Context, i int, keys []Key) {
	defer func() {
		if p := recover(); p != nil {
			v := u.volumes[i]
			u.results[i].Err = fmt.Errorf("%s: opening %s met a bug (%v); the volume stays closed, check its header by 'cryptsetup luksDump'", v.Mapping, v.Device, p)
		}
	}()
	u.one(ctx, i, keys)
}

// telling tells of a volume that a key has opened. A panic of who hears it does
// not end the process, nor close the volume: the result says it once more.
func (u *unlocker) telling(i int) {
	defer func() { _ = recover() }()
	if r := u.results[i]; r.Err == nil && !r.Already {
		u.tell(i, r)
	}
}

// one tries the keys on one volume.
func (u *unlocker) one(ctx context.Context, i int, keys []Key) {
	v, r := u.volumes[i], &u.results[i]
	var tried []string
	var noFit *NoKeyFitsError
	if errors.As(r.Err, &noFit) {
		tried = noFit.Tried
	}
	open, err := v.isOpen()
	if err != nil || open {
		r.Already, r.Err = open, err
		return
	}
	if err := v.dropUnfinished(); err != nil {
		r.Err = err
		return
	}
	// The kernel looks the device up by itself, and knows no links of udev's
	// that come and go.
	device, err := filepath.EvalSymlinks(v.Device)
	if err != nil {
		r.Err = fmt.Errorf("%s: %w; plug the disk in", v.Mapping, err)
		return
	}
	if name := v.openElsewhere(device); name != "" {
		r.Err = &OpenElsewhereError{v.Mapping, name}
		return
	}
	header, err := ReadHeader(device)
	if err != nil {
		r.Err = fmt.Errorf("%s: %w", v.Mapping, err)
		return
	}
	if v.UUID != "" && !strings.EqualFold(header.UUID, v.UUID) {
		r.Err = fmt.Errorf("%s: %s holds the LUKS volume %s, and %s is expected", v.Mapping, v.Device, header.UUID, v.UUID)
		return
	}
	r.Damaged = header.Damaged
	volume, header, err := header.openHeader(device, !v.Adopted)
	if err != nil {
		r.Err = fmt.Errorf("%s: reading %s: %w", v.Mapping, v.Device, err)
		return
	}
	defer volume.Close()
	if err := v.hasKeyOf(header); err != nil {
		r.Err = err
		return
	}
	for _, key := range keys {
		for _, slot := range header.candidates(key, volume.Slots()) {
			err := u.try(ctx, volume, device, header.Slots[slot], slot, key, v.Mapping)
			switch {
			case err == nil:
				r.Key, r.Slot, r.Err = key.Name, slot, v.waitForNode(ctx)
				return
			case !errors.Is(err, luks.ErrPassphraseDoesNotMatch):
				r.Err = fmt.Errorf("%s: opening %s with %s: %w", v.Mapping, v.Device, key.Name, err)
				return
			}
		}
		tried = append(tried, key.Name)
	}
	r.Err = &NoKeyFitsError{Mapping: v.Mapping, Device: v.Device, Tried: tried}
}

func (u *unlocker) try(ctx context.Context, volume luks.Device, device string, slot Slot, number int, key Key, mapping string) error {
	need := int64(slot.Cost.Memory) << 10
	if free := freeAtStart() + keptMemory; need > free {
		return fmt.Errorf("keyslot %d takes %d MiB of memory, and %d are free", number, need>>20, free>>20)
	}
	if need = min(need, u.memoryTotal); need > 0 {
		if err := u.memory.Acquire(ctx, need); err != nil {
			return err
		}
		defer u.memory.Release(need)
		// The garbage collector would keep a GiB that the next computation needs.
		defer debug.FreeOSMemory()
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return unlock(volume, device, number, key.Secret, mapping)
}

// candidates are the slots to try a key on, the likeliest first. usable are
// luks.go's, without those of priority ignore.
func (h Header) candidates(key Key, usable []int) []int {
	slices.Sort(usable)
	if h.Version != 2 {
		return usable
	}
	ours := h.Subsystem == Subsystem
	var likely, unlikely []int
	first := -1
	if key.Stick != "" {
		first = h.KeySlot(key.Stick)
	} else if key.Passphrase {
		first = h.PassphraseSlot()
	}
	for _, n := range usable {
		slot := h.Slots[n]
		switch {
		case n == first:
		case slot.cheap() != key.Passphrase:
			likely = append(likely, n)
		case ours:
			// In a volume of ours a cheap slot is a key's and any other is a
			// passphrase's: trying the other way round only costs time.
		default:
			unlikely = append(unlikely, n)
		}
	}
	slices.SortStableFunc(likely, func(a, b int) int { return h.Slots[b].Priority - h.Slots[a].Priority })
	order := append(likely, unlikely...)
	if first >= 0 && slices.Contains(usable, first) {
		order = append([]int{first}, order...)
	}
	return order
}

// keptMemory is what the rest of the system should keep, bytes.
const keptMemory = 128 << 20

// freeAtStart is what was available when the first volume was to be opened:
// computations that run side by side take of each other's.
var freeAtStart = sync.OnceValue(availableMemory)

// availableMemory is the kernel's estimate, in bytes, less what is kept.
func availableMemory() int64 {
	const least = 64 << 20
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return least
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return max(kib<<10-keptMemory, least)
		}
	}
	return least
}
