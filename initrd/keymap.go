package initrd

import (
	"bytes"
	"context"
	"fmt"

	"hvinstall/host"
)

// bkeymap is how loadkeys(1) begins a compiled keymap.
const bkeymap = "bkeymap"

// CompileKeymap compiles a console keymap for the passphrase prompt. Debian
// keeps keymaps in two forms: loadkeys(1) knows those of the package kbd or
// console-data, ckbcomp(1) makes one from an X layout.
func CompileKeymap(ctx context.Context, name string) ([]byte, error) {
	if name == "" || name == "us" {
		return nil, nil // the kernel's own
	}
	// -u: a layout such as be has signs that are in no 8-bit character set, and
	// without it loadkeys refuses the whole map.
	out, err := host.Cmd{Argv: []string{"loadkeys", "-q", "-u", "--bkeymap", name}}.Output(ctx)
	if err == nil && bytes.HasPrefix(out, []byte(bkeymap)) {
		return out, nil
	}
	text, xerr := host.Cmd{Argv: []string{"ckbcomp", name}}.Output(ctx)
	if xerr != nil {
		return nil, fmt.Errorf("compiling keymap %s: %w; install kbd and console-setup", name, err)
	}
	out, err = host.Cmd{Argv: []string{"loadkeys", "-q", "-u", "--bkeymap"}, Stdin: bytes.NewReader(text)}.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("compiling keymap %s: %w", name, err)
	}
	if !bytes.HasPrefix(out, []byte(bkeymap)) {
		return nil, fmt.Errorf("compiling keymap %s: loadkeys gave no compiled keymap", name)
	}
	return out, nil
}
