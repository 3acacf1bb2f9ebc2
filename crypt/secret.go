package crypt

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
)

// Secret is a passphrase or key. It prints as [secret] whatever the verb, and
// as that in JSON, so that no error, event or log line can carry it. Copies
// share the bytes: Wipe on one wipes all.
//
// The bytes are behind a pointer because fmt shows the plain fields of a value
// whose verb it does not know, past any method.
type Secret struct{ held *held }

type held struct{ bytes []byte }

const redacted = "[secret]"

// NewSecret takes the bytes over: they are wiped with the Secret.
func NewSecret(b []byte) Secret { return Secret{&held{b}} }

// NewKey is fresh random bytes from the kernel.
func NewKey(size int) Secret {
	b := make([]byte, size)
	// crypto/rand ends the program rather than return less than it was asked for.
	_, _ = rand.Read(b)
	return NewSecret(b)
}

// Bytes are the secret itself, not a copy. Do not keep them.
func (s Secret) Bytes() []byte {
	if s.held == nil {
		return nil
	}
	return s.held.bytes
}

// Empty reports whether there is no secret, or it was wiped.
func (s Secret) Empty() bool { return len(s.Bytes()) == 0 }

// Equal compares in constant time.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.Bytes(), t.Bytes()) == 1 }

// Wipe overwrites the secret. What the Go runtime or a library copied before
// is beyond its reach.
func (s *Secret) Wipe() {
	if s.held != nil {
		clear(s.held.bytes)
		s.held.bytes = nil
	}
}

// Format prints [secret] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String is [secret].
func (s Secret) String() string { return redacted }

// MarshalText makes the secret [secret] in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
