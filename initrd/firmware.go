package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// firmwareFiles are what a module asks the kernel for, by their names below the
// folder, as far as it has them: many a module names the files of chips that
// nobody has.
func firmwareFiles(folder string, module []byte) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, name := range firmwareNames(module) {
		if !filepath.IsLocal(name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[name] = data
	}
	return found, nil
}

// firmwareNames are MODULE_FIRMWARE()'s, which stand in a module's .modinfo as
// "firmware=name", each ended by NUL.
func firmwareNames(module []byte) []string {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil
	}
	data, err := section.Data()
	if err != nil {
		return nil
	}
	var names []string
	for field := range strings.SplitSeq(string(data), "\x00") {
		if name, found := strings.CutPrefix(field, "firmware="); found {
			names = append(names, name)
		}
	}
	return names
}
