package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openTerminal is a terminal without anybody at it.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestCtrlCAtAQuestion(t *testing.T) {
	_, program := openTerminal(t)
	before, err := term.GetState(int(program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(errInterrupted) })
	_, err = answer(ctx, program, func() ([]byte, error) { return term.ReadPassword(int(program.Fd())) })
	if !errors.Is(err, errInterrupted) {
		t.Errorf("the error = %v, want %v", err, errInterrupted)
	}
	after, err := term.GetState(int(program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal is left as %+v, want %+v", after, before)
	}
}

func TestAnswerIsOneLine(t *testing.T) {
	person, program := openTerminal(t)
	if _, err := person.WriteString("yes\nthe passphrase\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"yes\n", "the passphrase\n"} {
		got, err := answer(t.Context(), program, func() (string, error) { return readLine(program) })
		if err != nil || got != want {
			t.Errorf("the answer = %q, %v, want %q", got, err, want)
		}
	}
}

// TestLeftOutIsAskedFor: a layout from the stick has marks where its secrets
// were; a person is asked, nothing is shown, and where nobody is, nothing runs.
func TestLeftOutIsAskedFor(t *testing.T) {
	const word = "hunter2word"
	kept, n, err := configs.Kept([]byte("hostname: a\nusers: [{name: me, password_hash: \"$6$abc$abc\"}]\n"))
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	path := filepath.Join(t.TempDir(), "layout.yaml")
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	layout, err := configs.LoadFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	f := installFlags{plan: path}
	if _, err := f.complete(t.Context(), terminal{strings.NewReader(""), &screen, &screen}, layout); err == nil || !strings.Contains(err.Error(), "password_hash of me") {
		t.Errorf("nobody is there: %v", err)
	}
	person, program := openTerminal(t)
	go func() {
		for range 2 {
			fmt.Fprintln(person, word)
		}
	}()
	full, err := f.complete(t.Context(), terminal{program, &screen, &screen}, layout)
	if err != nil {
		t.Fatal(err)
	}
	hash := full.Users[0].PasswordHash
	salt := strings.Split(hash, "$")
	if len(salt) != 4 || salt[1] != "6" {
		t.Fatalf("the hash is %q", hash)
	}
	out, err := exec.Command("openssl", "passwd", "-6", "-salt", salt[2], word).Output()
	if err != nil || strings.TrimSpace(string(out)) != hash {
		t.Errorf("the hash %q is of another word than %s: %v", hash, out, err)
	}
	if strings.Contains(screen.String(), word) || strings.Contains(screen.String(), hash) {
		t.Errorf("it is shown:\n%s", screen.String())
	}
	f.dryRun = true
	if same, err := f.complete(t.Context(), terminal{strings.NewReader(""), &screen, &screen}, layout); err != nil || same != layout {
		t.Errorf("a dry run: %v", err)
	}
	public, err := configs.Load("p", configs.Public([]byte("hostname: a\n")))
	if err != nil {
		t.Fatal(err)
	}
	f.dryRun = false
	if _, err := f.complete(t.Context(), terminal{program, &screen, &screen}, public); err == nil {
		t.Error("the public copy is run")
	}
}
