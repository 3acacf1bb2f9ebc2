package boot

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
)

// RootSecretPath is where the root file system has what proves that it is the
// host's own. The initramfs has a salted digest of it, so that what can be read
// on the ESP forges no root, and a file system whose UUID was copied is no host.
const RootSecretPath = "/etc/hvinstall/root-secret"

// rootSecret is a salt and a secret, of 16 and of 32 bytes.
var rootSecret = regexp.MustCompile(`^([0-9a-f]{32}) ([0-9a-f]{64})\n$`)

var rootProof = regexp.MustCompile(`^[0-9a-f]{32}:[0-9a-f]{64}$`)

// MaxRootSecret is more bytes than the file has.
const MaxRootSecret = 128

// RootSecret is the text of the file, made of random bytes.
func RootSecret(random [48]byte) []byte {
	return fmt.Appendf(nil, "%x %x\n", random[:16], random[16:])
}

// RootProof is the salted digest of the file, for Root.Proof.
func RootProof(file []byte) (string, error) {
	parts := rootSecret.FindSubmatch(file)
	if parts == nil {
		return "", errors.New(RootSecretPath + " is damaged")
	}
	sum := sha256.Sum256(append(append([]byte("hvinstall root "), parts[1]...), parts[2]...))
	return string(parts[1]) + ":" + hex.EncodeToString(sum[:]), nil
}

// Proves says whether a root with this file is the one that the initramfs was
// built for. An initramfs that was built without a proof takes every root.
func (r Root) Proves(file []byte) bool {
	have, err := RootProof(file)
	return r.Proof == "" || err == nil && subtle.ConstantTimeCompare([]byte(have), []byte(r.Proof)) == 1
}
