package crypt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"hvinstall/step"
)

// CostStepID is the ID of the step that measures argon2id's cost.
const CostStepID = "crypt/cost"

// StepID is the ID of the step that puts the key on its stick.
func (k KeyPlan) StepID() string { return "crypt/key/" + k.FSUUID }

// FormatStepID is the ID of the step that writes the LUKS2 header.
func (v VolumePlan) FormatStepID() string { return "crypt/format/" + v.Mapping }

// SlotStepID is the ID of the step that enrols a stick's key.
func (v VolumePlan) SlotStepID(stick string) string { return "crypt/slot/" + v.Mapping + "/" + stick }

// OpenStepID is the ID of the step that opens the volume.
func (v VolumePlan) OpenStepID() string { return "crypt/open/" + v.Mapping }

// PassphraseStepID is the ID of the step that enrols the passphrase.
func (v VolumePlan) PassphraseStepID() string { return "crypt/passphrase/" + v.Mapping }

// Begun says whether the volume's disk is one that is still being made, so
// that nothing on it can be anybody's data.
type Begun func() (bool, error)

// CostStep measures what argon2id costs here, once and before anything else
// loads the machine. The same cost is then forced on every volume.
func (p Plan) CostStep(k *Keyring) step.Step {
	return step.Step{
		ID: CostStepID, Title: "measure the passphrase's cost", Memory: Argon2Memory,
		Detail: []string{"argon2id, benchmarked once on the idle machine and used for every volume"},
		Check: func(context.Context) (step.State, string, error) {
			if k.knownCost() != nil {
				return step.Done, "", nil
			}
			wanted, err := p.PassphraseWanted()
			if err != nil || wanted {
				return step.Absent, "not measured yet", err
			}
			return step.Done, "every volume has its passphrase", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			cost, err := MeasureCost(ctx, report.Log)
			if err != nil {
				return err
			}
			report.Log("argon2id: %d passes over %d KiB by %d threads", cost.Time, cost.Memory, cost.Parallel)
			k.mu.Lock()
			defer k.mu.Unlock()
			k.cost = &cost
			return nil
		},
	}
}

func (k *Keyring) knownCost() *Cost {
	if k.ForceCost != nil {
		return k.ForceCost
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cost
}

// PassphraseWanted reports whether a run will ask for the passphrase: a volume
// has to be made, or does not have its passphrase yet. It reads headers.
func (p Plan) PassphraseWanted() (bool, error) {
	for _, v := range p.Volumes {
		if v.Adopted {
			continue
		}
		header, err := ReadHeader(v.Device)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, ErrNoHeader):
			return true, nil
		case err != nil:
			return false, err
		case header.PassphraseSlot() < 0:
			return true, nil
		}
	}
	return false, nil
}

// KeyStep puts a fresh key on its stick, or finds the one that is there.
func (p Plan) KeyStep(key KeyPlan, k *Keyring, after ...string) step.Step {
	return step.Step{
		ID: key.StepID(), Title: "put a key on the stick " + key.FSUUID, After: after,
		Detail: []string{fmt.Sprintf("%d random bytes as %s", KeySize, key.Filename)},
		Check:  func(context.Context) (step.State, string, error) { return p.checkKey(key, k) },
		Do: func(ctx context.Context, _ step.Reporter) error {
			if !isKeyFilename(key.Filename) {
				return fmt.Errorf("%q is no name for a key file on a VFAT", key.Filename)
			}
			if key.Format {
				if err := key.waitForStick(ctx); err != nil {
					return err
				}
			}
			fresh, err := p.formerKey(key)
			if err != nil {
				return err
			}
			if fresh.Empty() {
				fresh = NewKey(KeySize)
			}
			if err := key.write(ctx, fresh); err != nil {
				if errors.Is(err, ErrNoStick) {
					return &StickError{key.FSUUID, "the stick is not plugged in", "plug it in and run again"}
				}
				return err
			}
			k.keep(key.FSUUID, fresh)
			return nil
		},
	}
}

