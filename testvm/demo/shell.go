package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"
)

// handOver boots the machine of an earlier demo and connects its console to
// this terminal, until Ctrl-A X or until it powers off.
func handOver(ctx context.Context, dir, _ string) error {
	if _, err := os.Stat(filepath.Join(dir, "os.img")); err != nil {
		return fmt.Errorf("%w; run make demo first", err)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("this needs a terminal")
	}
	m := &machine{dir: dir, mirror: os.Stdout}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	port, err := serve(ctx, filepath.Join(dir, "images"))
	if err != nil {
		return err
	}
	m.forward = []string{fmt.Sprintf("guestfwd=tcp:192.168.1.100:80-cmd:busybox nc 127.0.0.1 %d", port)}
	fmt.Printf("Booting. Log in as %s, password %s. Ctrl-A X pulls the plug.\r\n", user, password)
	vm, err := m.boot(ctx, 12*time.Hour, false)
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
