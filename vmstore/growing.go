package vmstore

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// growing is a file that is being downloaded, read by others from its start
// while it grows: decompression and hashing run behind the download, at their
// own speed, without a second pass.
type growing struct {
	file *os.File
	mu   sync.Mutex
	more sync.Cond
	have int64
	over bool
	err  error // why it will not grow further, when that is not its end
}

func newGrowing(file *os.File, have int64) *growing {
	g := &growing{file: file, have: have}
	g.more.L = &g.mu
	return g
}

func (g *growing) size() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.have
}

// append adds to the end. Only one goroutine appends.
func (g *growing) append(p []byte) error {
	if _, err := g.file.WriteAt(p, g.size()); err != nil {
		return err
	}
	g.mu.Lock()
	g.have += int64(len(p))
	g.mu.Unlock()
	g.more.Broadcast()
	return nil
}

// end says that the file is whole, or why it never will be. The first word
// counts.
func (g *growing) end(err error) {
	g.mu.Lock()
	if !g.over {
		g.over, g.err = true, err
	}
	g.mu.Unlock()
	g.more.Broadcast()
}

// wait blocks until there is something beyond at, and says how much there is.
func (g *growing) wait(at int64) (have int64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.have <= at && !g.over {
		g.more.Wait()
	}
	if g.over && g.err != nil {
		return 0, g.err
	}
	if g.have <= at {
		return g.have, io.EOF
	}
	return g.have, nil
}

// reader reads from the start.
func (g *growing) reader() *follower { return &follower{g: g} }

// follower is a place in a growing file.
type follower struct {
	g  *growing
	at int64
}

func (f *follower) Read(p []byte) (int, error) {
	have, err := f.g.wait(f.at)
	if err != nil {
		return 0, err
	}
	if left := have - f.at; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := f.g.file.ReadAt(p, f.at)
	f.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// WriteTo feeds a program's pipe without copying through this process, which
// on two cores is what keeps xz at its own speed.
func (f *follower) WriteTo(w io.Writer) (int64, error) {
	started := f.at
	pipe, ok := w.(*os.File)
	if !ok {
		n, err := io.CopyBuffer(w, struct{ io.Reader }{f}, make([]byte, copyBuffer))
		return n, err
	}
	// A larger pipe means fewer turns between xz and us; the default serves too.
	_, _ = unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, copyBuffer)
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	for {
		have, err := f.g.wait(f.at)
		if errors.Is(err, io.EOF) {
			return f.at - started, nil
		}
		if err != nil {
			return f.at - started, err
		}
		var moveErr error
		err = raw.Write(func(fd uintptr) bool {
			var n int64
			n, moveErr = unix.Splice(int(f.g.file.Fd()), &f.at, int(fd), nil, int(min(have-f.at, copyBuffer)), unix.SPLICE_F_NONBLOCK)
			if errors.Is(moveErr, unix.EAGAIN) || errors.Is(moveErr, unix.EINTR) {
				moveErr = nil
				return false
			}
			if moveErr == nil && n == 0 {
				moveErr = io.ErrUnexpectedEOF
			}
			return true
		})
		if err = errors.Join(moveErr, err); err != nil {
			return f.at - started, err
		}
	}
}
