package host

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHostileLock: a lock that others may open they may hold, and a link in its
// place is not followed.
func TestHostileLock(t *testing.T) {
	before := unix.Umask(0)
	defer unix.Umask(before)
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o666); err != nil { // as an earlier version made it, and worse
		t.Fatal(err)
	}
	lock, err := AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release() //nolint:errcheck // the test ends
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock: %v, %v", info, err)
	}
	victim, link := filepath.Join(t.TempDir(), "victim"), filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(victim, []byte("root's own"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if _, err := AcquireLock(link); err == nil {
		t.Error("a link is followed")
	}
	// A file is replaced, and what a link in its place leads to is not touched.
	if err := WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Error(err)
	}
	if have, err := os.ReadFile(victim); err != nil || string(have) != "root's own" {
		t.Errorf("the file behind the link is %q, %v", have, err)
	}
}
