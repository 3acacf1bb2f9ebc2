package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// microcode is an uncompressed archive that the kernel reads before anything
// else, see its Documentation/x86/microcode.rst; empty where the firmware
// folder has none (Debian: intel-microcode, amd64-microcode).
func microcode(firmware string) (data []byte, vendors []string, err error) {
	var early archive
	for _, v := range []struct{ folder, name string }{
		{"amd-ucode", "AuthenticAMD.bin"},
		{"intel-ucode", "GenuineIntel.bin"},
	} {
		all, err := concatenated(filepath.Join(firmware, v.folder))
		if err != nil {
			return nil, nil, err
		}
		if len(all) == 0 {
			continue
		}
		early.fileWithFolders("kernel/x86/microcode/"+v.name, all, 0o644)
		vendors = append(vendors, v.folder)
	}
	if len(vendors) == 0 {
		return nil, nil, nil
	}
	data, err = early.bytes()
	if err != nil {
		return nil, nil, err
	}
	// What follows must begin at a multiple of four; cpio pads to 512 anyway.
	for len(data)%512 != 0 {
		data = append(data, 0)
	}
	return data, vendors, nil
}

// concatenated is all files of a folder, in the order of their names. AMD's
// signatures (.asc) and Intel's superseded files lie beside them.
func concatenated(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for microcode: %w", err)
	}
	var all []byte
	for _, e := range entries {
		if !e.Type().IsRegular() || slices.Contains([]string{".asc", ".initramfs"}, filepath.Ext(e.Name())) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading microcode: %w", err)
		}
		all = append(all, data...)
	}
	return all, nil
}
