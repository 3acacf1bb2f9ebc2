package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/install"
	"hvinstall/osimage"

	"github.com/spf13/pflag"
)

// installFlags are those of the installer itself: hvinstall --plan.
type installFlags struct {
	plan, vms      string
	facts          string
	dryRun         bool
	json           bool
	exitCode       bool
	yes            bool
	confirm        string
	erase          []string
	only           []string
	passphraseFile string
	passphraseFD   int
	keymap         string // the layout's, for whoever types a passphrase
	netTimeout     time.Duration
	restart        bool
	all            bool
	help, version  bool
	leftOut        []configs.LeftOut // of the layout as it was read
}

func (f *installFlags) set() *pflag.FlagSet {
	s := pflag.NewFlagSet("hvinstall", pflag.ContinueOnError)
	s.SortFlags = false
	s.StringVar(&f.plan, "plan", "", "the layout `FILE`: layout.yaml")
	s.StringVar(&f.vms, "vms", "", "take the libvirt_* keys from this `FILE` instead, such as an Ansible vars file")
	s.BoolVar(&f.dryRun, "dry-run", false, "look and show only; nothing is written")
	s.StringVar(&f.facts, "facts", "", "with --dry-run: against a machine captured by 'discover --json' in this `FILE`")
	s.BoolVar(&f.json, "json", false, "the plan, or one event on a line, as JSON")
	s.BoolVar(&f.exitCode, "exit-code", false, "with --dry-run: exit 4 when there is something to do")
	s.StringVar(&f.confirm, "confirm", "", "consent to exactly the plan with this `DIGEST`, without asking")
	s.BoolVar(&f.yes, "yes", false, "consent, without asking, to a plan that erases and deletes nothing that holds data")
	s.StringArrayVar(&f.erase, "erase", nil, "`BY-ID` name of a disk of the layout that may be erased although it holds data; once for each disk")
	s.StringSliceVar(&f.only, "only", nil, "do only these `PARTS`: disks, os, net, vms")
	s.StringVar(&f.passphraseFile, "passphrase-file", "", "read the LUKS passphrase from this `FILE` (without its last newline)")
	s.IntVar(&f.passphraseFD, "passphrase-fd", -1, "read the LUKS passphrase from this open file `DESCRIPTOR`")
	s.DurationVar(&f.netTimeout, "net-timeout", 30*time.Second, "put the network back when no peer answers from the bridge within this `TIME`")
	s.BoolVar(&f.all, "all", false, "show also what stays as it is, where the host stands")
	s.BoolVar(&f.restart, "restart", false, "restart the VMs whose changes need it")
	s.BoolVarP(&f.help, "help", "h", false, "print this help")
	s.BoolVar(&f.version, "version", false, "print the version")
	_ = s.MarkHidden("help")
	_ = s.MarkHidden("version")
	return s
}

// runInstall is --plan: look, show, ask, do, verify.
func runInstall(ctx context.Context, t terminal, args []string) int {
	var f installFlags
	flags := f.set()
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return usageError(t, "%v", err)
	}
	switch {
	case f.help:
		printHelp(t, flags)
		return exitDone
	case f.version:
		return runVersion(ctx, t, nil)
	case len(args) == 0:
		printHelp(terminal{t.in, t.err, t.err}, flags)
		return exitUsage
	case flags.NArg() > 0:
		return usageError(t, "unknown command %q%s", flags.Arg(0), didYouMean(flags.Arg(0)))
	case f.plan == "":
		return usageError(t, "--plan FILE is needed: the layout of this host ('hvinstall discover --layout' writes a first one)")
	case f.facts != "" && !f.dryRun:
		return usageError(t, "--facts describes another machine, and goes with --dry-run only")
	case f.yes && f.confirm != "":
		return usageError(t, "--yes and --confirm are two ways to consent; give one of them")
	case f.exitCode && !f.dryRun:
		return usageError(t, "--exit-code goes with --dry-run")
	}
	only, err := parts(f.only)
	if err != nil {
		return usageError(t, "%v", err)
	}
	layout, err := configs.LoadFile(f.plan, f.vms)
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	f.keymap = layout.Locale.Keymap
	if f.facts == "" {
		if err := osimage.KnownLocale("/", layout.Locale); err != nil {
			fmt.Fprintf(t.err, "%s: %s\n", f.plan, showable(err.Error()))
			return exitUsage
		}
	}
	if layout, err = f.complete(ctx, t, layout); err != nil {
		if errors.Is(err, errInterrupted) {
			return exitCanceled
		}
		t.complain(err)
		return exitRefused
	}
	if !f.dryRun && os.Geteuid() == 0 {
		// What another run is changing at this moment cannot be judged: the lock
		// comes before everything that is said of this machine.
		lock, err := host.AcquireLock(filepath.Join(runFolder, "lock"))
		if err != nil {
			t.complain(err)
			var held *host.HeldError
			if errors.As(err, &held) {
				return exitRefused
			}
			return exitFailed
		}
		defer lock.Release() //nolint:errcheck // the process ends next, and with it the lock
	}
	facts, err := f.look(ctx, layout, only)
	if err != nil {
		t.complain(layout.Redactor().Text(err.Error()))
		if f.facts != "" {
			return exitUsage
		}
		return exitFailed
	}
	plan := install.Make(install.Input{Layout: layout, Facts: facts, Erase: f.erase, Only: only})
	if f.dryRun {
		return f.show(t, plan)
	}
	return f.apply(ctx, t, plan)
}

