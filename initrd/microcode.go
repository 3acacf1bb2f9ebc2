package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hvinstall/initrd/boot"
)

// microcode is an uncompressed archive that the kernel reads before anything
// else, see its Documentation/x86/microcode.rst; empty where the firmware
// folder has none (Debian: intel-microcode, amd64-microcode). Of a vendor's
// folder only the files that are named go in, all of them if it is named itself.
func microcode(firmware string, names []string) (data []byte, vendors []string, err error) {
	if names == nil {
		names = boot.MicrocodeFolders()
	}
	var early archive
	for _, v := range []struct{ folder, name string }{
		{"amd-ucode", "AuthenticAMD.bin"},
		{"intel-ucode", "GenuineIntel.bin"},
	} {
		all, err := concatenated(firmware, v.folder, names)
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

// concatenated is the files of a folder, in the order of their names. AMD's
// signatures (.asc) lie beside them. What Debian names *.initramfs is for here:
// the kernel must not load it later.
func concatenated(firmware, folder string, names []string) ([]byte, error) {
	entries, err := os.ReadDir(filepath.Join(firmware, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for microcode: %w", err)
	}
	var all []byte
	for _, e := range entries {
		if !e.Type().IsRegular() || filepath.Ext(e.Name()) == ".asc" {
			continue
		}
		if !slices.Contains(names, folder) && !slices.Contains(names, folder+"/"+e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(firmware, folder, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading microcode: %w", err)
		}
		all = append(all, data...)
	}
	return all, nil
}
