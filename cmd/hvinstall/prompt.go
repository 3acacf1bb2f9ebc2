package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// answer is what read gets from a person at the terminal. A read cannot be
// taken back: at Ctrl-C it is left behind, and the terminal is put as it was,
// because what follows is the end of the process.
func answer[T any](ctx context.Context, input *os.File, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	before, err := term.GetState(int(input.Fd()))
	if err != nil {
		return none, fmt.Errorf("asking at the terminal: %w", err)
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		_ = term.Restore(int(input.Fd()), before) // there is nothing else to do about it
		return none, context.Cause(ctx)
	}
}

// readLine reads one line and nothing beyond it: what follows is the
// passphrase.
func readLine(r io.Reader) (string, error) {
	return bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
}
