package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWaitInFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not-yet")
	link := filepath.Join(dir, "link")
	there := func() bool { _, err := os.Lstat(link); return err == nil }
	done := make(chan error, 1)
	go func() { done <- WaitInFolder(t.Context(), dir, there) }()
	for { // the folder is made by the one who waits
		if _, err := os.Stat(dir); err == nil {
			break
		}
		<-time.After(time.Millisecond)
	}
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, late)
	defer cancel()
	if err := WaitInFolder(ctx, dir, func() bool { return false }); !errors.Is(err, late) {
		t.Errorf("= %v, want the cause of the context's end", err)
	}
}
