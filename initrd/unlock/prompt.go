package unlock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxPassphrase is cryptsetup's own limit for passphrases typed at a terminal.
const maxPassphrase = 512

// prompter asks for one line on every console at once, without echo.
type prompter struct {
	con     *consoles
	answers chan []byte   // a line, without its end; the receiver wipes it
	typing  chan struct{} // something was typed; holds one
	done    chan struct{}
	wait    sync.WaitGroup

	mu   sync.Mutex
	deaf bool // what is typed is dropped
}

// ask starts to listen on every console.
func (c *consoles) ask(prompt string) *prompter {
	p := &prompter{con: c, answers: make(chan []byte), typing: make(chan struct{}, 1), done: make(chan struct{})}
	for _, t := range c.ttys {
		if err := t.silence(); err != nil {
			c.debug("console %s: %v", t.name, err)
		}
		p.wait.Go(guarded(c, func() { p.listen(t) }))
	}
	c.setPrompt(prompt)
	return p
}

// listen reads one console. An error ends it: the port has no device behind.
func (p *prompter) listen(t *tty) {
	var entry line
	defer entry.wipe()
	var buf [64]byte
	for {
		n, err := t.file.Read(buf[:])
		if err != nil {
			return
		}
		for i := range buf[:n] {
			p.mu.Lock()
			deaf := p.deaf
			p.mu.Unlock()
			if deaf {
				entry.wipe()
				continue
			}
			select {
			case p.typing <- struct{}{}:
			default:
			}
			if !entry.key(buf[i]) {
				continue
			}
			answer := append(make([]byte, 0, maxPassphrase), entry.text()...)
			entry.wipe()
			select {
			case p.answers <- answer:
			case <-p.done:
				clear(answer)
				return
			}
		}
		clear(buf[:])
	}
}

// setDeaf drops what is typed from now on, or no longer.
func (p *prompter) setDeaf(deaf bool) {
	p.mu.Lock()
	p.deaf = deaf
	p.mu.Unlock()
}

// end stops listening and gives the consoles back.
func (p *prompter) end() {
	close(p.done)
	for _, t := range p.con.ttys {
		_ = t.file.SetReadDeadline(time.Unix(1, 0))
	}
	p.wait.Wait()
	for _, t := range p.con.ttys {
		_ = t.file.SetReadDeadline(time.Time{})
		t.restore()
	}
	p.con.setPrompt("")
}

// line is what was typed so far. It is edited by backspace and Ctrl-U.
type line struct {
	buf [maxPassphrase]byte
	n   int
}

// key takes one byte, and says whether the line is complete.
func (l *line) key(b byte) bool {
	switch b {
	case '\r', '\n':
		return true
	case 0x7f, '\b':
		for l.n > 0 {
			l.n--
			last := l.buf[l.n]
			l.buf[l.n] = 0
			if last&0xc0 != 0x80 { // not the continuation of a UTF-8 letter
				break
			}
		}
	case 'U' - '@', 'C' - '@':
		l.wipe()
	default:
		if l.n < len(l.buf) {
			l.buf[l.n] = b
			l.n++
		}
	}
	return false
}

func (l *line) text() []byte { return l.buf[:l.n] }

func (l *line) wipe() {
	clear(l.buf[:])
	l.n = 0
}

// silence switches a console's echo and line editing off.
func (t *tty) silence() error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var terr error
	err = raw.Control(func(fd uintptr) {
		var old *unix.Termios
		if old, terr = unix.IoctlGetTermios(int(fd), unix.TCGETS); terr != nil {
			return
		}
		silent := *old
		silent.Lflag &^= unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		silent.Iflag &^= unix.ICRNL | unix.IXON
		silent.Cc[unix.VMIN], silent.Cc[unix.VTIME] = 1, 0
		if terr = unix.IoctlSetTermios(int(fd), unix.TCSETSF, &silent); terr == nil {
			t.old = old
		}
	})
	if err != nil {
		return err
	}
	return terr
}

func (t *tty) restore() {
	if t.old == nil {
		return
	}
	if raw, err := t.file.SyscallConn(); err == nil {
		// TCSETSF drops what was typed ahead: a passphrase must not end up as a
		// login's user name.
		_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetTermios(int(fd), unix.TCSETSF, t.old) })
	}
	t.old = nil
}
