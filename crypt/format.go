package crypt

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"hvinstall/step"
)

// preparing is where new headers are made, in memory.
const preparing = "/run/hvinstall/header-"

// headerRoom is more than any header takes, bytes; cryptsetup's data begins at
// 16 MiB. The file is sparse.
const headerRoom = 128 << 20

// inMemory runs f on a volume whose device is a new file in memory, which is
// gone afterwards. The file is as large as a header's room.
func (v VolumePlan) inMemory(f func(VolumePlan) error) (err error) {
	v.Device = preparing + v.Mapping
	if err := os.MkdirAll(filepath.Dir(v.Device), 0o700); err != nil {
		return err
	}
	// A run that was killed left it.
	if err := os.Remove(v.Device); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(v.Device, nil, 0o600); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(v.Device)) }()
	if err := os.Truncate(v.Device, headerRoom); err != nil {
		return err
	}
	return f(v)
}

// format gives the volume a header with the slots of all sticks, or the
// throw-away key's. It is made in a file in memory and put on the disk
// in one go: each of the dozen changes until then would be a write to the
// disk, after which udev looks at all that is on it.
func (p Plan) format(ctx context.Context, v VolumePlan, first Secret, k *Keyring, report step.Reporter) error {
	return v.inMemory(func(made VolumePlan) error {
		if err := p.prepare(ctx, made, first, k, report); err != nil {
			return err
		}
		return v.restore(ctx, made.Device, report.Log)
	})
}

// prepare makes the header in an empty file. Its slots are proven when they are
// on the disk, by opensByAll.
func (p Plan) prepare(ctx context.Context, made VolumePlan, first Secret, k *Keyring, report step.Reporter) error {
	if err := made.formatWith(ctx, first, report.Log); err != nil {
		return err
	}
	sticks := map[int]string{}
	for i, key := range p.Keys {
		slot, secret := 0, k.key(key.FSUUID)
		if i > 0 {
			if secret.Empty() {
				return &StickError{key.FSUUID, "its key was not read", "plug the stick in and run again"}
			}
			var err error
			if slot, err = made.addSlot(ctx, first, secret, keySlotOptions, report.Log); err != nil {
				return err
			}
		}
		sticks[slot] = key.FSUUID
	}
	if err := made.finish(sticks); err != nil {
		return err
	}
	// What is restored is the header alone.
	header, err := ReadHeader(made.Device)
	if err != nil {
		return err
	}
	return os.Truncate(made.Device, int64(header.Offset))
}
