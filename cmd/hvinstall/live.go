package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"hvinstall/configs"
	"hvinstall/osimage/live"

	"github.com/spf13/pflag"
)

// runLive is the live system's own command: it greets on a console, keeps a
// layout on the stick, and does what the kernel's command line asks for.
func runLive(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("live", pflag.ContinueOnError)
	unattended := flags.Bool("unattended", false, "do what hvinstall.plan= on the kernel's command line asks for")
	save := flags.String("save", "", "keep this layout `FILE` on the stick, as layout.yaml")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if !live.Running() {
		return usageError(t, "this is not the live system: %s is not there", live.Medium)
	}
	switch {
	case *save != "":
		return saveLayout(t, *save)
	case *unattended:
		return runUnattended(ctx)
	}
	greet(t)
	return exitDone
}

func saveLayout(t terminal, path string) int {
	if _, err := configs.LoadFile(path, ""); err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = live.Save(data)
	}
	if err != nil {
		t.complain(fmt.Errorf("keeping the layout: %w", err))
		return exitFailed
	}
	fmt.Fprintf(t.out, "kept as %s/layout.yaml; the one before is layout.yaml.old\n", live.Medium)
	return exitDone
}

// onStick keeps the layout of a run that begins, and a note that it has begun,
// on the stick, where both are found if the machine dies meanwhile; the
// function that it returns takes the note away. A stick that cannot be written
// to does not keep anybody from installing.
func (r session) onStick() (ended func()) {
	warn := func(err error) {
		text := fmt.Sprintf("the layout is not kept on the stick: %v", err)
		fmt.Fprintln(r.screen, r.style.wrapped(r.style.warn("!"), text, "", r.style.warn))
	}
	data, err := os.ReadFile(r.installFlags.plan)
	if err != nil {
		warn(err)
		return func() {}
	}
	if kept, err := os.ReadFile(live.Layout()); err != nil || !bytes.Equal(kept, data) {
		if err := live.Save(data); err != nil {
			warn(err)
			return func() {}
		}
		fmt.Fprintf(r.screen, "\nThe layout is kept on the stick, as %s/layout.yaml.\n", live.Medium)
	}
	if err := live.Begin(fmt.Sprintf("%s, at %s", r.plan.Layout.Hostname, time.Now().UTC().Format("2006-01-02 15:04 UTC"))); err != nil {
		warn(err)
		return func() {}
	}
	return func() {
		if err := live.End(); err != nil {
			fmt.Fprintln(r.screen, r.style.wrapped(r.style.warn("!"), err.Error(), "", r.style.warn))
		}
	}
}