// look probes this machine, or reads the captured one.
func (f *installFlags) look(ctx context.Context, layout *configs.Layout, only []install.Part) (install.Facts, error) {
	if f.facts == "" {
		facts, err := install.Probe(ctx)
		if err == nil && (len(only) == 0 || slices.Contains(only, install.PartVMs)) {
			err = facts.ProbeVMs(ctx, layout)
		}
		return facts, err
	}
	file, err := os.Open(f.facts)
	if err != nil {
		return install.Facts{}, fmt.Errorf("reading the facts: %w", err)
	}
	defer file.Close()
	facts, err := install.LoadFacts(file)
	if err != nil {
		return install.Facts{}, fmt.Errorf("%s: %w", f.facts, err)
	}
	return facts, nil
}

// show is --dry-run: the plan and nothing else.
func (f *installFlags) show(t terminal, plan install.Plan) int {
	if f.json {
		text, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			t.complain(err)
			return exitFailed
		}
		fmt.Fprintf(t.out, "%s\n", plan.Layout.Redactor().JSON(text))
	} else {
		s := styleOf(t.out)
		s.all = f.all
		writePreview(t.out, s, plan)
	}
	switch {
	case len(plan.Refusals) > 0:
		return exitRefused
	case f.exitCode && plan.Differs():
		return exitDiffers
	}
	return exitDone
}

// parts reads --only.
func parts(names []string) ([]install.Part, error) {
	var only []install.Part
	for _, part := range install.Parts() {
		if slices.Contains(names, string(part)) {
			only = append(only, part)
		}
	}
	for _, name := range names {
		if !slices.Contains(install.Parts(), install.Part(name)) {
			return nil, fmt.Errorf("--only %s is not a part; the parts are disks, os, net and vms", name)
		}
	}
	return only, nil
}

func printHelp(t terminal, flags *pflag.FlagSet) {
	fmt.Fprint(t.out, `hvinstall turns a bare machine into a KVM hypervisor from one file, and keeps it so.

Usage:
  hvinstall --plan layout.yaml            look, show, ask, do, verify
  hvinstall --plan layout.yaml --dry-run  look and show only
  hvinstall COMMAND [flags]

Commands:
`)
	for _, c := range commands() {
		if c.summary != "" {
			fmt.Fprintf(t.out, "  %-10s %s\n", c.name, c.summary)
		}
	}
	fmt.Fprint(t.out, "\nFlags:\n")
	writeFlags(t.out, flags)
	fmt.Fprint(t.out, `
Exit codes:
  0  done, or nothing to do
  1  something went wrong
  2  wrong usage, or an invalid layout
  3  refused for safety; the way out is printed
  4  with --exit-code: differences found
`)
}

// didYouMean suggests the command that shares the longest beginning.
func didYouMean(word string) string {
	for _, c := range commands() {
		if c.summary != "" && len(word) > 1 && (strings.HasPrefix(c.name, word[:2]) || strings.HasPrefix(word, c.name)) {
			return fmt.Sprintf("; did you mean %q?", c.name)
		}
	}
	return ""
}
