package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"hvinstall/initrd"
	"hvinstall/initrd/unlock"

	"golang.org/x/term"
)

// keyboardLikeBoot gives the screen's keyboard the layout's keymap, the very
// bytes that the initramfs gets: what is typed here as a passphrase is what the
// same keys type at the boot prompt. It returns the keyboard that is active,
// nothing on a serial line and over SSH, where characters come as they are.
func keyboardLikeBoot(ctx context.Context, in io.Reader, name string) (active string, err error) {
	input, isFile := in.(*os.File)
	if name == "" || !isFile || !term.IsTerminal(int(input.Fd())) || !unlock.OnScreen(input) {
		return "", nil
	}
	compiled, err := initrd.CompileKeymap(ctx, name)
	if err == nil {
		err = unlock.LoadKeymap(input, compiled)
	}
	if err != nil {
		return "", fmt.Errorf("this screen's keyboard does not become %s (locale.keymap): %w", name, err)
	}
	return name, nil
}

// screenKeyboard says which keyboard a passphrase or a password is typed on. A
// new one is not typed on another keyboard than the one of the boot prompt.
func (f *installFlags) screenKeyboard(ctx context.Context, t terminal, input *os.File, isNew bool) error {
	keyboard, err := keyboardLikeBoot(ctx, input, f.keymap)
	switch {
	case err != nil && isNew:
		return fmt.Errorf("%w; typed on another keyboard it would be another one at the boot prompt: type it over SSH, or give the passphrase by --passphrase-file", err)
	case err != nil:
		fmt.Fprintf(t.err, "  %s\n", showable(err.Error()))
	case keyboard != "":
		fmt.Fprintf(t.err, "The keyboard is %s now, as it will be at the boot prompt.\n", keyboard)
	}
	return nil
}
