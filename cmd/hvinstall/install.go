package main

import "context"

// runInstall is --plan: look, show, ask, do, verify.
func runInstall(_ context.Context, t terminal, args []string) int {
	return usageError(t, "unknown command or flags %q", args)
}
