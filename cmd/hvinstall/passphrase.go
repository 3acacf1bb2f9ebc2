package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"hvinstall/crypt"

	"golang.org/x/term"
)

// longestPassphrase is cryptsetup's own limit for a passphrase that is typed,
// in bytes.
const longestPassphrase = 512

// passphrase gets the passphrase from where the flags say: a file, an open
// descriptor, or the person at the terminal. A new one is typed twice.
func (f *installFlags) passphrase(t terminal, isNew bool) (crypt.Secret, error) {
	switch {
	case f.passphraseFile != "":
		file, err := os.Open(f.passphraseFile)
		if err != nil {
			return crypt.Secret{}, fmt.Errorf("reading the passphrase: %w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(t.err, "hvinstall: warning: %s can be read by others; chmod 600 it, and remove it afterwards\n", f.passphraseFile)
		}
		return readPassphrase(file)
	case f.passphraseFD >= 0:
		return readPassphrase(os.NewFile(uintptr(f.passphraseFD), "passphrase"))
	}
	input, isFile := t.in.(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		return crypt.Secret{}, errors.New("a passphrase is needed, and nobody is there to type it: give --passphrase-file or --passphrase-fd")
	}
	return askPassphrase(t, input, isNew)
}

// readPassphrase reads a passphrase without the newline that an editor adds.
func readPassphrase(r io.Reader) (crypt.Secret, error) {
	data, err := io.ReadAll(io.LimitReader(r, longestPassphrase+2))
	if err != nil {
		return crypt.Secret{}, fmt.Errorf("reading the passphrase: %w", err)
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	switch {
	case len(data) == 0:
		return crypt.Secret{}, errors.New("the passphrase is empty")
	case len(data) > longestPassphrase:
		return crypt.Secret{}, fmt.Errorf("the passphrase is longer than %d bytes; a boot could not ask for it", longestPassphrase)
	case bytes.ContainsAny(data, "\x00\n\r"):
		return crypt.Secret{}, errors.New("the passphrase has a line end or a NUL in it, which nobody could type at boot")
	}
	return crypt.NewSecret(data), nil
}

func askPassphrase(t terminal, input *os.File, isNew bool) (crypt.Secret, error) {
	out := t.err
	ask := func(prompt string) (crypt.Secret, error) {
		fmt.Fprint(out, prompt)
		typed, err := term.ReadPassword(int(input.Fd()))
		fmt.Fprintln(out)
		if err != nil {
			return crypt.Secret{}, fmt.Errorf("reading the passphrase: %w", err)
		}
		return crypt.NewSecret(typed), nil
	}
	if !isNew {
		return ask("\nPassphrase of the LUKS volumes: ")
	}
	for range 5 {
		first, err := ask("\nNew passphrase, one for all volumes: ")
		if err != nil {
			return first, err
		}
		if first.Empty() {
			fmt.Fprintln(out, "It is empty.")
			continue
		}
		fmt.Fprintf(out, "Strength: %s\n", strength(string(first.Bytes())))
		second, err := ask("The same again: ")
		if err != nil {
			first.Wipe()
			return second, err
		}
		same := first.Equal(second)
		second.Wipe()
		if same {
			return first, nil
		}
		first.Wipe()
		fmt.Fprintln(out, "The two differ.")
	}
	return crypt.Secret{}, errors.New("no passphrase was given; nothing was written")
}

// strength estimates a passphrase in words: what a program that tries every
// passphrase of its kind would need. It knows no dictionary, and says so.
func strength(passphrase string) string {
	bits := estimateBits(passphrase)
	word := "weak, a few more words would help"
	switch {
	case bits >= 90:
		word = "strong"
	case bits >= 60:
		word = "good"
	case bits >= 40:
		word = "fair"
	}
	return fmt.Sprintf("%s (about %d bits, if it is in no word list)", word, bits)
}

// estimateBits counts characters by the size of the sets they come from; a
// character that repeats or continues the one before it counts little, and
// letters in words carry less than random ones.
func estimateBits(passphrase string) int {
	var lower, upper, digit, other bool
	runes := []rune(passphrase)
	informative := 0.0
	for i, r := range runes {
		switch {
		case unicode.IsLower(r):
			lower = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsDigit(r):
			digit = true
		default:
			other = true
		}
		weight := 1.0
		if i > 0 {
			if d := r - runes[i-1]; d >= -1 && d <= 1 {
				weight = 0.25
			}
		}
		informative += weight
	}
	perCharacter := 0.0
	for _, set := range []struct {
		used bool
		bits float64
	}{{lower, 2.6}, {upper, 1.0}, {digit, 0.9}, {other, 1.2}} {
		if set.used {
			perCharacter += set.bits
		}
	}
	if !lower && !upper && digit {
		perCharacter = 3.3
	}
	if unique := len(uniqueRunes(passphrase)); unique < 4 {
		informative = min(informative, float64(unique))
	}
	return int(informative * perCharacter)
}

func uniqueRunes(s string) string {
	var b strings.Builder
	for _, r := range s {
		if !strings.ContainsRune(b.String(), r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// keyring holds the run's secrets. Where a volume is to be made, the passphrase
// is asked for now, before anything is written; else only when it is needed.
func (f *installFlags) keyring(t terminal, plan crypt.Plan) (*crypt.Keyring, error) {
	wanted, err := plan.PassphraseWanted()
	if err != nil {
		return nil, err
	}
	if !wanted {
		return &crypt.Keyring{Passphrase: func(context.Context) (crypt.Secret, error) { return f.passphrase(t, false) }}, nil
	}
	secret, err := f.passphrase(t, true)
	if err != nil {
		return nil, err
	}
	return &crypt.Keyring{Passphrase: func(context.Context) (crypt.Secret, error) { return secret, nil }}, nil
}
