package crypt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
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

// keyDigest is the digest of the volume key among a header's digests, as text of
// one length; empty: there is not exactly one. A second one, of keyslots that
// are bound to no data, would let a key of its own through.
func keyDigest(digests []byte) string {
	var of map[string]judgedDigest
	if json.Unmarshal(digests, &of) != nil || len(of) != 1 {
		return ""
	}
	for _, d := range of {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s\x00%s", d.Type, d.Hash, d.Iterations, d.Salt, d.Digest))
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// OpenKeyDigest is Header.KeyDigest of the device that the volume is open from.
// It is empty while the volume is closed, where its mapping's name is another
// volume's, and where its header is not a LUKS2 one.
func (v VolumePlan) OpenKeyDigest() (string, error) {
	var node unix.Stat_t
	if err := unix.Stat(v.Path(), &node); errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("looking below %s: %w", v.Path(), err)
	}
	open, err := v.isOpen()
	var taken *MappingTakenError
	if errors.As(err, &taken) || err == nil && !open {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	below, err := os.ReadDir(fmt.Sprintf("/sys/dev/block/%d:%d/slaves", unix.Major(node.Rdev), unix.Minor(node.Rdev)))
	if err != nil || len(below) != 1 {
		return "", err
	}
	header, err := ReadHeader("/dev/" + below[0].Name())
	if err != nil {
		return "", fmt.Errorf("%s: %w", v.Mapping, err)
	}
	return header.KeyDigest, nil
}

// hasKeyOf says by the header whether this is the volume, and no other under its UUID.
func (v VolumePlan) hasKeyOf(h Header) error {
	if v.KeyDigest != "" && h.KeyDigest != v.KeyDigest {
		return &OtherVolumeKeyError{v.Mapping, v.Device}
	}
	return nil
}
