package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"

	"golang.org/x/term"
)

// handOver boots the machine of an earlier demo and connects its console to
// this terminal, until Ctrl-A X or until it powers off.
func handOver(ctx context.Context, dir string) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("this needs a terminal")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := reopen(ctx, dir)
	if err != nil {
		return err
	}
	m.Mirror = os.Stdout
	fmt.Printf("Booting. Log in as %s, password %s. Ctrl-A X pulls the plug.\r\n", spechost.User, spechost.Password)
	vm, err := testvm.Start(ctx, m.Config(12*time.Hour, m.All()...), m.LogFolder())
	if err != nil {
		return err
	}
	defer vm.Close()
	before, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(os.Stdin.Fd()), before) //nolint:errcheck // the process ends next
	pulled := make(chan struct{})
	go func() {
		defer close(pulled)
		key, escaped := make([]byte, 1), false
		for {
			if _, err := os.Stdin.Read(key); err != nil {
				return
			}
			switch {
			case escaped && (key[0] == 'x' || key[0] == 'X'):
				return
			case !escaped && key[0] == 1: // Ctrl-A
				escaped = true
				continue
			}
			escaped = false
			if vm.Send(string(key)) != nil {
				return
			}
		}
	}()
	select {
	case <-pulled:
	case <-vm.Ended():
	case <-ctx.Done():
	}
	return nil
}
