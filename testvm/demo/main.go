// Command demo shows the whole of hvinstall in one go, in a QEMU machine: from
// blank disks to a running VM. 'make demo' builds what it needs and runs it.
//
// It writes below the folder that it is given, starts one guest at a time,
// serves images on loopback only, and has a time limit for everything.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
	"hvinstall/testvm/tour"

	"github.com/spf13/pflag"
)

func main() {
	dir := pflag.String("dir", filepath.Join(testvm.Root(), "build/demo"), "where the machine's files are kept")
	live := pflag.String("live", spechost.LiveImage(), "the live stick's image")
	shell := pflag.Bool("shell", false, "boot the machine of an earlier demo and hand over its console")
	bench := pflag.Bool("bench-status", false, "time status on the host of an earlier demo")
	pflag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *shell:
		err = handOver(ctx, *dir)
	case *bench:
		err = benchStatus(ctx, *dir)
	default:
		err = demo(ctx, *dir, *live)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\x1b[0m\n\ndemo: %v\n\nThe guest's console and QEMU's words are in %s\n", err, filepath.Join(*dir, "logs"))
		os.Exit(1)
	}
}

// demo is the whole way.
func demo(ctx context.Context, dir, live string) error {
	m, err := spechost.New(dir)
	if err != nil {
		return err
	}
	s, err := tour.NewShow(os.Stdout, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.Heading("Make an appliance image and an ISO, and serve them on loopback")
	if err := serveImages(ctx, m); err != nil {
		return err
	}
	if err := m.WriteLive(ctx, live, "", map[string]string{"layout.yaml": spechost.Layout + spechost.VMs}); err != nil {
		return err
	}
	if err := tour.Run(ctx, m, s); err != nil {
		return err
	}
	s.Heading("Done")
	s.Say("%s", s.Times())
	s.Say("The host's disks, its console's log, this recording (demo.cast, for asciinema) and pictures of")
	s.Say("its screen are in %s.", dir)
	s.Say("Look around on it by: make demo-shell   (log in as %s, password %s; Ctrl-A X ends it)", spechost.User, spechost.Password)
	return nil
}

// reopen is the machine of an earlier demo, its images served until ctx ends.
func reopen(ctx context.Context, dir string) (*spechost.Machine, error) {
	if _, err := os.Stat(filepath.Join(dir, "os.img")); err != nil {
		return nil, fmt.Errorf("%w; run make demo first", err)
	}
	m := spechost.Open(dir)
	return m, serveImages(ctx, m)
}

// serveImages serves what the layout's VMs are made from, until ctx ends.
func serveImages(ctx context.Context, m *spechost.Machine) error {
	folder := filepath.Join(m.Dir, "images")
	if err := spechost.Images(ctx, folder); err != nil {
		return err
	}
	server, err := spechost.Serve(ctx, folder)
	if err != nil {
		return err
	}
	m.Forward = []string{server.Forward()}
	return nil
}
