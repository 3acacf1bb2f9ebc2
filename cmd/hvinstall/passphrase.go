package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"hvinstall/crypt"

	"golang.org/x/term"
)

// tries is how often a passphrase may be typed differently the second time.
const tries = 5

// passphrase gets the passphrase from where the flags say: a file, an open
// descriptor, or the person at the terminal. A new one is typed twice, with
// its strength shown in between.
func (f *installFlags) passphrase(ctx context.Context, t terminal, isNew bool) (crypt.Secret, error) {
	switch {
	case f.passphraseFile != "":
		return crypt.ReadPassphraseFile(f.passphraseFile)
	case f.passphraseFD >= 0:
		file := os.NewFile(uintptr(f.passphraseFD), "passphrase")
		if file == nil {
			return crypt.Secret{}, fmt.Errorf("--passphrase-fd %d is no open descriptor", f.passphraseFD)
		}
		defer file.Close()
		return crypt.ReadPassphrase(file)
	}
	input, isFile := t.in.(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		return crypt.Secret{}, errors.New("a passphrase is needed, and nobody is there to type it: give --passphrase-file or --passphrase-fd")
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(t.err, prompt)
		typed, err := answer(ctx, input, func() ([]byte, error) { return term.ReadPassword(int(input.Fd())) })
		fmt.Fprintln(t.err)
		return typed, err
	}
	fmt.Fprintln(t.err)
	if err := f.screenKeyboard(ctx, t, input, isNew); err != nil {
		return crypt.Secret{}, err
	}
	if !isNew {
		return crypt.AskPassphrase(ask, "Passphrase of the LUKS volumes: ")
	}
	show := func(s crypt.Strength) { fmt.Fprintf(t.err, "  %s\n", s) }
	var err error
	for range tries {
		var secret crypt.Secret
		if secret, err = crypt.NewPassphrase(ask, show); err == nil {
			return secret, nil
		}
		if !errors.Is(err, crypt.ErrDiffer) {
			break
		}
		fmt.Fprintf(t.err, "  %s; once more\n", showable(err.Error()))
	}
	return crypt.Secret{}, fmt.Errorf("%w; nothing was written", err)
}

// keyring holds the run's secrets. Where a volume is to be made, the passphrase
// is asked for now, before anything is written; else only when it is needed.
func (f *installFlags) keyring(ctx context.Context, t terminal, plan crypt.Plan) (*crypt.Keyring, error) {
	wanted, err := plan.PassphraseWanted()
	if err != nil {
		return nil, err
	}
	if !wanted {
		return &crypt.Keyring{Passphrase: func(ctx context.Context) (crypt.Secret, error) { return f.passphrase(ctx, t, false) }}, nil
	}
	secret, err := f.passphrase(ctx, t, true)
	if err != nil {
		return nil, err
	}
	return &crypt.Keyring{Passphrase: func(context.Context) (crypt.Secret, error) { return secret, nil }}, nil
}
