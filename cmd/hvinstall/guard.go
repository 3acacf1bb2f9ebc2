package main

import (
	"context"

	"hvinstall/net/bridge"
)

// runGuard waits beside a run that moves the network, and puts it back if the
// run dies.
func runGuard(_ context.Context, t terminal, _ []string) int {
	if err := bridge.Guard(t.in); err != nil {
		t.complain(err)
		return exitFailed
	}
	return exitDone
}
