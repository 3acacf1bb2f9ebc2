package crypt

import (
	"context"
	"errors"
	"fmt"
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
	volume, _, err := header.openHeader(device, !v.Adopted)
	if err != nil {
		return false, err
	}
	defer volume.Close()
	opened, err := volume.UnsealVolume(slot, key.Bytes())
	if err == nil {
		wipeKey(opened)
	}
	if errors.Is(err, luks.ErrPassphraseDoesNotMatch) {
		return false, nil
	}
	return err == nil, err
}

// provenBy reports whether the stick's key opens the volume by the slot; a stick
// that is not plugged in is believed.
func (k *Keyring) provenBy(v VolumePlan, stick string, slot int) (bool, error) {
	if k.OneProof {
		k.proving.Lock()
		defer k.proving.Unlock()
	}
	secret := k.key(stick)
	if secret.Empty() || k.isProven(v.Mapping, stick, slot) {
		return true, nil
	}
	fits, err := v.opens(secret, slot)
	if fits && k.OneProof {
		k.prove(v.Mapping, stick, slot)
	}
	return fits, err
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

// cheapest is argon2id at the least cost that cryptsetup takes.
var cheapest = Cost{Time: 4, Memory: 32, Parallel: 1}

// proveWay holds the passphrase against a slot that it was given by the way it
// takes to every volume, in a header that is thrown away. A slot of full cost
// would take a computation more than the volumes pay.
func proveWay(ctx context.Context, passphrase Secret, log logger) error {
	proof := VolumePlan{Mapping: "proof", UUID: "6d7f0a52-7c1e-4b62-9a33-1f0c5a3d8e41", SectorSize: 512}
	key := NewKey(64)
	defer key.Wipe()
	return proof.inMemory(func(v VolumePlan) error {
		if err := v.formatWith(ctx, key, log); err != nil {
			return err
		}
		slot, err := v.addSlot(ctx, key, passphrase, cheapest.options(), log)
		if err != nil {
			return err
		}
		if err := v.testPassphrase(ctx, passphrase, slot, log); err != nil {
			return fmt.Errorf("the passphrase does not open the slot just made for it: %w", err)
		}
		return nil
	})
}
