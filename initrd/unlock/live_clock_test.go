package unlock

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestClockFloor: the image says when it was made, a layout that was put on the
// stick later says more, and a file from the year 2107 says nothing.
func TestClockFloor(t *testing.T) {
	medium := t.TempDir()
	made := time.Unix(1764000000, 0)
	superblock := append([]byte("hsqs\x01\x00\x00\x00"), binary.LittleEndian.AppendUint32(nil, uint32(made.Unix()))...)
	write := func(name string, content []byte, at time.Time) {
		path := filepath.Join(medium, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("hvinstall/root.squashfs", superblock, time.Unix(0, 0))
	write("README.txt", nil, time.Unix(1000, 0))
	if got := imageTime(filepath.Join(medium, "hvinstall/root.squashfs")); !got.Equal(made) {
		t.Errorf("the image's time is %s, want %s", got, made)
	}
	if got := imageTime(filepath.Join(medium, "README.txt")); !got.IsZero() {
		t.Errorf("what is no image was made at %s", got)
	}
	// The folder itself was made just now, as a folder of a stick is not.
	if err := os.Chtimes(filepath.Join(medium, "hvinstall"), made, made); err != nil {
		t.Fatal(err)
	}
	if got := latest(made, medium); !got.Equal(made) {
		t.Errorf("the floor is %s, want the image's", got)
	}
	day := made.Add(30 * 24 * time.Hour)
	write("layout.yaml", nil, day)
	write("far.yaml", nil, time.Date(2107, 12, 31, 0, 0, 0, 0, time.UTC))
	if got := latest(made, medium); !got.Equal(day) {
		t.Errorf("the floor is %s, want the layout's %s", got, day)
	}
}
