package crypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// finish gives a header that is still in a file what cryptsetup would need a
// run each for: the sticks' tokens, the priority of their slots, and the flags.
// cryptsetup checks all of it when it puts the header on the disk.
func (v VolumePlan) finish(sticks map[int]string) error {
	file, err := os.OpenFile(v.Device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	first, err := parseCopy(file, 0, magicPrimary)
	if err != nil {
		return err
	}
	for offset, magic := range map[int64][]byte{0: magicPrimary, first.size: magicSecondary} {
		if _, err := parseCopy(file, offset, magic); err != nil {
			return err
		}
		b := make([]byte, first.size)
		if _, err := file.ReadAt(b, offset); err != nil {
			return err
		}
		if err := v.finishCopy(b, sticks); err != nil {
			return fmt.Errorf("completing the header of %s: %w", v.Mapping, err)
		}
		if _, err := file.WriteAt(b, offset); err != nil {
			return err
		}
	}
	return nil
}

// finishCopy does it to one copy of the header.
func (v VolumePlan) finishCopy(b []byte, sticks map[int]string) error {
	area := b[headerJSON:]
	text, _, _ := bytes.Cut(area, []byte{0})
	var m map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&m); err != nil {
		return err
	}
	slots, _ := m["keyslots"].(map[string]any)
	config, _ := m["config"].(map[string]any)
	if slots == nil || config == nil {
		return errors.New("it has no keyslots")
	}
	tokens := map[string]any{}
	for i, number := range sortedKeys(sticks) {
		slot, _ := slots[strconv.Itoa(number)].(map[string]any)
		if slot == nil {
			return fmt.Errorf("keyslot %d is not there", number)
		}
		slot["priority"] = priorityPrefer
		tokens[strconv.Itoa(i)] = tokenOn{Token{Type: TokenKey, Stick: sticks[number]}, []string{strconv.Itoa(number)}}
	}
	if v.Mark != nil {
		tokens[strconv.Itoa(len(tokens))] = v.Mark
	}
	m["tokens"] = tokens
	if v.AllowDiscards {
		config["flags"] = []string{"allow-discards"}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) >= len(area) {
		return errors.New("it has no room left")
	}
	clear(area)
	copy(area, text)
	sealHeader(b)
	return nil
}

// sealHeader writes a copy's checksum.
func sealHeader(b []byte) {
	clear(b[headerChecksumName : headerChecksumName+32])
	copy(b[headerChecksumName:], "sha256")
	clear(b[headerChecksum : headerChecksum+64])
	sum := sha256.Sum256(b)
	copy(b[headerChecksum:], sum[:])
}
