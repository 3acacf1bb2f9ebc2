package main

import (
	"context"
	"fmt"

	"hvinstall/configs"
	"hvinstall/vmstore"

	"github.com/spf13/pflag"
)

// runStartVMs starts the VMs that libvirt has, at a boot at which the layout
// could not be carried out.
func runStartVMs(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet(vmstore.StartCommand, pflag.ContinueOnError)
	plan := flags.String("plan", "", "the layout")
	if code, done := parse(t, flags, args); done {
		return code
	}
	layout, err := configs.LoadFile(*plan, "")
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	if err := vmstore.StartDefined(ctx, layout.VMPlan, warnings{t, layout.Redactor()}); err != nil {
		t.complain(layout.Redactor().Text(err.Error()))
		return exitFailed
	}
	return exitDone
}

// warnings shows of a step's news what a person should read.
type warnings struct {
	t        terminal
	redactor configs.Redactor
}

func (w warnings) Progress(int64, int64, string) {}
func (w warnings) Log(string, ...any)            {}
func (w warnings) Warn(format string, args ...any) {
	w.t.complain(w.redactor.Text(fmt.Sprintf(format, args...)))
}
