package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"hvinstall/host"
	"hvinstall/initrd"
	"hvinstall/install"
	"hvinstall/osimage"

	"github.com/spf13/pflag"
)

// runKernel is what the host's kernel hooks call.
func runKernel(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("kernel add|remove VERSION", pflag.ContinueOnError)
	root := flags.String("root", "/", "the host's file tree")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if flags.NArg() < 2 {
		return usageError(t, "kernel needs add or remove, and a version such as 6.1.0-56-amd64")
	}
	action, version := flags.Arg(0), flags.Arg(1)
	boot, err := bootOf(t, *root)
	if err == nil {
		switch action {
		case "add":
			err = boot.AddKernel(ctx, version, plainReporter{t})
		case "remove":
			err = boot.RemoveKernel(version, plainReporter{t})
		default:
			return usageError(t, "kernel %s: say add or remove", action)
		}
	}
	if err != nil {
		t.complain(fmt.Errorf("kernel %s: %w", version, err))
		return exitFailed
	}
	return exitDone
}

func bootOf(t terminal, root string) (osimage.Boot, error) {
	settings, err := osimage.ReadBootSettings(root)
	if err != nil {
		return osimage.Boot{}, err
	}
	return osimage.Boot{BootSettings: settings, Root: root, KeyDigest: install.KeyDigest, Initrd: func(ctx context.Context, root, version, output string) error {
		// The hook must work while the package manager replaces this binary.
		binary := root + osimage.BinaryPath
		if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
			binary = "/proc/self/exe"
		}
		image, err := buildInitrd(ctx, t, initrd.Options{Root: root, Kernel: version, Binary: binary}, false, "")
		if err != nil {
			return err
		}
		return host.WriteFile(output, image.Data, 0o600)
	}}, nil
}

// plainReporter prints a step's news as lines.
type plainReporter struct{ t terminal }

func (plainReporter) Progress(int64, int64, string) {}

func (p plainReporter) Log(format string, args ...any) {
	fmt.Fprintf(p.t.out, "hvinstall: %s\n", showable(fmt.Sprintf(format, args...)))
}

func (p plainReporter) Warn(format string, args ...any) {
	p.t.complain(fmt.Errorf("warning: "+format, args...))
}
