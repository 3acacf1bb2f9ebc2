package crypt

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Keyring holds the keys and the passphrase of one run in memory. Its zero
// value knows none.
type Keyring struct {
	// Passphrase gives the passphrase that every volume shares. It is called
	// at most once, and only where a step needs it.
	Passphrase func(ctx context.Context) (Secret, error)

	// OneProof lets a stick's key that has opened one volume count for all that
	// have a slot for that stick: each was proven when it was made, and at the
	// boot. It is for who only looks, and often.
	OneProof bool

	// ForceCost replaces the measured cost of argon2id, for tests that make
	// many volumes. Nothing that a user can write sets it.
	ForceCost *Cost

	mu         sync.Mutex
	passphrase Secret
	refused    error
	keys       map[string]Secret // by the stick's VFAT serial
	throwaway  map[string]Secret // by mapping: the first key of a volume where there is no stick
	proven     bool              // the passphrase's way has been proven in this run
	slots      map[proof]bool    // keyslots that this run has opened by their stick's key
	own        map[string]bool   // mappings whose passphrase slot this run made
	cost       *Cost

	proving  sync.Mutex // held while the one proof is made
	agreeing sync.Mutex // held while the passphrase is held against earlier volumes
	agreed   bool
}

// made remembers that this run gave the volume its passphrase.
func (k *Keyring) made(mapping string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own == nil {
		k.own = map[string]bool{}
	}
	k.own[mapping] = true
}

func (k *Keyring) isOwn(mapping string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.own[mapping]
}

// proof is a keyslot of a volume that a stick's key has opened.
type proof struct {
	mapping, stick string
	slot           int
}

// prove remembers that the key on a stick opens the volume by a slot.
func (k *Keyring) prove(mapping, stick string, slot int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slots == nil {
		k.slots = map[proof]bool{}
	}
	k.slots[proof{mapping, stick, slot}] = true
}

func (k *Keyring) isProven(mapping, stick string, slot int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.OneProof {
		for p := range k.slots {
			if p.stick == stick {
				return true
			}
		}
	}
	return k.slots[proof{mapping, stick, slot}]
}

// firstProof is true once.
func (k *Keyring) firstProof() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := !k.proven
	k.proven = true
	return first
}

// secretPassphrase asks for the passphrase, once.
func (k *Keyring) secretPassphrase(ctx context.Context) (Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.passphrase.Empty() && k.refused == nil {
		if k.Passphrase == nil {
			k.refused = errors.New("a passphrase is needed; run at a terminal, or give --passphrase-file")
		} else if k.passphrase, k.refused = k.Passphrase(ctx); k.refused == nil && k.passphrase.Empty() {
			k.refused = errors.New("the passphrase is empty")
		}
	}
	return k.passphrase, k.refused
}

// key is the key of a stick, read before, or an empty Secret.
func (k *Keyring) key(stick string) Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[stick]
}

func (k *Keyring) keep(stick string, key Secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]Secret{}
	}
	if old := k.keys[stick]; !old.Equal(key) {
		old.Wipe()
	}
	k.keys[stick] = key
}

// throwawayFor is the random first key of a volume where there is no stick.
// It is gone with the process: a volume that got no further is made anew.
func (k *Keyring) throwawayFor(mapping string, fresh bool) Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.throwaway == nil {
		k.throwaway = map[string]Secret{}
	}
	if fresh {
		k.throwaway[mapping] = NewKey(64)
	}
	return k.throwaway[mapping]
}

// cheapKeys are the keys that are tried in no time, by name.
func (k *Keyring) cheapKeys(mapping string) []Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	var keys []Key
	for stick, secret := range k.keys {
		keys = append(keys, Key{Name: "USB key " + stick, Secret: secret, Stick: stick})
	}
	if secret := k.throwaway[mapping]; !secret.Empty() {
		keys = append(keys, Key{Name: "the first key", Secret: secret})
	}
	return keys
}

// Wipe overwrites every secret.
func (k *Keyring) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.passphrase.Wipe()
	for _, m := range []map[string]Secret{k.keys, k.throwaway} {
		for _, secret := range m {
			secret.Wipe()
		}
		clear(m)
	}
}

// Format prints nothing of what it holds.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }
