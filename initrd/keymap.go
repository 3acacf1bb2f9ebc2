package initrd

import (
	"bytes"
	"context"
	"fmt"

	"hvinstall/configs/keymap"
	"hvinstall/host"
)

// bkeymap is how loadkeys(1) begins a compiled keymap.
const bkeymap = "bkeymap"

// BootKeymap is the compiled keymap of the passphrase prompt, nil where it is
// the kernel's own.
func BootKeymap(ctx context.Context, name string) ([]byte, error) {
	if name == "" || name == "us" {
		return nil, nil
	}
	return CompileKeymap(ctx, name)
}

// CompileKeymap compiles a keymap for the screen's keyboard: for the passphrase
// prompt, and for the console on which the passphrase is chosen, so that the
// same keys are the same passphrase. Debian's keyboards are X's, which
// ckbcomp(1) turns into a console keymap.
func CompileKeymap(ctx context.Context, name string) ([]byte, error) {
	keyboard, found := keymap.Find(name)
	if !found {
		return nil, fmt.Errorf("compiling keymap %q: there is no such keyboard", name)
	}
	text, err := host.Cmd{Argv: []string{"ckbcomp", keyboard.Layout, keyboard.Variant, keyboard.Options}}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("compiling keymap %s: %w; install console-setup", name, err)
	}
	// -u: a layout such as be has signs that are in no 8-bit character set, and
	// without it loadkeys refuses the whole map.
	out, err := host.Cmd{Argv: []string{"loadkeys", "-q", "-u", "--bkeymap"}, Stdin: bytes.NewReader(text)}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("compiling keymap %s: %w; install kbd", name, err)
	}
	if !bytes.HasPrefix(out, []byte(bkeymap)) {
		return nil, fmt.Errorf("compiling keymap %s: loadkeys gave no compiled keymap", name)
	}
	return out, nil
}
