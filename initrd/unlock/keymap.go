package unlock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keymapPath is the keymap in the initramfs, as loadkeys --bkeymap writes it:
// "bkeymap", 256 bytes that say which tables follow, 128 entries a table.
const keymapPath = "/etc/hvinstall/keymap"

const (
	keymapTables = 256
	keymapKeys   = 128
	kdskbent     = 0x4b47 // KDSKBENT, see linux/kd.h
	kdskbmode    = 0x4b45
	kdgkbtype    = 0x4b33
	kUnicode     = 0x03
)

// keymapEntry is struct kbentry.
type keymapEntry struct {
	table, key uint8
	value      uint16
}

// parseKeymap reads a compiled keymap.
func parseKeymap(data []byte) ([]keymapEntry, error) {
	broken := errors.New("the compiled keymap is not of the known form")
	const head = len("bkeymap")
	if len(data) < head+keymapTables || string(data[:head]) != "bkeymap" {
		return nil, broken
	}
	flags, rest := data[head:head+keymapTables], data[head+keymapTables:]
	var entries []keymapEntry
	for table, present := range flags {
		if present != 1 {
			continue
		}
		if len(rest) < 2*keymapKeys {
			return nil, broken
		}
		for key := range keymapKeys {
			entries = append(entries, keymapEntry{uint8(table), uint8(key), binary.LittleEndian.Uint16(rest[2*key:])})
		}
		rest = rest[2*keymapKeys:]
	}
	return entries, nil
}

// loadKeymap gives the screen's keyboard the host's layout. Without it a
// passphrase typed blindly would be another one.
func (c *consoles) loadKeymap(name string) {
	if name == "" || name == "us" {
		return
	}
	data, err := os.ReadFile(keymapPath)
	if err != nil {
		c.warn("keymap %s is not in the initramfs; the keyboard is us", name)
		return
	}
	tty, err := os.OpenFile("/dev/tty1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return // no screen
	}
	defer tty.Close()
	if err := LoadKeymap(tty, data); err != nil {
		c.warn("%v; the keyboard is us", err)
	}
}

// LoadKeymap gives the screen's keyboard a compiled keymap (loadkeys --bkeymap),
// on all of its consoles. The kernel lets root do so.
func LoadKeymap(tty *os.File, compiled []byte) error {
	entries, err := parseKeymap(compiled)
	if err != nil {
		return err
	}
	fd := tty.Fd()
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, kdskbmode, kUnicode)
	for _, e := range entries {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, kdskbent, uintptr(unsafe.Pointer(&e)))
		// A table or a key that this kernel has not is one that nobody types.
		if errno != 0 && errno != unix.EINVAL {
			return fmt.Errorf("loading the keymap, table %d key %d: %w", e.table, e.key, errno)
		}
	}
	return nil
}

// OnScreen reports whether a terminal is a console of the machine's own screen
// and keyboard, neither a serial line nor a session from elsewhere.
func OnScreen(tty *os.File) bool {
	var kind byte
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, tty.Fd(), kdgkbtype, uintptr(unsafe.Pointer(&kind)))
	return errno == 0
}
