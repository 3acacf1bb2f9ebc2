package crypt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secretText = "correct zebra 7 Kettle!"

// TestSecretNeverPrints tries every verb, JSON, and errors that hold one.
func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret([]byte(secretText))
	k := &Keyring{passphrase: s, keys: map[string]Secret{"A": s}}
	var all strings.Builder
	for verb := 'A'; verb <= 'z'; verb++ {
		for _, flag := range []string{"", "#", "+", " "} {
			format := "%" + flag + string(verb)
			fmt.Fprintf(&all, format+format+format+format, s, &s, k, []any{s, Key{Secret: s}, struct{ S Secret }{s}})
		}
	}
	text, err := json.Marshal(map[string]any{"s": s, "p": &s, "k": Key{Secret: s}})
	if err != nil {
		t.Fatal(err)
	}
	all.Write(text)
	all.WriteString(fmt.Errorf("with %v: %w", s, errors.New(s.String())).Error())
	for _, form := range []string{secretText, fmt.Sprintf("%x", secretText), fmt.Sprintf("%X", secretText), fmt.Sprint([]byte(secretText)), "zebra"} {
		if strings.Contains(all.String(), form) {
			t.Errorf("printed the secret as %q", form)
		}
	}
	if !strings.Contains(all.String(), "[secret]") {
		t.Error("printed no [secret] at all")
	}
}

func TestWipe(t *testing.T) {
	b := []byte(secretText)
	s := NewSecret(b)
	s.Wipe()
	if !s.Empty() || strings.Trim(string(b), "\x00") != "" {
		t.Errorf("after Wipe the bytes are %q", b)
	}
}

func TestReadPassphrase(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"simple\n", "simple", ""},
		{"no line end", "no line end", ""},
		{"dos\r\n", "dos", ""},
		{"  spaces stay  \n", "  spaces stay  ", ""},
		{"ünïcode\n", "ünïcode", ""},
		{"", "", "empty"},
		{"\n", "", "empty"},
		{"two\nlines\n", "", "more than one line"},
		{strings.Repeat("a", 513) + "\n", "", "longer"},
		{strings.Repeat("a", 100_000), "", "longer"},
		{strings.Repeat("a", 512) + "\r\n", strings.Repeat("a", 512), ""},
		{"\xff\xfe", "", "not text"},
	} {
		got, err := ReadPassphrase(strings.NewReader(c.in))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("ReadPassphrase(%.20q) = %v, want an error with %q", c.in, err, c.err)
			}
			continue
		}
		if err != nil || string(got.Bytes()) != c.want {
			t.Errorf("ReadPassphrase(%.20q) = %q, %v", c.in, got.Bytes(), err)
		}
	}
}

func TestPassphraseFileOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPassphraseFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a world-readable file: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadPassphraseFile(path); err != nil || string(s.Bytes()) != "x" {
		t.Errorf("= %q, %v", s.Bytes(), err)
	}
}

func TestNewPassphraseAsksTwice(t *testing.T) {
	answers := func(all ...string) func(string) ([]byte, error) {
		return func(string) ([]byte, error) {
			a := all[0]
			all = all[1:]
			return []byte(a), nil
		}
	}
	var shown []Strength
	show := func(s Strength) { shown = append(shown, s) }
	if s, err := NewPassphrase(answers("abc", "abc"), show); err != nil || string(s.Bytes()) != "abc" {
		t.Errorf("= %q, %v", s.Bytes(), err)
	}
	if _, err := NewPassphrase(answers("abc", "abd"), show); !errors.Is(err, ErrDiffer) {
		t.Errorf("two different ones: %v", err)
	}
	if len(shown) != 2 || shown[0].Word() != "very weak" {
		t.Errorf("strength shown: %v", shown)
	}
}

// TestEstimate holds the estimates against judgements that anybody would share.
func TestEstimate(t *testing.T) {
	for _, c := range []struct{ text, word string }{
		{"password", "very weak"}, {"Passw0rd", "very weak"}, {"12345678901234567890", "very weak"}, {"aaaaaaaaaaaaaaaaaaaaaaa", "very weak"},
		{"qwertzuiop", "very weak"}, {"hypervisor", "very weak"}, {"correct horse battery staple", "very weak"}, {"testtesttesttest", "very weak"},
		{"blue kettle", "very weak"}, {"lentil orbit 47", "weak"}, {"abc", "very weak"}, {"kx7Rq2p", "weak"},
		{"lentil orbit canyon", "fair"}, {"lentil orbit canyon velvet", "fair"}, {"lentil orbit canyon velvet mosaic", "good"}, {"k$8Rw!2pQz&7mB@4xV#9tN", "strong"},
	} {
		if s := Estimate(NewSecret([]byte(c.text))); s.Word() != c.word {
			t.Errorf("Estimate(%q) = %s (%.0f bits), want %s", c.text, s.Word(), s.Bits, c.word)
		}
	}
}
