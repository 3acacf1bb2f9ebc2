package crypt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCandidates: which slots a key is tried on decides whether a boot takes
// tenths of a second or half a minute.
func TestCandidates(t *testing.T) {
	cheap := func(priority int) Slot { return Slot{KDF: "pbkdf2", Iterations: 1000, Priority: priority} }
	argon := Slot{KDF: "argon2id", Cost: Cost{Time: 4, Memory: 1 << 20, Parallel: 4}, Priority: 1}
	ours := Header{Version: 2, Subsystem: Subsystem, Slots: map[int]Slot{0: cheap(2), 1: argon, 2: cheap(2)}, Tokens: map[int]Token{
		0: {Type: TokenKey, Slots: []int{0}, Stick: "A"}, 1: {Type: TokenPassphrase, Slots: []int{1}}, 2: {Type: TokenKey, Slots: []int{2}, Stick: "B"},
	}}
	// NixOS by hand: the passphrase in slot 0, a key file in an argon2id slot 1.
	nixos := Header{Version: 2, Slots: map[int]Slot{0: argon, 1: argon, 2: cheap(1), 3: cheap(0)}}
	for _, c := range []struct {
		name   string
		header Header
		key    Key
		usable []int
		want   []int
	}{
		{"a stick's own slot first, never the passphrase's", ours, Key{Stick: "B"}, []int{0, 1, 2}, []int{2, 0}},
		{"a key file of no known stick", ours, Key{}, []int{2, 1, 0}, []int{0, 2}},
		{"the passphrase", ours, Key{Passphrase: true}, []int{0, 1, 2}, []int{1}},
		{"a key file on a volume of others", nixos, Key{}, []int{0, 1, 2}, []int{2, 0, 1}},
		{"a passphrase on a volume of others", nixos, Key{Passphrase: true}, []int{0, 1, 2}, []int{0, 1, 2}},
		{"LUKS1 knows no difference", Header{Version: 1}, Key{}, []int{3, 0}, []int{0, 3}},
	} {
		if got := c.header.candidates(c.key, slices.Clone(c.usable)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestTellingPanics: who is told of a volume may have a bug; in the initramfs a
// panic of a goroutine would end the machine's first process.
func TestTellingPanics(t *testing.T) {
	u := unlocker{results: []Opened{{Mapping: "cryptroot"}}, tell: func(int, Opened) { panic("a bug") }}
	done := make(chan struct{})
	go func() { defer close(done); u.telling(0) }()
	<-done
	if u.results[0].Err != nil {
		t.Errorf("the volume counts as closed: %v", u.results[0].Err)
	}
}

// TestLooksLikeKey: only a file that a run of hvinstall left is taken for one.
func TestLooksLikeKey(t *testing.T) {
	text := bytes.Repeat([]byte("dear diary, "), KeySize/12+1)[:KeySize]
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{
		"random": {NewKey(KeySize).Bytes(), true}, "zeros": {make([]byte, KeySize), false}, "text": {text, false},
		"short": {NewKey(KeySize - 1).Bytes(), false}, "long": {NewKey(KeySize + 1).Bytes(), false}, "empty": {nil, false},
		"hex": {[]byte(strings.Repeat("0123456789abcdef", KeySize/16)), false},
	} {
		if got := looksLikeKey(NewSecret(c.data)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestPlaceKey writes a key into a folder that stands for a stick.
func TestPlaceKey(t *testing.T) {
	dir := t.TempDir()
	k := KeyPlan{FSUUID: "8B34-7D3C", Filename: "hypervisor"}
	if err := os.WriteFile(filepath.Join(dir, "hypervisor.part"), []byte("left by a kill"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := NewKey(KeySize)
	if err := k.place(dir, key); err != nil {
		t.Fatal(err)
	}
	got, err := readKeyFile(filepath.Join(dir, "hypervisor"))
	if err != nil || !got.Equal(key) {
		t.Errorf("read back: equal %v, %v", got.Equal(key), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v; want the key alone", len(entries), err)
	}
	err = k.place(dir, NewKey(KeySize))
	var stick *StickError
	if !errors.As(err, &stick) || !strings.Contains(err.Error(), "key_filename") {
		t.Errorf("over a file: %v, want a StickError with the way out", err)
	}
	if again, err := readKeyFile(filepath.Join(dir, "hypervisor")); err != nil || !again.Equal(key) {
		t.Errorf("the file that was there was replaced (%v)", err)
	}
}

func TestKeyFilename(t *testing.T) {
	for name, want := range map[string]bool{"hypervisor": true, "my key.bin": true, "": false, "..": false, "a/b": false, "a\\b": false, "c:": false} {
		if got := isKeyFilename(name); got != want {
			t.Errorf("isKeyFilename(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestParseBenchmark(t *testing.T) {
	for text, want := range map[string]Cost{
		"# Tests are approximate using memory only (no storage IO).\nargon2id      4 iterations, 540459 memory, 4 parallel threads (CPUs) for 256-bit key (requested 2000 ms time)\n": {4, 540459, 4},
		"argon2id           N/A\n": {}, "": {}, "argon2id 0 iterations, 5 memory, 1 parallel threads\n": {},
	} {
		if got, ok := parseBenchmark(text); got != want || ok != (want != Cost{}) {
			t.Errorf("%q = %+v, %v; want %+v", text, got, ok, want)
		}
	}
}
