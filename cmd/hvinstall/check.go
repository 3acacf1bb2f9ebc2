package main

import (
	"context"
	"fmt"

	"hvinstall/configs"
	"hvinstall/osimage"

	"github.com/spf13/pflag"
)

func runCheck(_ context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("check", pflag.ContinueOnError)
	plan := flags.String("plan", "", "the layout to check")
	vms := flags.String("vms", "", "take the libvirt_* keys from this file instead")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if *plan == "" {
		return usageError(t, "check needs --plan FILE")
	}
	layout, err := configs.LoadFile(*plan, *vms)
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	if err := osimage.KnownLocale("/", layout.Locale); err != nil {
		fmt.Fprintf(t.err, "%s: %s\n", *plan, showable(err.Error()))
		return exitUsage
	}
	fmt.Fprintf(t.out, "%s: valid; host %s, %d pools, %d VMs\n", *plan, layout.Hostname, len(layout.Pools), len(layout.VMs))
	return exitDone
}
