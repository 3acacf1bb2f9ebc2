package crypt

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/anatol/luks.go"
)

// opens reports whether a key opens the volume by one slot. It reads and
// makes no mapping; it is meant for cheap slots.
func (v VolumePlan) opens(key Secret, slot int) (bool, error) {
	device, err := filepath.EvalSymlinks(v.Device)
	if err != nil {
		return false, err
	}
	header, err := ReadHeader(device)
	if err != nil {
		return false, err
	}
	volume, err := header.openHeader(device)
	if err != nil {
		return false, err
	}
	defer volume.Close()
	_, err = volume.UnsealVolume(slot, key.Bytes())
	if errors.Is(err, luks.ErrPassphraseDoesNotMatch) {
		return false, nil
	}
	return err == nil, err
}

// openedBy is the first of the keys that opens the volume by a cheap slot, and
// the slot; -1 where none does.
func (v VolumePlan) openedBy(header Header, keys []Key) (Key, int, error) {
	for _, key := range keys {
		if key.Secret.Empty() {
			continue
		}
		slots := sortedKeys(header.Slots)
		if marked := header.KeySlot(key.Stick); key.Stick != "" && marked >= 0 {
			slots = append([]int{marked}, slices.DeleteFunc(slots, func(s int) bool { return s == marked })...)
		}
		for _, slot := range slots {
			if !header.Slots[slot].cheap() {
				continue
			}
			fits, err := v.opens(key.Secret, slot)
			if err != nil {
				return Key{}, -1, err
			}
			if fits {
				return key, slot, nil
			}
		}
	}
	return Key{}, -1, nil
}
