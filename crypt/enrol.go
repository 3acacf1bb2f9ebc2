package crypt

import (
	"context"
	"errors"
	"fmt"
	"os"

	"hvinstall/host"
	"hvinstall/step"
)

// wrongKey is cryptsetup's exit code for a key that opens nothing.
const wrongKey = 2

// SlotStep enrols a stick's key: a slot of its own, proven by opening the
// volume with the key, then marked.
func (p Plan) SlotStep(v VolumePlan, key KeyPlan, k *Keyring, after ...string) step.Step {
	return step.Step{
		ID: v.SlotStepID(key.FSUUID), Title: fmt.Sprintf("enrol the stick %s for %s", key.FSUUID, v.Mapping), After: after,
		CheckAfter: []string{key.StepID()},
		Check: func(context.Context) (step.State, string, error) {
			header, err := ReadHeader(v.Device)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoHeader) {
				return step.Absent, "not formatted yet", nil
			}
			if err != nil {
				return 0, "", err
			}
			slot := header.KeySlot(key.FSUUID)
			if slot < 0 {
				return step.Absent, "not enrolled yet", nil
			}
			if fits, err := k.provenBy(v, key.FSUUID, slot); err != nil || !fits {
				return step.Absent, "the stick's key is not the one that was enrolled", err
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return p.enrolKey(ctx, v, key, k, report) },
	}
}

func (p Plan) enrolKey(ctx context.Context, v VolumePlan, key KeyPlan, k *Keyring, report step.Reporter) error {
	secret := k.key(key.FSUUID)
	if secret.Empty() {
		return &StickError{key.FSUUID, "its key was not read", "plug the stick in and run again"}
	}
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	own := Key{Name: "USB key " + key.FSUUID, Secret: secret, Stick: key.FSUUID}
	_, slot, err := v.openedBy(header, []Key{own})
	if err != nil {
		return err
	}
	if slot < 0 {
		authority, err := p.authority(ctx, v, header, k)
		if err != nil {
			return err
		}
		if slot, err = v.addSlot(ctx, authority, secret, keySlotOptions, report.Log); err != nil {
			return err
		}
		fits, err := v.opens(secret, slot)
		if err != nil {
			return err
		}
		if !fits {
			return fmt.Errorf("%s: keyslot %d was made for the stick %s, and its key does not open the volume; run again", v.Mapping, slot, key.FSUUID)
		}
	}
	if header.Slots[slot].Priority != priorityPrefer {
		if err := v.prefer(ctx, slot, report.Log); err != nil {
			return err
		}
	}
	// The slot of a key that the stick no longer holds goes last: until here
	// the volume keeps every way in that it had.
	old := header.KeySlot(key.FSUUID)
	err = v.unmark(ctx, func(t Token, _ Header) bool { return t.Type == TokenKey && t.Stick == key.FSUUID }, report.Log)
	if err != nil {
		return err
	}
	if err := v.mark(ctx, Token{Type: TokenKey, Stick: key.FSUUID}, slot, report.Log); err != nil {
		return err
	}
	if old >= 0 && old != slot {
		report.Log("removing the slot of the stick's earlier key from %s", v.Mapping)
		return v.removeSlot(ctx, old, report.Log)
	}
	return nil
}

// authority is a secret that opens the volume: a key at hand, else the
// passphrase.
func (p Plan) authority(ctx context.Context, v VolumePlan, header Header, k *Keyring) (Secret, error) {
	key, slot, err := v.openedBy(header, k.cheapKeys(v.Mapping))
	if err != nil {
		return Secret{}, err
	}
	if slot >= 0 {
		return key.Secret, nil
	}
	secret, err := k.secretPassphrase(ctx)
	if err != nil {
		return Secret{}, fmt.Errorf("no key at hand opens %s: %w", v.Mapping, err)
	}
	return secret, nil
}

