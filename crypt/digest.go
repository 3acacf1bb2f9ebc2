package crypt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A header says which volume key is its own by a salted digest of it ("LUKS2
// On-Disk Format Specification", 3.6), and no key of anybody else's has that.
// Who forges a header for a UUID needs a volume key that they know, so a host
// that remembers the digest knows a forgery before any key is tried on it. The
// digest is no secret: it can be read on the disk by whoever has that.

// OtherVolumeKeyError is a volume with the UUID of one of the host's and
// another volume key.
type OtherVolumeKeyError struct{ Mapping, Device string }

func (e *OtherVolumeKeyError) Error() string {
	return fmt.Sprintf("%s (%s): its volume key is not the one that this host was made with, so no key was tried on it; "+
		"it is a forgery, or was encrypted anew ('cryptsetup reencrypt'): in the second case boot the live stick and run 'hvinstall --plan'", e.Mapping, e.Device)
}

// keyDigest is the digest of the volume key in a header's JSON, as text of one
// length; empty: there is not exactly one. A second one, of keyslots that are
// bound to no data, would let a key of its own through.
func keyDigest(text []byte) string {
	var m judged
	if json.Unmarshal(text, &m) != nil || len(m.Digests) != 1 {
		return ""
	}
	for _, d := range m.Digests {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s\x00%s", d.Type, d.Hash, d.Iterations, d.Salt, d.Digest))
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// VolumeKeyDigest is what tells the volume key of an open volume, by the header
// of the device that it was opened from. It is empty when the mapping is not
// there or its header is not a LUKS2 one.
func VolumeKeyDigest(mapping string) (string, error) {
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		return "", err
	}
	for _, file := range names {
		name, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(name)) != mapping {
			continue
		}
		below, err := os.ReadDir(filepath.Join(filepath.Dir(file), "../slaves"))
		if err != nil || len(below) != 1 {
			return "", err
		}
		header, err := ReadHeader("/dev/" + below[0].Name())
		if err != nil {
			return "", fmt.Errorf("%s: %w", mapping, err)
		}
		return header.KeyDigest, nil
	}
	return "", nil
}

// hasKeyOf says by the header whether this is the volume, and no other under its UUID.
func (v VolumePlan) hasKeyOf(h Header) error {
	if v.KeyDigest != "" && h.KeyDigest != v.KeyDigest {
		return &OtherVolumeKeyError{v.Mapping, v.Device}
	}
	return nil
}
