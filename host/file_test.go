package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file that is there with another mode gets the one asked for.
func TestWriteFileSetsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "file")
	for _, mode := range []os.FileMode{0o755, 0o600, 0o644, 0o400} {
		if err := WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Fatalf("mode = %v, %v; want %v", info.Mode(), err, mode)
		}
	}
}

// What a killed writer left goes; a living one's, and what others call by
// similar names, stay.
func TestWriteFileRemovesWhatWasLeft(t *testing.T) {
	dir := t.TempDir()
	const left, living = ".domain.xml4940416017884115627", ".domain.xml8940416017884115627"
	others := []string{".domain.xml1", ".domain.xml.4940416017884115627", ".domainXxml4940416017884115627", "domain.xml4940416017884115627"}
	for _, name := range append(slices.Clone(others), left, living) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.Open(filepath.Join(dir, living))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := unix.Flock(int(writer.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "domain.xml"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := append(others, living, "domain.xml")
	slices.Sort(want)
	if have := names(t, dir); !slices.Equal(have, want) {
		t.Errorf("the folder has %v, want %v", have, want)
	}
}

// While a file is written, another writer of it does not take it away.
func TestReplaceTwiceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	err := Replace(path, 0o644, func(w io.Writer) error {
		if err := WriteFile(path, []byte("inner"), 0o644); err != nil {
			return err
		}
		_, err := io.WriteString(w, "outer")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != "outer" {
		t.Errorf("the file has %q, %v; want the last writer's", have, err)
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left")
	err := Replace(path, 0o644, func(io.Writer) error { return full })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
		t.Errorf("Replace = %v, want the reason and the path", err)
	}
	if have := names(t, dir); !slices.Equal(have, []string{"file"}) {
		t.Errorf("the folder has %v, want the old file alone", have)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	return have
}

func TestIsLeft(t *testing.T) {
	const prefix, own = "/run/hvinstall/btrfs-vm-", 7
	for folder, want := range map[string]bool{
		"/run/hvinstall/btrfs-vm-2266-463627061":   true,
		"/run/hvinstall/btrfs-vm-7-463627061":      false, // our own
		"/run/hvinstall/btrfs-vm-77-463627061":     true,
		"/run/hvinstall/btrfs-vm-2-7-463627061":    false, // of a pool called vm-2
		"/run/hvinstall/btrfs-vm-2266-463627061/x": false,
		"/run/hvinstall/btrfs-vm-2266-":            false,
		"/run/hvinstall/btrfs-vm":                  false,
		"/mnt/btrfs-vm-2266-463627061":             false,
	} {
		if have := isLeft(folder, prefix, own); have != want {
			t.Errorf("isLeft(%s) = %v, want %v", folder, have, want)
		}
	}
}
