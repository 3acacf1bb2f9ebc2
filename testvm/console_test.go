package testvm

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestExpectInPieces: what is looked for may come in pieces after a long text
// without it, and what precedes it is all of that.
func TestExpectInPieces(t *testing.T) {
	transcript, err := os.Create(t.TempDir() + "/console.log")
	if err != nil {
		t.Fatal(err)
	}
	out, guest := io.Pipe()
	c := newConsole(&bytes.Buffer{}, out, transcript, nil)
	long := strings.Repeat("unpack the system 10%\r\n", 20000)
	go func() {
		defer guest.Close()
		for _, piece := range []string{"first\n", long, "exit ", "0#", " login", ": ", "rest"} {
			_, _ = io.WriteString(guest, piece)
		}
	}()
	if _, err := c.Expect(time.Minute, `first\n`); err != nil {
		t.Fatal(err)
	}
	before, groups, err := c.Before(time.Minute, `exit (\d+)# `)
	if err != nil || before != long || groups[1] != "0" {
		t.Errorf("%d bytes before, want %d; %q, %v", len(before), len(long), groups, err)
	}
	if groups, err := c.Expect(time.Minute, `(?s)^(.*)rest`); err != nil || groups[1] != "login: " {
		t.Errorf("%q, %v", groups, err)
	}
	if _, err := c.Expect(time.Minute, `more`); err == nil {
		t.Error("the guest ended, and said more")
	}
}
