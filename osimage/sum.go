package osimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// sumFile computes the sha256 of a file. A file that is looked at again, under
// another name or by another step, and has not changed since, is not read
// again: the binary alone is looked at three times.
func sumFile(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	entry, _ := sums.LoadOrStore(versionOf(info), &fileSum{})
	return entry.(*fileSum).of(ctx, file)
}

// sums holds a *fileSum for each version of a file that was asked for.
var sums sync.Map

// version is one content of a file: what is written to it changes its time.
type version struct {
	device, inode uint64
	size          int64
	changed       time.Time
}

func versionOf(info fs.FileInfo) version {
	stat := info.Sys().(*syscall.Stat_t) // what os.File.Stat gives on Linux
	return version{stat.Dev, stat.Ino, info.Size(), info.ModTime()}
}

// fileSum is computed once; who asks meanwhile waits.
type fileSum struct {
	mu    sync.Mutex
	value string
}

func (s *fileSum) of(ctx context.Context, r io.Reader) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value != "" {
		return s.value, nil
	}
	h := sha256.New()
	if err := copyContext(ctx, h, r, func(int64) {}); err != nil {
		return "", err
	}
	s.value = hex.EncodeToString(h.Sum(nil))
	return s.value, nil
}