// PassphraseStep enrols the passphrase, at the full cost of argon2id.
func (p Plan) PassphraseStep(v VolumePlan, k *Keyring, after ...string) step.Step {
	return step.Step{
		ID: v.PassphraseStepID(), Title: "enrol the passphrase for " + v.Mapping, After: after, Memory: Argon2Memory,
		Check: func(context.Context) (step.State, string, error) {
			header, err := ReadHeader(v.Device)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoHeader) {
				return step.Absent, "not formatted yet", nil
			}
			if err != nil || header.PassphraseSlot() < 0 {
				return step.Absent, "not enrolled yet", err
			}
			if slot := k.throwawaySlot(v, header); slot >= 0 {
				return step.Absent, "the first key's slot is still there", nil
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return p.enrolPassphrase(ctx, v, k, report) },
	}
}

// throwawaySlot is the slot of the volume's throw-away first key, or -1.
func (k *Keyring) throwawaySlot(v VolumePlan, header Header) int {
	secret := k.throwawayFor(v.Mapping, false)
	if secret.Empty() {
		return -1
	}
	_, slot, err := v.openedBy(header, []Key{{Secret: secret}})
	if err != nil {
		return -1
	}
	return slot
}

func (p Plan) enrolPassphrase(ctx context.Context, v VolumePlan, k *Keyring, report step.Reporter) error {
	passphrase, err := k.secretPassphrase(ctx)
	if err != nil {
		return err
	}
	if err := p.agrees(ctx, passphrase, k, report); err != nil {
		return err
	}
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	if header.PassphraseSlot() < 0 {
		slot, err := p.passphraseSlot(ctx, v, header, passphrase, k, report)
		if err != nil {
			return err
		}
		if err := v.mark(ctx, Token{Type: TokenPassphrase}, slot, report.Log); err != nil {
			return err
		}
		k.made(v.Mapping)
	}
	if slot := k.throwawaySlot(v, header); slot >= 0 {
		return v.removeSlot(ctx, slot, report.Log)
	}
	return nil
}

// passphraseSlot finds the slot that an earlier run added and did not come to
// mark, or adds one.
func (p Plan) passphraseSlot(ctx context.Context, v VolumePlan, header Header, passphrase Secret, k *Keyring, report step.Reporter) (int, error) {
	for _, slot := range sortedKeys(header.Slots) {
		if !header.Slots[slot].cheap() && v.testPassphrase(ctx, passphrase, slot, report.Log) == nil {
			return slot, nil
		}
	}
	cost := k.knownCost()
	if cost == nil {
		return 0, errors.New("the passphrase's cost was not measured")
	}
	if k.firstProof() {
		if err := proveWay(ctx, passphrase, report.Log); err != nil {
			return 0, err
		}
	}
	authority, err := p.authority(ctx, v, header, k)
	if err != nil {
		return 0, err
	}
	slot, err := v.addSlot(ctx, authority, passphrase, cost.options(), report.Log)
	if err != nil {
		return 0, err
	}
	after, err := ReadHeader(v.Device)
	if err != nil {
		return 0, err
	}
	if made := after.Slots[slot]; made.KDF != "argon2id" || made.Cost != *cost {
		return 0, fmt.Errorf("%s: the passphrase's slot was made with %s %+v instead of %+v", v.Mapping, made.KDF, made.Cost, *cost)
	}
	return slot, nil
}

// agrees holds the passphrase against a volume that an earlier run gave it to:
// every volume shares one.
func (p Plan) agrees(ctx context.Context, passphrase Secret, k *Keyring, report step.Reporter) error {
	k.agreeing.Lock()
	defer k.agreeing.Unlock()
	if k.agreed {
		return nil
	}
	for _, v := range p.Volumes {
		header, err := ReadHeader(v.Device)
		if err != nil || v.Adopted || k.isOwn(v.Mapping) {
			continue
		}
		slot := header.PassphraseSlot()
		if slot < 0 {
			continue
		}
		err = v.testPassphrase(ctx, passphrase, slot, report.Log)
		var failed *host.CommandError
		if err != nil && (!errors.As(err, &failed) || failed.ExitCode() != wrongKey) {
			return err
		}
		if err != nil {
			return fmt.Errorf("this passphrase does not open %s, which has one from an earlier run; give that one: every volume shares it", v.Mapping)
		}
		break
	}
	k.agreed = true
	return nil
}
