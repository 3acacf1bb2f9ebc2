package osimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
)

// sumFile computes the sha256 of a file: of an image that somebody else made.
func sumFile(ctx context.Context, path string) (string, error) {
	h := sha256.New()
	if _, err := hashFile(ctx, h, path); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// fingerprint tells whether a file of this host's is still the one that it was.
// It guards against nobody, and is looked at by every status: so it is a CRC,
// which processors compute as fast as they read, and the size.
func fingerprint(ctx context.Context, path string) (string, error) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err := hashFile(ctx, h, path)
	return fmt.Sprintf("%d-%08x", size, h.Sum32()), err
}

func hashFile(ctx context.Context, h hash.Hash, path string) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	err = copyContext(ctx, h, file, func(n int64) { size = n })
	return size, err
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
