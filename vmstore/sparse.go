package vmstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// sparseBlock is the grain of holes: the cluster of a qcow2 file and a
	// multiple of every file system's block.
	sparseBlock = 64 << 10
	copyBuffer  = 1 << 20
)

// sparseWriter writes a file in order and leaves holes where the data is zero.
type sparseWriter struct {
	file  *os.File
	at    int64
	limit int64 // 0: none
	hole  bool  // the file ends in a hole that finish must give its length
}

// BombError is an archive that unpacks to more than it may.
type BombError struct{ Limit int64 }

func (e *BombError) Error() string {
	return fmt.Sprintf("it unpacks to more than %d GiB; unpack it yourself and use a file:// URL if that is right", e.Limit>>30)
}

var zeroes = make([]byte, sparseBlock)

func (w *sparseWriter) Write(p []byte) (int, error) {
	if w.limit > 0 && w.at+int64(len(p)) > w.limit {
		return 0, &BombError{w.limit}
	}
	written := 0
	for written < len(p) {
		// Blocks are aligned in the file, whatever the sizes of the writes.
		n := min(int(sparseBlock-w.at%sparseBlock), len(p)-written)
		zero := bytes.Equal(p[written:written+n], zeroes[:n])
		// A run of blocks of one kind is written at once.
		for written+n < len(p) {
			m := min(sparseBlock, len(p)-written-n)
			if bytes.Equal(p[written+n:written+n+m], zeroes[:m]) != zero {
				break
			}
			n += m
		}
		if !zero {
			if _, err := w.file.WriteAt(p[written:written+n], w.at); err != nil {
				return written, err
			}
		}
		w.hole = zero
		w.at += int64(n)
		written += n
	}
	return written, nil
}

// finish gives a file that ends in a hole its length.
func (w *sparseWriter) finish() error {
	if w.hole {
		return w.file.Truncate(w.at)
	}
	return nil
}

// copyFile copies a file's content without its holes; on btrfs and XFS it
// shares the data and takes no time.
func copyFile(to, from *os.File) error {
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err == nil {
		return nil
	}
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(info.Size()); err != nil {
		return err
	}
	buffer := make([]byte, copyBuffer)
	for at := int64(0); at < info.Size(); {
		data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // holes to the end
		}
		if err != nil {
			return fmt.Errorf("finding the data of %s: %w", from.Name(), err)
		}
		end, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("finding the holes of %s: %w", from.Name(), err)
		}
		w := io.NewOffsetWriter(to, data)
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(from, data, end-data), buffer); err != nil {
			return err
		}
		at = end
	}
	return nil
}
