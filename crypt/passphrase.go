package crypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// passphraseLimit is cryptsetup's own for what is typed, in bytes.
const passphraseLimit = 512

// ErrDiffer is a passphrase that was typed differently the second time.
var ErrDiffer = errors.New("the two passphrases differ")

// ReadPassphrase reads a passphrase from a file or descriptor: all of it, less
// one line end at its end. It must be one that can be typed at boot.
func ReadPassphrase(r io.Reader) (Secret, error) {
	// A fixed buffer: growing ones leave copies behind.
	buf := make([]byte, passphraseLimit+3)
	n, err := io.ReadFull(r, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(buf)
		return Secret{}, fmt.Errorf("reading the passphrase: %w", err)
	}
	text := bytes.TrimSuffix(bytes.TrimSuffix(buf[:n], []byte("\n")), []byte("\r"))
	if err := acceptable(text); err != nil {
		clear(buf)
		return Secret{}, err
	}
	return NewSecret(text), nil
}

// ReadPassphraseFile reads it from a file, as ReadPassphrase does. A file that
// others can read is refused.
func ReadPassphraseFile(path string) (Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("reading the passphrase: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Secret{}, fmt.Errorf("reading the passphrase: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return Secret{}, fmt.Errorf("%s can be read by other users (mode %04o); chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return ReadPassphrase(file)
}

// NewPassphrase asks for a passphrase twice. ask prompts and reads one line
// without echo; show is told the strength in between.
func NewPassphrase(ask func(prompt string) ([]byte, error), show func(Strength)) (Secret, error) {
	first, err := askOnce(ask, "Passphrase for every volume: ")
	if err != nil {
		return Secret{}, err
	}
	show(Estimate(first))
	second, err := askOnce(ask, "The same once more: ")
	if err != nil {
		first.Wipe()
		return Secret{}, err
	}
	defer second.Wipe()
	if !first.Equal(second) {
		first.Wipe()
		return Secret{}, ErrDiffer
	}
	return first, nil
}

// AskPassphrase asks once, for a passphrase that exists.
func AskPassphrase(ask func(prompt string) ([]byte, error), prompt string) (Secret, error) {
	return askOnce(ask, prompt)
}

func askOnce(ask func(string) ([]byte, error), prompt string) (Secret, error) {
	text, err := ask(prompt)
	if err != nil {
		clear(text)
		return Secret{}, err
	}
	if err := acceptable(text); err != nil {
		clear(text)
		return Secret{}, err
	}
	return NewSecret(text), nil
}

// acceptable refuses what could not be typed at a boot prompt.
func acceptable(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("the passphrase is empty")
	case len(text) > passphraseLimit:
		return fmt.Errorf("the passphrase is longer than %d bytes", passphraseLimit)
	case bytes.ContainsAny(text, "\n\r\x00"):
		return errors.New("the passphrase has more than one line, and could not be typed at boot")
	case !utf8.Valid(text):
		return errors.New("the passphrase is not text, and could not be typed at boot")
	}
	return nil
}
