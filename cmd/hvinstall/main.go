// Command hvinstall turns a bare machine into a KVM hypervisor from one file,
// and keeps it so.
//
// This package is the only place that prints or asks; everything below it
// returns values or reports events.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"hvinstall/configs"
	"hvinstall/initrd/unlock"
	"hvinstall/install"
	"hvinstall/step"
	"hvinstall/vmstore"

	"github.com/spf13/pflag"
)

// Exit codes are API: they are in --help, in the README and tested.
const (
	exitDone     = 0 // done, or nothing to do
	exitFailed   = 1 // something went wrong
	exitUsage    = 2 // wrong usage, or an invalid layout
	exitRefused  = 3 // refused for safety
	exitDiffers  = 4 // --exit-code: differences found
	exitCanceled = 130
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// complain says what is wrong, in a line of its own.
func (t terminal) complain(what any) {
	fmt.Fprintf(t.err, "hvinstall: %s\n", showable(fmt.Sprint(what)))
}

// showable is a text from outside as a terminal, a console or a log may get it:
// printable, and with the public part of each address. With a layout at hand its
// own redactor comes before.
func showable(text string) string { return step.Printable(configs.PublicText(text)) }

// command is one row of the table of subcommands.
type command struct {
	name    string
	summary string // empty: called by hvinstall itself, and not in the help
	run     func(ctx context.Context, t terminal, args []string) int
}

// commands is the table; the installer itself, --plan, is what runs without a
// subcommand.
func commands() []command {
	return []command{
		{"discover", "this machine's disks, NICs and USB sticks; --layout writes a first layout", runDiscover},
		{"status", "the whole host against its layout, and its health", runStatus},
		{"report", "write what a report of a bug needs, without secrets and serial numbers, to one file", runReport},
		{"check", "validate a layout without looking at the machine", runCheck},
		{"kernel", "", runKernel},
		{"live", "greet in the live system, or install unattended", runLive},
		{"initrd", "build an initramfs that unlocks this host, or the live medium's", runInitrd},
		{vmstore.UndeleteCommand, "bring back a VM that is absent and whose purge_after has not passed", runUndelete},
		{"nixos", "write this host's NixOS modules into a flake", runNixos},
		{"schema", "print the JSON Schema of layout.yaml, for editors", runSchema},
		{"version", "print the version", runVersion},
		{install.GuardCommand, "", runGuard},
		{vmstore.StartCommand, "", runStartVMs},
	}
}

func main() {
	if unlock.IsInit() {
		unlock.Main()
	}
	// Most commands live for a moment: collecting garbage less often makes a
	// large layout's preview a third faster.
	debug.SetGCPercent(400)
	// The first Ctrl-C lets the running step finish or roll back; a second one
	// ends the process at once.
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(errInterrupted)
		signal.Stop(signals)
	}()
	os.Exit(run(ctx, terminal{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, t terminal, args []string) int {
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name == args[0] {
				return c.run(ctx, t, args[1:])
			}
		}
	}
	return runInstall(ctx, t, args)
}

// usageError prints what is wrong and how to get help.
func usageError(t terminal, format string, args ...any) int {
	fmt.Fprintf(t.err, "hvinstall: %s\n\nRun 'hvinstall --help' for the commands and flags.\n", showable(fmt.Sprintf(format, args...)))
	return exitUsage
}

// parse reads flags; done is true when the command is over, with its code.
func parse(t terminal, flags *pflag.FlagSet, args []string) (code int, done bool) {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		writeUsage(t.out, flags)
		return exitDone, true
	case err != nil:
		return usageError(t, "%v", err), true
	}
	return exitDone, false
}
