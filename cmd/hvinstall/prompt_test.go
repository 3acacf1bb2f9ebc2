package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

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
