package vmstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveDirectory(t *testing.T) {
	base := t.TempDir()
	root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "vm/deep/er"), 0o755))
	must(os.MkdirAll(outside, 0o755))
	must(os.WriteFile(filepath.Join(outside, "data"), []byte("dear"), 0o644))
	must(os.WriteFile(filepath.Join(root, "vm/deep/er/disk"), nil, 0o400))
	must(os.Symlink(outside, filepath.Join(root, "vm/link")))
	must(os.Symlink("/", filepath.Join(root, "vm/deep/slash")))
	must(os.Symlink(outside, filepath.Join(root, "linkvm")))
	must(os.WriteFile(filepath.Join(root, "filevm"), nil, 0o644))

	must(removeDirectory(root, "vm"))
	must(removeDirectory(root, "vm")) // gone already
	must(removeDirectory(filepath.Join(base, "none"), "vm"))
	if _, err := os.Lstat(filepath.Join(root, "vm")); !os.IsNotExist(err) {
		t.Errorf("vm is still there: %v", err)
	}
	for _, name := range []string{"linkvm", "filevm"} {
		var out *OutsideError
		if err := removeDirectory(root, name); !errors.As(err, &out) {
			t.Errorf("removeDirectory(%s) = %v, want an OutsideError", name, err)
		}
	}
	for _, name := range []string{"..", ".", "", "a/b", "../outside"} {
		if err := removeDirectory(root, name); err == nil {
			t.Errorf("removeDirectory(%q) = nil, want an error", name)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "data")); err != nil {
		t.Errorf("what lies outside is gone: %v", err)
	}
}
