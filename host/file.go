package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// WriteFile replaces path's content in one rename, after the data is on the
// disk. A file that has this content and mode already is not written.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	if same, err := FileIs(path, data, mode); err != nil {
		return err
	} else if same {
		return nil
	}
	return Replace(path, mode, bytes.NewReader(data))
}

// NoMode leaves a file the mode that its file system gives: VFAT refuses others.
const NoMode os.FileMode = 0

// Replace writes path anew by one rename, after what content holds is on the
// disk. What killed processes left of an earlier try is removed.
func Replace(path string, mode os.FileMode, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder of %s: %w", path, err)
	}
	if err := replace(path, mode, content); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func replace(path string, mode os.FileMode, content io.Reader) error {
	if err := removeLeft(path); err != nil {
		return err
	}
	// The temporary file stays in the same folder: rename does not cross mounts.
	// Not renameio.WriteFile: it keeps the mode of a file that is there.
	options := []renameio.Option{renameio.WithTempDir(filepath.Dir(path))}
	if mode != NoMode {
		options = append(options, renameio.WithStaticPermissions(mode))
	}
	file, err := renameio.NewPendingFile(path, options...)
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace it does nothing
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// removeLeft removes the temporary files of path whose writers ended without
// it: a living one has a lock on its own.
func removeLeft(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	temporary := regexp.MustCompile(`^\.` + regexp.QuoteMeta(filepath.Base(path)) + `\d{15,}$`) // as renameio names them
	for _, e := range entries {
		if !e.Type().IsRegular() || !temporary.MatchString(e.Name()) {
			continue
		}
		if err := removeUnlocked(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func removeUnlocked(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // gone, or somebody else's
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // somebody writes it
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// FileIs reports whether path is a regular file with this content and mode.
func FileIs(path string, data []byte, mode os.FileMode) (bool, error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm() != mode.Perm() || info.Size() != int64(len(data)) {
		return false, nil
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	return bytes.Equal(have, data), nil
}
