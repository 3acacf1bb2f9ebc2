package vmstore

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"hvinstall/host"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// unpackLimit is the most that an archive may unpack to, holes counted; a
// larger disk_gb raises it.
const unpackLimit = 64 << 30

// The compressions that are recognised by their first bytes.
const (
	compressionNone = ""
	compressionXZ   = "xz"
	compressionGZ   = "gz"
	compressionBZ2  = "bz2"
	compressionZSTD = "zst"
	archiveZIP      = "zip"
)

// unpackers are the programs that are faster than what Go has: xz by all
// processors (a third of it in pure Go, on one), zstd about twice. They are
// used where they are installed. A later stream of an archive may ask for more
// memory than the first, so the limit is the program's own.
var unpackers = map[string][]string{
	compressionXZ:   {"xz", "-dc", "-T0", "--memlimit-decompress=256MiB"},
	compressionZSTD: {"zstd", "-dcq"},
}

// compressionOf judges by the first bytes; a name says what somebody once
// called the file.
func compressionOf(head []byte) string {
	for _, magic := range []struct{ bytes, name string }{
		{"\xfd7zXZ\x00", compressionXZ},
		{"\x1f\x8b\x08", compressionGZ},
		{"BZh", compressionBZ2},
		{"\x28\xb5\x2f\xfd", compressionZSTD},
		{"PK\x03\x04", archiveZIP},
	} {
		if bytes.HasPrefix(head, []byte(magic.bytes)) {
			return magic.name
		}
	}
	return compressionNone
}

// unpacking brings what was downloaded into the form of one image file.
type unpacking struct {
	from  *growing
	to    *os.File // written only when there is something to unpack
	limit int64
	log   func(string, ...any)
}

// run unpacks behind the download. plain is true for a file that is no archive
// and needs no unpacking: it is the image itself.
func (u unpacking) run(ctx context.Context) (plain bool, err error) {
	source := u.from.reader()
	head := make([]byte, 512)
	n, err := io.ReadFull(source, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	head = head[:n]
	source.at = 0
	compression := compressionOf(head)
	switch {
	case compression == archiveZIP:
		return false, u.zip(source)
	case compression == compressionNone && isTar(head):
		return false, u.tar(source)
	case compression == compressionNone:
		_, err := u.from.wait(1 << 62) // to the end
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return true, err
	}
	tar, err := u.holdsTar(compression)
	if err != nil {
		return false, err
	}
	if argv := unpackers[compression]; argv != nil && len(host.Missing(argv[0])) == 0 {
		return false, u.program(ctx, compression, argv, source, tar)
	}
	r, closer, err := decompressor(compression, source)
	if err != nil {
		return false, badArchive(compression, err)
	}
	defer closer()
	if tar {
		return false, u.tar(r)
	}
	return false, u.write(compression, r)
}

// holdsTar unpacks the first block, to see whether it is a tar archive's.
func (u unpacking) holdsTar(compression string) (bool, error) {
	r, closer, err := decompressor(compression, u.from.reader())
	if err != nil {
		return false, badArchive(compression, err)
	}
	defer closer()
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, badArchive(compression, err)
	}
	return isTar(head[:n]), nil
}

func decompressor(compression string, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	buffered := bufio.NewReaderSize(r, copyBuffer)
	switch compression {
	case compressionGZ:
		z, err := gzip.NewReader(buffered)
		return z, nothing, err
	case compressionBZ2:
		return bzip2.NewReader(buffered), nothing, nil
	case compressionZSTD:
		// 8 MiB is what zstd -19 needs, 128 MiB what --ultra -22 --long does.
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nothing, err
		}
		return z, z.Close, nil
	case compressionXZ:
		// xz -9 needs 64 MiB; a header may ask for 4 GiB.
		z, err := xz.NewReader(buffered, 256<<20)
		return z, nothing, err
	}
	return nil, nothing, fmt.Errorf("compression %q is not known", compression)
}

// write unpacks a compressed image.
func (u unpacking) write(compression string, r io.Reader) error {
	out := &sparseWriter{file: u.to, limit: u.limit}
	if err := pump(out, r); err != nil {
		return noRoom(u.to.Name(), badArchive(compression, err))
	}
	return out.finish()
}

// pump copies in large pieces, and stops before the pool is full.
func pump(to io.Writer, from io.Reader) error {
	buffer := make([]byte, copyBuffer)
	file, _ := to.(*sparseWriter)
	for since := 0; ; {
		n, err := readSome(from, buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			if since += n; file != nil && since > 256<<20 {
				since = 0
				if err := checkRoom(file.file.Name()); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readSome fills the buffer as far as the reader goes, and keeps its error.
func readSome(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var m int
		m, err = r.Read(buffer[n:])
		n += m
	}
	return n, err
}

// program unpacks by the reference program. A plain image it writes to the
// file itself, holes included.
func (u unpacking) program(ctx context.Context, compression string, argv []string, source *follower, tar bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := host.Cmd{Argv: argv, Stdin: source, Stdout: u.to, Log: u.log}
	if !tar {
		if compression == compressionZSTD {
			// Into a file that it did not open itself, zstd makes holes only
			// when it is told to.
			cmd.Argv = append(slices.Clone(argv), "--sparse")
		}
		done := make(chan struct{})
		defer close(done)
		go u.guard(cancel, done)
		if err := cmd.Run(ctx); err != nil {
			return u.programFailed(ctx, compression, source, err)
		}
		info, err := u.to.Stat()
		if err != nil {
			return err
		}
		if info.Size() > u.limit {
			return &BombError{u.limit}
		}
		return nil
	}
	r, w := io.Pipe()
	cmd.Stdout = w
	result := make(chan error, 1)
	go func() {
		err := cmd.Run(ctx)
		w.CloseWithError(err)
		result <- err
	}()
	err := u.tar(r)
	r.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		cancel(err)
	}
	if runErr := <-result; err == nil && runErr != nil {
		err = u.programFailed(ctx, compression, source, runErr)
	}
	return err
}

// programFailed finds the reason: ours, the download's, or the program's own
// words.
func (u unpacking) programFailed(ctx context.Context, compression string, source *follower, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if _, lost := source.g.wait(source.at); lost != nil && !errors.Is(lost, io.EOF) {
		return lost
	}
	return noRoomNow(u.to.Name(), badArchive(compression, err))
}

// guard stops a program when it has written more than it may.
func (u unpacking) guard(cancel context.CancelCauseFunc, done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if info, err := u.to.Stat(); err == nil && info.Size() > u.limit {
			cancel(&BombError{u.limit})
			return
		}
		if err := checkRoom(u.to.Name()); err != nil {
			cancel(err)
			return
		}
	}
}

// ArchiveError is a download that cannot be unpacked.
type ArchiveError struct {
	Kind string
	Err  error
}

func (e *ArchiveError) Error() string {
	why := e.Err.Error()
	if errors.Is(e.Err, io.ErrUnexpectedEOF) {
		why = "it ends before it is whole"
	}
	return fmt.Sprintf("unpacking %s: %s; compare the file with its vendor's checksum, or unpack it yourself and use a file:// URL", e.Kind, why)
}
func (e *ArchiveError) Unwrap() error { return e.Err }

// badArchive marks an error as the archive's fault, unless it is known to be
// another's.
func badArchive(kind string, err error) error {
	var bomb *BombError
	var room *NoRoomError
	if err == nil || errors.Is(err, errChanged) || errors.As(err, &bomb) || errors.As(err, &room) {
		return err
	}
	return &ArchiveError{Kind: kind, Err: err}
}
