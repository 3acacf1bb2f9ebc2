//go:build guest

package unlock_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/initrd"
	"hvinstall/initrd/boot"
	"hvinstall/testvm"
)

// keyCodes are QEMU's names of keys that are not called as what they write.
var keyCodes = map[rune]string{' ': "spc", '\n': "ret"}

// press presses the keys of the machine's own keyboard, which is American.
func press(t *testing.T, vm *testvm.VM, keys string) {
	t.Helper()
	for _, r := range keys {
		key := string(r)
		if code, ok := keyCodes[r]; ok {
			key = code
		}
		if _, err := vm.QMP("send-key", map[string]any{"keys": []any{map[string]any{"type": "qcode", "data": key}}, "hold-time": 20}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond)
	}
}

// screen is the text on the machine's screen: VGA keeps a letter in each second
// byte, see IBM's CGA reference, and shows 80 in a row.
func screen(t *testing.T, vm *testvm.VM) string {
	t.Helper()
	const columns, memory, size = 80, 0xb8000, 0x8000
	file := filepath.Join(t.TempDir(), "vga")
	if _, err := vm.QMP("pmemsave", map[string]any{"val": memory, "size": size, "filename": file}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for row := range slices.Chunk(data, 2*columns) {
		var line []byte
		for i := 0; i < len(row); i += 2 {
			line = append(line, max(row[i], ' '))
		}
		text.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return text.String()
}

func TestPassphraseOnTheScreen(t *testing.T) {
	c := config()
	c.KeyWait = boot.Duration(time.Second)
	vm := machine{config: c, screen: true}.boot(t)
	const prompt = "Passphrase for hypervisor (or plug a key stick in): "
	expect(t, vm, `Passphrase for hypervisor`) // on the serial console
	press(t, vm, "wrong\n")
	expect(t, vm, `opens none of the volumes; again in 1 s\s+Passphrase for hypervisor`)
	shown := screen(t, vm)
	for _, want := range []string{"hvinstall - hypervisor - Linux", "no key stick within 1s", "opens none of the volumes", strings.TrimSpace(prompt)} {
		if !strings.Contains(shown, want) {
			t.Errorf("the screen does not show %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "wrong") {
		t.Errorf("what was typed is on the screen:\n%s", shown)
	}
	if dump := os.Getenv("HVINSTALL_SCREENDUMP"); dump != "" {
		if err := vm.Screendump(dump); err != nil {
			t.Error(err)
		}
	}
	press(t, vm, passphrase+"\n")
	said, r := booted(t, vm)
	wantAll(t, said, r, "the passphrase")
}

// Console names and X's, and one whose own letters are not a passphrase's.
func TestKeymapsCompile(t *testing.T) {
	for name, q := range map[string]byte{ // what the key types that has q on an American keyboard
		"be-latin1": 'a', "de-latin1-nodeadkeys": 'q', "fr-bepo": 'b', "us-intl": 'q', "dvorak": '\'', "ru": 'q',
	} {
		compiled, err := initrd.CompileKeymap(t.Context(), name)
		if err != nil {
			t.Errorf("%v: apt-get install kbd console-setup", err)
			continue
		}
		// "bkeymap", the flags of 256 tables, the table of keys alone. A letter has
		// K_LETTER, 0x0b, in its upper byte.
		const keyQ = 16
		if have := compiled[len("bkeymap")+256+2*keyQ]; have != q {
			t.Errorf("%s: key %d types %q, want %q", name, keyQ, have, q)
		}
	}
}

// On a Belgian keyboard the letter a is where an American one has q.
func TestPassphraseOnAnotherKeyboard(t *testing.T) {
	keymap, err := initrd.CompileKeymap(t.Context(), "be")
	if err != nil {
		t.Fatalf("%v: apt-get install kbd console-setup", err)
	}
	c := config()
	c.KeyWait, c.Keymap = boot.Duration(time.Second), "be"
	vm := machine{config: c, screen: true, files: map[string]addition{"etc/hvinstall/keymap": {keymap, 0o644}}}.boot(t)
	expect(t, vm, `Passphrase for hypervisor`)
	press(t, vm, strings.ReplaceAll(passphrase, "a", "q")+"\n")
	said, r := booted(t, vm)
	wantAll(t, said, r, "the passphrase")
}

func TestShell(t *testing.T) {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v: apt-get install busybox-static", err)
	}
	t.Run("with one", func(t *testing.T) {
		vm := machine{
			config: config(), sticks: []string{"stick"}, append: "rd.hvinstall.shell",
			files: map[string]addition{"bin/busybox": {busybox, 0o755}},
		}.boot(t)
		expect(t, vm, `initramfs# `) // and busybox asks the terminal for its cursor
		if err := vm.Send("echo $$ in-the-shell-$((6*7)); grep -c . /proc/modules\r"); err != nil {
			t.Fatal(err)
		}
		expect(t, vm, `in-the-shell-42\r?\n\d+`)
		if err := vm.Send("exit\r"); err != nil {
			t.Fatal(err)
		}
		said, r := booted(t, vm)
		wantAll(t, said, r, "stick "+stickUUID)
	})
	t.Run("without", func(t *testing.T) {
		vm := machine{config: config(), sticks: []string{"stick"}, append: "rd.hvinstall.shell"}.boot(t)
		said, r := booted(t, vm)
		wantAll(t, said, r, "stick "+stickUUID)
		if !strings.Contains(strings.Join(r.Warnings, "\n"), "no shell in it") {
			t.Errorf("warnings: %q", r.Warnings)
		}
	})
}

// nixSystem and nixInit are the init of NixOS: below /nix/store, and not among
// those that are looked for.
const (
	nixSystem = "/nix/store/0c0s-nixos-system-hypervisor-25.05/init"
	nixInit   = `#!/bin/busybox sh
echo "NIXOS $0"
exec /sbin/init nixos
`
)

// A NixOS host names its init, which is behind an absolute link, and on a
// subvolume that the init mounts early.
func TestNixOSInit(t *testing.T) {
	c := config()
	c.Root.Early = []boot.Mount{{Subvolume: "/", Mountpoint: "/nix", Options: boot.Options{"noatime"}}}
	vm := machine{config: c, sticks: []string{"stick"}, append: "LD_PRELOAD=/evil.so init=" + nixSystem}.boot(t)
	expect(t, vm, `NIXOS `+nixSystem)
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
	if !strings.HasPrefix(said, "nixos") {
		t.Errorf("the system's init got the arguments %q", said[:min(len(said), 40)])
	}
}

// TestWordsThatOpen: a command line that would make whoever typed it root opens
// nothing, although the stick is in.
func TestWordsThatOpen(t *testing.T) {
	vm := machine{config: config(), sticks: []string{"stick"}, append: "systemd.debug_shell"}.boot(t)
	expect(t, vm, `"systemd.debug_shell" on the kernel command line`)
	expect(t, vm, `Press Enter to restart`)
	if said := vm.Transcript(); strings.Contains(said, "volumes open") {
		t.Errorf("volumes were opened:\n%s", said)
	}
}
