package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// version is set by the linker: -X main.version=…
var version = "devel"

func runVersion(_ context.Context, t terminal, _ []string) int {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				revision = " (" + s.Value[:12] + ")"
			}
		}
	}
	fmt.Fprintf(t.out, "hvinstall %s%s\n", version, revision)
	return exitDone
}
