package osimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// contentSum names what is in a file or, name by name, in the files of a
// directory; empty: there is no such path. Times are left out: Debian's own
// kernel hook runs depmod once more after ours, and a file that was restored or
// unpacked again is still the same.
func contentSum(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	files := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return "", err
		}
		files = nil
		for _, e := range entries {
			if e.Type().IsRegular() {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	h := sha256.New()
	for _, file := range files {
		if err := addFile(h, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addFile adds a file's name, size and content. The binary has 20 MB, which are
// not held in memory for it.
func addFile(h io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s\n%d\n", filepath.Base(path), info.Size())
	_, err = io.Copy(h, file)
	return err
}

// sameContent compares two files, of which most often one is the other.
func sameContent(a, b string) (bool, error) {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return false, err
	case os.SameFile(one, other):
		return true, nil
	case one.Size() != other.Size():
		return false, nil
	}
	x, err1 := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	return bytes.Equal(x, y), errors.Join(err1, err2)
}
