package osimage

import (
	"embed"
	"fmt"
	"io/fs"
)

// hooks are the image's own files in /etc/kernel. The binary has them, too: a
// host that was installed from an older image gets those of its hvinstall.
//
//go:embed debian/files/etc/kernel
var hooks embed.FS

// hookEdits are the files by which a kernel that apt brings gets a boot entry.
func hookEdits() []edit {
	const files = "debian/files"
	var edits []edit
	err := fs.WalkDir(hooks, files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := hooks.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if len(data) > 2 && string(data[:2]) == "#!" {
			mode = 0o755 // embed.FS has no modes
		}
		edits = append(edits, whole(path[len(files):], mode, string(data)))
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("reading what is compiled in: %v", err))
	}
	return edits
}