// formerKey is the key that the stick holds under another name, which the host
// had before; empty where it holds none that opens a volume. The file stays:
// the boot entries of before look for it. In a live system nobody says what
// the name was, so a stick that has a keyslot is looked through.
func (p Plan) formerKey(key KeyPlan) (Secret, error) {
	names := []string{key.Former}
	if !isKeyFilename(key.Former) {
		names = nil
		if p.hasSlot(key) {
			var err error
			if names, err = key.files(); err != nil {
				return Secret{}, err
			}
		}
	}
	for _, name := range names {
		key.Filename = name
		found, err := key.read()
		if err != nil {
			return Secret{}, err
		}
		if !found.Empty() && p.opensAny(key, found) {
			return found, nil
		}
		found.Wipe()
	}
	return Secret{}, nil
}

// hasSlot reports whether some volume has a slot for the stick.
func (p Plan) hasSlot(key KeyPlan) bool {
	return slices.ContainsFunc(p.Volumes, func(v VolumePlan) bool {
		header, err := ReadHeader(v.Device)
		return err == nil && header.KeySlot(key.FSUUID) >= 0
	})
}

func (p Plan) checkKey(key KeyPlan, k *Keyring) (step.State, string, error) {
	if !k.key(key.FSUUID).Empty() {
		return step.Done, "", nil
	}
	found, err := key.read()
	if errors.Is(err, ErrNoStick) {
		if p.enrolled(key) {
			return step.Done, "not plugged in; every volume has its slot", nil
		}
		return step.Absent, "the stick is not plugged in", nil
	}
	if err != nil {
		return 0, "", err
	}
	if found.Empty() {
		return step.Absent, "the stick has no key yet", nil
	}
	if looksLikeKey(found) || p.opensAny(key, found) {
		k.keep(key.FSUUID, found)
		return step.Done, "", nil
	}
	found.Wipe()
	return step.Foreign, key.taken().Error(), nil
}

// enrolled reports whether every volume has a slot for the stick.
func (p Plan) enrolled(key KeyPlan) bool {
	return !slices.ContainsFunc(p.Volumes, func(v VolumePlan) bool {
		header, err := ReadHeader(v.Device)
		return err != nil || header.KeySlot(key.FSUUID) < 0 && !v.Adopted
	})
}

// opensAny reports whether the key opens a volume that exists by a cheap slot.
func (p Plan) opensAny(key KeyPlan, secret Secret) bool {
	for _, v := range p.Volumes {
		header, err := ReadHeader(v.Device)
		if err != nil || header.Version != 2 {
			continue
		}
		if _, slot, err := v.openedBy(header, []Key{{Secret: secret, Stick: key.FSUUID}}); err == nil && slot >= 0 {
			return true
		}
	}
	return false
}

// FormatStep writes the volume's header, with the first stick's key in its
// first slot; where there is no stick, with a random key that lives as long as
// the run.
func (p Plan) FormatStep(v VolumePlan, k *Keyring, begun Begun, after ...string) step.Step {
	discard := "no discard"
	if v.AllowDiscards {
		discard = "discard allowed"
	}
	return step.Step{
		ID: v.FormatStepID(), Title: "format " + v.Mapping, After: after,
		Detail: []string{fmt.Sprintf("LUKS2, UUID %s, sectors of %d bytes, %s", v.UUID, v.SectorSize, discard)},
		Check:  func(context.Context) (step.State, string, error) { return p.checkFormat(v, k, begun) },
		Do: func(ctx context.Context, report step.Reporter) error {
			if mended, err := v.mend(ctx, report.Log); err != nil {
				return err
			} else if mended {
				if state, _, err := p.checkFormat(v, k, begun); err != nil || state == step.Done {
					return err
				}
			}
			var first Secret
			if len(p.Keys) > 0 {
				first = k.key(p.Keys[0].FSUUID)
			} else {
				first = k.throwawayFor(v.Mapping, true)
			}
			if first.Empty() {
				return errors.New("the first stick's key was not read")
			}
			return p.format(ctx, v, first, k, report)
		},
	}
}

