package unlock

import (
	"encoding/binary"
	"errors"
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
	entries, err := parseKeymap(data)
	if err != nil {
		c.warn("%v; the keyboard is us", err)
		return
	}
	fd, err := unix.Open("/dev/tty1", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // no screen
	}
	defer unix.Close(fd)
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), kdskbmode, kUnicode)
	for _, e := range entries {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), kdskbent, uintptr(unsafe.Pointer(&e))); errno != 0 {
			c.debug("keymap: table %d key %d: %v", e.table, e.key, errno)
		}
	}
}
