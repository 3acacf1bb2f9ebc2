package main

import (
	"context"
	"fmt"

	"hvinstall/net/bridge"
	"hvinstall/step"
)

// runGuard waits beside a run that moves the network, and puts it back if the
// run dies.
func runGuard(_ context.Context, t terminal, _ []string) int {
	if err := bridge.Guard(t.in); err != nil {
		fmt.Fprintf(t.err, "hvinstall: %s\n", step.Printable(err.Error()))
		return exitFailed
	}
	return exitDone
}
