package host

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

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
	if have, err := fs.Glob(os.DirFS(dir), "*"); err != nil || !slices.Equal(have, want) {
		t.Errorf("the folder has %v, %v; want %v", have, err, want)
	}
}

// While a file is written, another writer of it does not take it away.
func TestReplaceTwiceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := readerFunc(func(p []byte) (int, error) {
		if err := WriteFile(path, []byte("inner"), 0o644); err != nil {
			return 0, err
		}
		return copy(p, "outer"), io.EOF
	})
	if err := Replace(path, 0o644, content); err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != "outer" {
		t.Errorf("the file has %q, %v; want the last writer's", have, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left")
	err := Replace(path, 0o644, iotest.ErrReader(full))
	if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
		t.Errorf("Replace = %v, want the reason and the path", err)
	}
	if have, err := fs.Glob(os.DirFS(dir), "*"); err != nil || !slices.Equal(have, []string{"file"}) {
		t.Errorf("the folder has %v, %v; want the old file alone", have, err)
	}
}
