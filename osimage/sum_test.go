package osimage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSameContent(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, same, other, longer := write("a", "one"), write("same", "one"), write("other", "two"), write("longer", "one and more")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(a, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{a: true, link: true, same: true, other: false, longer: false} {
		if got, err := sameContent(a, path); err != nil || got != want {
			t.Errorf("sameContent(a, %s) = %v, %v, want %v", filepath.Base(path), got, err, want)
		}
	}
	if _, err := sameContent(a, filepath.Join(dir, "none")); err == nil {
		t.Errorf("sameContent with a file that is not there: %v, want an error", err)
	}
}

func TestContentSum(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "modules.dep")
	sumAfter := func(path string, changes ...error) string {
		t.Helper()
		got, err := contentSum(path)
		if err := errors.Join(append(changes, err)...); err != nil {
			t.Fatal(err)
		}
		return got
	}
	made := sumAfter(file, os.WriteFile(file, []byte("a.ko:"), 0o600))
	later := time.Now().Add(time.Hour)
	if got := sumAfter(file, os.Chtimes(file, later, later)); got != made {
		t.Error("the sum changes with the time")
	}
	if got := sumAfter(file, os.WriteFile(file, []byte("b.ko:"), 0o600), os.Chtimes(file, later, later)); got == made {
		t.Error("another content of the same size and time has the same sum")
	}
	folder := sumAfter(dir)
	if got := sumAfter(dir, os.Rename(file, file+"2")); got == folder {
		t.Error("a file renamed leaves its folder's sum as it was")
	}
	if got := sumAfter(dir, os.WriteFile(filepath.Join(dir, "microcode_amd.bin"), nil, 0o600)); got == folder {
		t.Error("one file more leaves its folder's sum as it was")
	}
	if got := sumAfter(filepath.Join(dir, "none")); got != "" {
		t.Errorf("of nothing: %q, want empty", got)
	}
}
