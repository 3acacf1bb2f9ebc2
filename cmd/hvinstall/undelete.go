package main

import (
	"context"
	"fmt"
	"path/filepath"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/vmstore"

	"github.com/spf13/pflag"
)

// runUndelete brings back a VM that was absent.
func runUndelete(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet(vmstore.UndeleteCommand, pflag.ContinueOnError)
	plan := flags.String("plan", "/etc/hvinstall/layout.yaml", "the layout `FILE` of this host")
	vms := flags.String("vms", "", "take the libvirt_* keys from this `FILE` instead")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if flags.NArg() != 1 {
		return usageError(t, "undelete takes the name of one VM")
	}
	layout, err := configs.LoadFile(*plan, *vms)
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	fail := func(err error) int {
		t.complain(layout.Redactor().Text(err.Error()))
		return exitFailed
	}
	lock, err := host.AcquireLock(filepath.Join(runFolder, "lock"))
	if err != nil {
		return fail(err)
	}
	defer lock.Release() //nolint:errcheck // the process ends next, and with it the lock
	said, err := vmstore.Undelete(ctx, layout.VMPlan, flags.Arg(0))
	for _, line := range said {
		fmt.Fprintln(t.out, showable(layout.Redactor().Text(line)))
	}
	if err != nil {
		return fail(err)
	}
	return exitDone
}
