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

func TestFingerprint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vmlinuz")
	written := time.Unix(1700000000, 5)
	seen := map[string]string{}
	for name, change := range map[string]func() error{
		"as made":                 func() error { return nil },
		"other size":              func() error { return os.WriteFile(path, []byte("1234567890"), 0o600) },
		"same size, a tick later": func() error { return os.Chtimes(path, written, written.Add(time.Nanosecond)) },
	} {
		if err := errors.Join(os.WriteFile(path, []byte("123456789"), 0o600), os.Chtimes(path, written, written), change()); err != nil {
			t.Fatal(err)
		}
		got, err := fingerprint(path)
		if err != nil || seen[got] != "" {
			t.Errorf("%s: fingerprint = %q, %v, as %q", name, got, err, seen[got])
		}
		seen[got] = name
	}
	if got, err := fingerprint(path + ".none"); err == nil {
		t.Errorf("of no file: %q, want an error", got)
	}
}
