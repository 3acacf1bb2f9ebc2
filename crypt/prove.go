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

// opensByAll reports whether the volume's slots are those that a new volume is
// made with: one for each stick, or one for the throw-away key. A header's
// writing that was cut short leaves slots that say what they are for, and hold
// nothing.
func (p Plan) opensByAll(v VolumePlan, header Header, k *Keyring) (bool, error) {
	if len(p.Keys) == 0 {
		_, slot, err := v.openedBy(header, k.cheapKeys(v.Mapping))
		return slot >= 0, err
	}
	for _, key := range p.Keys {
		slot, secret := header.KeySlot(key.FSUUID), k.key(key.FSUUID)
		if slot < 0 || secret.Empty() {
			return false, nil
		}
		if fits, err := v.opens(secret, slot); err != nil || !fits {
			return false, err
		}
		k.prove(v.Mapping, key.FSUUID, slot)
	}
	return true, nil
}
