package crypt

import (
	"encoding/json"
	"errors"
	"slices"
)

// ErrNoHeader is a device on which there is no LUKS header.
var ErrNoHeader = errors.New("no LUKS header")

// Header is what a LUKS2 header says, as far as hvinstall acts on it. The
// format is specified in cryptsetup's docs/on-disk-format-luks2.pdf.
type Header struct {
	Version   int // 1 or 2; of version 1 only UUID and Cipher are read
	UUID      string
	Label     string
	Subsystem string
	Slots     map[int]Slot
	Tokens    map[int]Token
	Marks     map[int]json.RawMessage // the tokens of type TokenHost
	Flags     []string                // persistent flags, as allow-discards
	Sector    int                     // encryption sector size, bytes
	Offset    uint64                  // where the data begins, bytes
	Cipher    string                  // as aes-xts-plain64
	KeyDigest string                  // tells the volume key, see keyDigest
	// Damaged says that one of the two copies is not valid; the other was read.
	Damaged bool
	// Unfinished says that bytes look like the beginning of a header and no
	// copy is valid: a format that was cut short, or a header since overwritten.
	Unfinished bool

	second int64 // where the second copy is, when that was read; else 0
}

// Slot is a keyslot.
type Slot struct {
	KDF        string // pbkdf2, argon2i or argon2id
	Iterations int    // PBKDF2
	Cost       Cost   // argon2
	Priority   int    // 0 ignore, 1 normal, 2 prefer
}

// priorityPrefer makes openers try a slot before those that cost argon2id.
const priorityPrefer = 2

// Cost is argon2's cost, as cryptsetup's --pbkdf-force-iterations,
// --pbkdf-memory and --pbkdf-parallel.
type Cost struct {
	Time     int // passes over the memory
	Memory   int // KiB
	Parallel int // threads
}

// cheap reports whether trying the slot takes no time that a person notices.
func (s Slot) cheap() bool { return s.KDF == "pbkdf2" && s.Iterations <= 100_000 }

// Token is an entry of the header that says what a slot is for.
type Token struct {
	Type  string `json:"type"`
	Slots []int  `json:"-"`
	Stick string `json:"stick,omitempty"` // VFAT serial of the stick whose key opens the slot
}

// tokenOn is a token as it is written.
type tokenOn struct {
	Token
	Keyslots []string `json:"keyslots"`
}

// The token types that hvinstall leaves in a header, once it has opened the
// volume by the slot: they tell an enrolment that counts from one cut short.
const (
	TokenKey        = "hvinstall-key"
	TokenPassphrase = "hvinstall-passphrase"
)

// TokenHost is the type of the token that says whose the volume is. It has no
// keyslot, and crypt keeps it without reading it.
const TokenHost = "hvinstall-host"

// AllowsDiscards reports whether the header says so to every opener.
func (h Header) AllowsDiscards() bool { return slices.Contains(h.Flags, "allow-discards") }

// KeySlot is the slot enrolled for a stick, or -1.
func (h Header) KeySlot(stick string) int {
	return h.slotOf(func(t Token) bool { return t.Type == TokenKey && t.Stick == stick })
}

// Sticks are the VFAT serials of the sticks that have a slot, in order of their
// tokens.
func (h Header) Sticks() []string {
	var sticks []string
	for _, id := range sortedKeys(h.Tokens) {
		if t := h.Tokens[id]; t.Type == TokenKey && h.KeySlot(t.Stick) >= 0 && !slices.Contains(sticks, t.Stick) {
			sticks = append(sticks, t.Stick)
		}
	}
	return sticks
}

// PassphraseSlot is the slot enrolled for the passphrase, or -1.
func (h Header) PassphraseSlot() int {
	return h.slotOf(func(t Token) bool { return t.Type == TokenPassphrase })
}

func (h Header) slotOf(is func(Token) bool) int {
	for _, id := range sortedKeys(h.Tokens) {
		t := h.Tokens[id]
		if !is(t) {
			continue
		}
		for _, slot := range t.Slots {
			if _, there := h.Slots[slot]; there {
				return slot
			}
		}
	}
	return -1
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
