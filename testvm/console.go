package testvm

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Console is the machine's serial console.
type Console struct {
	in   io.Writer
	done chan struct{}

	mu      sync.Mutex
	text    []byte        // everything said so far
	seen    int           // what Expect has consumed of it
	changed chan struct{} // closed and replaced when text grows
	over    bool
}

func newConsole(in io.Writer, out io.Reader, transcript *os.File, mirror io.Writer) *Console {
	c := &Console{in: in, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer transcript.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := out.Read(buf)
			// A transcript that cannot be written loses nothing that a test reads.
			_, _ = transcript.Write(buf[:n])
			if mirror != nil {
				_, _ = mirror.Write(buf[:n])
			}
			c.mu.Lock()
			c.text = append(c.text, buf[:n]...)
			c.over = err != nil
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *Console) wait() { <-c.done }

// Send types a string.
func (c *Console) Send(s string) error {
	if _, err := io.WriteString(c.in, s); err != nil {
		return fmt.Errorf("typing %q at the console: %w", s, err)
	}
	return nil
}

// Expect waits until what the guest says matches the regular expression, and
// returns the submatches. What precedes the match is consumed with it.
func (c *Console) Expect(timeout time.Duration, expression string) ([]string, error) {
	_, groups, err := c.Before(timeout, expression)
	return groups, err
}

// longest is more bytes than anything has that an expression without (?s)
// matches.
const longest = 64 << 10

// Before is Expect that returns what precedes the match as well.
func (c *Console) Before(timeout time.Duration, expression string) (before string, groups []string, err error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return "", nil, err
	}
	late := time.After(timeout)
	tooLate := func() error {
		return fmt.Errorf("the guest did not say %q within %v; its last lines:\n%s", expression, timeout, c.Tail(20))
	}
	whole := strings.HasPrefix(expression, "(?s)")
	searched := 0 // how much of the text has no match
	for {
		began := time.Now()
		c.mu.Lock()
		from := c.seen
		if !whole {
			from = max(from, searched-longest)
		}
		rest := c.text[from:]
		if found := re.FindSubmatchIndex(rest); found != nil {
			before = string(c.text[c.seen : from+found[0]])
			for i := 0; i < len(found); i += 2 {
				if found[i] < 0 {
					groups = append(groups, "")
					continue
				}
				groups = append(groups, string(rest[found[i]:found[i+1]]))
			}
			c.seen = from + found[1]
			c.mu.Unlock()
			return before, groups, nil
		}
		searched = len(c.text)
		changed, over := c.changed, c.over
		c.mu.Unlock()
		if over {
			return "", nil, fmt.Errorf("the guest ended without saying %q; its last lines:\n%s", expression, c.Tail(20))
		}
		// A text is read anew for every few bytes that come: that takes a twentieth
		// of the time at most, which the guests need for themselves.
		pause := time.After(min(20*time.Since(began), 5*time.Second))
		select {
		case <-changed:
		case <-late:
			return "", nil, tooLate()
		}
		select {
		case <-pause:
		case <-late:
			return "", nil, tooLate()
		}
	}
}

// Transcript is everything that the guest said.
func (c *Console) Transcript() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// Tail is the last lines that the guest said.
func (c *Console) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(strings.ReplaceAll(c.Transcript(), "\r", ""), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func lockThread() { runtime.LockOSThread() }