func (p Plan) checkFormat(v VolumePlan, k *Keyring, begun Begun) (step.State, string, error) {
	header, err := ReadHeader(v.Device)
	if errors.Is(err, os.ErrNotExist) {
		return step.Absent, "the partition is not there yet", nil
	}
	none := errors.Is(err, ErrNoHeader)
	if err != nil && !none {
		return 0, "", err
	}
	if !none && header.UUID != v.UUID {
		return step.Foreign, fmt.Sprintf("%s holds another LUKS volume, %q (UUID %s)", v.Device, header.Label, header.UUID), nil
	}
	if v.Adopted {
		return step.Done, "adopted", nil
	}
	making, err := begun()
	if err != nil {
		return 0, "", err
	}
	switch {
	case header.Damaged:
		return step.Absent, "one of the header's two copies is damaged", nil
	case none && making:
		return step.Absent, "not formatted yet", nil
	case none:
		return step.Foreign, fmt.Sprintf("%s held the volume %s once, and its header is gone; bring it back from its backup "+
			"(cryptsetup luksHeaderRestore), which is on another volume of this host", v.Device, v.Mapping), nil
	case !making || header.PassphraseSlot() >= 0:
		return step.Done, "", nil
	}
	// Cut short before it had its passphrase. Keys that are at hand let it go
	// on; else nobody can ever open it, and it is made anew.
	whole, err := p.opensByAll(v, header, k)
	if err != nil {
		return 0, "", err
	}
	if !whole {
		return step.Absent, "formatted by a run that was cut short, or with a key that is gone", nil
	}
	return step.Done, "", nil
}

// OpenStep opens the volume, and sees to it that the header's flags are the
// plan's.
func (p Plan) OpenStep(v VolumePlan, k *Keyring, after ...string) step.Step {
	return step.Step{
		ID: v.OpenStepID(), Title: "open " + v.Mapping, After: after,
		Check: func(context.Context) (step.State, string, error) {
			open, err := v.isOpen()
			if err != nil {
				var taken *MappingTakenError
				if errors.As(err, &taken) {
					return step.Foreign, err.Error(), nil
				}
				return 0, "", err
			}
			if !open {
				return step.Absent, "closed", nil
			}
			right, err := v.flagsRight()
			if err != nil || !right {
				return step.Absent, "open, without the layout's setting of discards", err
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return p.open(ctx, v, k, report) },
	}
}

// flagsRight reports whether the header allows discards exactly where the
// layout says so. An adopted volume's flags are its owner's.
func (v VolumePlan) flagsRight() (bool, error) {
	if v.Adopted {
		return true, nil
	}
	header, err := ReadHeader(v.Device)
	if err != nil {
		return false, err
	}
	return header.AllowsDiscards() == v.AllowDiscards, nil
}

func (p Plan) open(ctx context.Context, v VolumePlan, k *Keyring, report step.Reporter) error {
	open, err := v.isOpen()
	if err != nil {
		return err
	}
	if err := v.dropUnfinished(); err != nil {
		return err
	}
	right, err := v.flagsRight()
	if err != nil {
		return err
	}
	if !open && right {
		result := Unlock(ctx, []VolumePlan{v}, k.cheapKeys(v.Mapping))[0]
		var noFit *NoKeyFitsError
		if !errors.As(result.Err, &noFit) {
			return result.Err
		}
	}
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	key, slot, err := v.openedBy(header, k.cheapKeys(v.Mapping))
	if err != nil {
		return err
	}
	secret := key.Secret
	if slot < 0 {
		// argon2id needs up to a GiB, which is cryptsetup's to take and not ours.
		if secret, err = k.secretPassphrase(ctx); err != nil {
			return fmt.Errorf("no stick opens %s: %w", v.Mapping, err)
		}
	}
	if right {
		return cryptsetup(ctx, report.Log, []Secret{secret}, "open", "--key-file", "/proc/self/fd/3", v.Device, v.Mapping)
	}
	if err := v.openPersistently(ctx, secret, open, report.Log); err != nil {
		return err
	}
	return v.waitForNode(ctx)
}
