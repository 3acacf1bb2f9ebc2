package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	whole := flags.Bool("whole", false, "with --save: keep its secrets too")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if !live.Running() {
		return usageError(t, "this is not the live system: %s is not there", live.Medium)
	}
	switch {
	case *save != "":
		return saveLayout(t, *save, *whole)
	case *unattended:
		return runUnattended(ctx)
	}
	greet(ctx, t)
	return exitDone
}

func saveLayout(t terminal, path string, whole bool) int {
	layout, err := configs.LoadFile(path, "")
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	data, left := layout.Source, 0
	if !whole {
		data, left, err = configs.Kept(layout.Source)
	}
	old := false
	if err == nil {
		old, err = keepOnStick(data)
	}
	if err != nil {
		t.complain(fmt.Errorf("keeping the layout: %w", err))
		return exitFailed
	}
	fmt.Fprintf(t.out, "kept as %s/layout.yaml\n", live.Medium)
	if old {
		fmt.Fprintln(t.out, "the one before is layout.yaml.old")
	}
	if left > 0 {
		fmt.Fprintf(t.out, "%s left out, which a run with it asks for; --whole keeps them too, readable by whoever finds the stick\n", secrets(left))
	}
	return exitDone
}

// secrets is the number of them with its verb.
func secrets(n int) string {
	if n == 1 {
		return "1 secret is"
	}
	return fmt.Sprintf("%d secrets are", n)
}

// keepOnStick writes a layout to the stick. old says that the file before stays
// as layout.yaml.old: it is a person's, who may have no other.
func keepOnStick(data []byte) (old bool, err error) {
	if before, err := os.ReadFile(live.Layout()); err == nil {
		if bytes.Equal(before, data) {
			return false, nil
		}
		old = !configs.IsKept(before)
	}
	return old, live.Save(data, old)
}

// onStick keeps the layout of a run that begins, without its secrets, and a note
// that it has begun, on the stick, where both are found if the machine dies
// meanwhile; the function that it returns takes the note away. A layout that is
// on the stick stays as it is. A stick that cannot be written to does not keep
// anybody from installing.
func (r session) onStick() (ended func()) {
	say := func(text string) {
		fmt.Fprintln(r.screen, r.style.wrapped(r.style.warn("!"), showable(text), "", r.style.warn))
	}
	if err := r.keepLayout(say); err != nil {
		say(fmt.Sprintf("the layout is not kept on the stick: %v", err))
		return func() {}
	}
	if err := live.Begin(fmt.Sprintf("%s, at %s", r.plan.Layout.Hostname, time.Now().UTC().Format("2006-01-02 15:04 UTC"))); err != nil {
		say(fmt.Sprintf("that a run begins is not noted on the stick: %v", err))
		return func() {}
	}
	return func() {
		if err := live.End(); err != nil {
			say(err.Error())
		}
	}
}

func (r session) keepLayout(say func(string)) error {
	kept, left, err := configs.Kept(r.plan.Layout.Source)
	if err != nil {
		return err
	}
	if path, err := filepath.EvalSymlinks(r.installFlags.plan); err == nil && path == live.Layout() {
		if left > 0 && len(r.leftOut) == 0 {
			say(fmt.Sprintf("%s on the stick with the layout, for whoever finds it: keep the stick as you keep them, or take them out once the host runs", secrets(left)))
		}
		return nil
	}
	old, err := keepOnStick(kept)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.screen, "\nThe layout is kept on the stick, as %s/layout.yaml", live.Medium)
	if left > 0 {
		fmt.Fprintf(r.screen, "; %s left out", secrets(left))
	}
	fmt.Fprintln(r.screen, ".")
	if old {
		say("the layout that was there is layout.yaml.old now, with its secrets if it has any: delete it once you do not need it")
	}
	return nil
}
