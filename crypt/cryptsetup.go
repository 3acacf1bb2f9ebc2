package crypt

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"hvinstall/host"
)

// Programs are those that making volumes needs.
var Programs = []string{"cryptsetup"}

type logger func(format string, args ...any)

// keySlotOptions make a slot for a key of 4096 random bytes, which needs no
// stretching: doing it anyway would only delay boot. The digest of the volume
// key takes the same count, for the same reason.
var keySlotOptions = []string{"--pbkdf", "pbkdf2", "--hash", "sha512", "--pbkdf-force-iterations", "1000"}

// The area for keyslots has room for 16, where cryptsetup would take all that
// is before the data, for 32: headers' backups and every header's writing are a
// quarter as large. The data begins where cryptsetup puts it, at 16 MiB.
const (
	keySlotsSize = "4m"
	dataOffset   = "32768" // sectors of 512 bytes
)

func (c Cost) options() []string {
	return []string{
		"--pbkdf", "argon2id", "--pbkdf-force-iterations", strconv.Itoa(c.Time),
		"--pbkdf-memory", strconv.Itoa(c.Memory), "--pbkdf-parallel", strconv.Itoa(c.Parallel),
	}
}

// cryptsetup runs it with secrets that it reads by host.SecretPath.
func cryptsetup(ctx context.Context, log logger, secrets []Secret, argv ...string) error {
	c := host.Cmd{Argv: append([]string{"cryptsetup"}, argv...), Log: log}
	for _, s := range secrets {
		c.Secrets = append(c.Secrets, s.Bytes())
	}
	return c.Run(ctx)
}

// formatWith writes a new header whose only slot is the key's.
func (v VolumePlan) formatWith(ctx context.Context, key Secret, log logger) error {
	argv := append([]string{
		"luksFormat", "--batch-mode", "--type", "luks2", "--uuid", v.UUID, "--label", v.Mapping, "--subsystem", Subsystem,
		"--sector-size", strconv.Itoa(int(v.SectorSize)), "--key-file", host.SecretPath(0),
		"--luks2-keyslots-size", keySlotsSize, "--offset", dataOffset,
	}, keySlotOptions...)
	return cryptsetup(ctx, log, []Secret{key}, append(argv, v.Device)...)
}

// restore puts a header that was made in a file on the volume's device.
func (v VolumePlan) restore(ctx context.Context, file string, log logger) error {
	return cryptsetup(ctx, log, nil, "luksHeaderRestore", "--batch-mode", "--header-backup-file", file, v.Device)
}

// mend has cryptsetup write the damaged copy of the volume's header anew from
// the other, as it does whenever it reads one. A kill in the middle of a
// header's change leaves that; luks.go reads the first copy only.
func (v VolumePlan) mend(ctx context.Context, log logger) (mended bool, err error) {
	header, err := ReadHeader(v.Device)
	if err != nil || !header.Damaged || header.UUID != v.UUID {
		return false, nil //nolint:nilerr // without a header there is nothing to mend
	}
	return true, cryptsetup(ctx, log, nil, "luksDump", v.Device)
}

// prefer makes openers try the slot before those that cost argon2id.
func (v VolumePlan) prefer(ctx context.Context, slot int, log logger) error {
	return cryptsetup(ctx, log, nil, "config", "--key-slot", strconv.Itoa(slot), "--priority", "prefer", v.Device)
}

// addSlot adds a slot for a secret by another that opens the volume, and
// returns its number.
func (v VolumePlan) addSlot(ctx context.Context, authority, secret Secret, options []string, log logger) (int, error) {
	before, err := ReadHeader(v.Device)
	if err != nil {
		return 0, err
	}
	argv := append([]string{"luksAddKey", "--batch-mode", "--key-file", host.SecretPath(0)}, options...)
	if err := cryptsetup(ctx, log, []Secret{authority, secret}, append(argv, v.Device, host.SecretPath(1))...); err != nil {
		return 0, err
	}
	after, err := ReadHeader(v.Device)
	if err != nil {
		return 0, err
	}
	for _, slot := range sortedKeys(after.Slots) {
		if _, old := before.Slots[slot]; !old {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("%s: cryptsetup added no keyslot", v.Mapping)
}

// removeSlot removes a slot; the last one is never removed. In batch mode
// cryptsetup does not ask for another slot's key first.
func (v VolumePlan) removeSlot(ctx context.Context, slot int, log logger) error {
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	if _, there := header.Slots[slot]; !there {
		return nil
	}
	if len(header.Slots) < 2 {
		return fmt.Errorf("%s: keyslot %d is the only one, and stays", v.Mapping, slot)
	}
	return cryptsetup(ctx, log, nil, "luksKillSlot", "--batch-mode", v.Device, strconv.Itoa(slot))
}

// mark leaves a token that says what the slot is for. It is written when the
// slot has been proven by opening the volume.
func (v VolumePlan) mark(ctx context.Context, token Token, slot int, log logger) error {
	text, err := json.Marshal(tokenOn{token, []string{strconv.Itoa(slot)}})
	if err != nil {
		return err
	}
	return cryptsetup(ctx, log, []Secret{NewSecret(text)}, "token", "import", "--json-file", host.SecretPath(0), v.Device)
}

// unmark removes the tokens of ours whose slot is gone or that is says no to.
func (v VolumePlan) unmark(ctx context.Context, stale func(Token, Header) bool, log logger) error {
	header, err := ReadHeader(v.Device)
	if err != nil {
		return err
	}
	for _, id := range sortedKeys(header.Tokens) {
		if stale(header.Tokens[id], header) {
			if err := cryptsetup(ctx, log, nil, "token", "remove", "--token-id", strconv.Itoa(id), v.Device); err != nil {
				return err
			}
		}
	}
	return nil
}

// testPassphrase opens the volume by one slot, without making a mapping.
func (v VolumePlan) testPassphrase(ctx context.Context, passphrase Secret, slot int, log logger) error {
	return cryptsetup(ctx, log, []Secret{passphrase}, "open", "--test-passphrase", "--key-slot", strconv.Itoa(slot), "--key-file", host.SecretPath(0), v.Device)
}

// openPersistently opens the volume, or refreshes an open one, so that the
// header has the plan's flags from then on. Only cryptsetup writes headers.
func (v VolumePlan) openPersistently(ctx context.Context, key Secret, open bool, log logger) error {
	argv := []string{"open", "--persistent", "--key-file", host.SecretPath(0)}
	if open {
		argv[0] = "refresh"
	}
	if v.AllowDiscards {
		argv = append(argv, "--allow-discards")
	}
	if open {
		return cryptsetup(ctx, log, []Secret{key}, append(argv, v.Mapping)...)
	}
	return cryptsetup(ctx, log, []Secret{key}, append(argv, v.Device, v.Mapping)...)
}
