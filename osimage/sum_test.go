package osimage

import (
	"os"
	"path/filepath"
	"testing"
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
	// CRC-32C of "123456789" is e3069283.
	if err := os.WriteFile(path, []byte("123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := fingerprint(t.Context(), path); err != nil || got != "9-e3069283" {
		t.Errorf("fingerprint = %q, %v, want 9-e3069283", got, err)
	}
}
