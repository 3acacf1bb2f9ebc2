package host

import (
	"os"
	"path/filepath"
	"testing"
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
