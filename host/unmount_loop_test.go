//go:build loop

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Steps that run side by side find the same mounts of a killed process: each is
// ended once, and nobody fails.
func TestOwnMountDirSideBySide(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "btrfs-root-")
	for i := range 20 {
		left := fmt.Sprintf("%s1-%d", prefix, i) // as if PID 1 had made it
		if err := os.Mkdir(left, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := MountFS("none", left, "tmpfs"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := os.Stat(left); err == nil {
				_ = UnmountOwn(left)
			}
		})
	}
	var steps sync.WaitGroup
	for range 16 {
		steps.Go(func() {
			if _, err := OwnMountDir(prefix); err != nil {
				t.Error(err)
			}
		})
	}
	steps.Wait()
	mounts, err := Mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, prefix) {
			t.Errorf("%s is still mounted", m.Target)
		}
	}
}
