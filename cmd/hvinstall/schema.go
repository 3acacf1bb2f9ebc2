package main

import (
	"context"
	"fmt"

	"hvinstall/configs"

	"github.com/spf13/pflag"
)

// runSchema prints the JSON Schema of layout.yaml, for editors.
func runSchema(_ context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("schema", pflag.ContinueOnError)
	if code, done := parse(t, flags, args); done {
		return code
	}
	if flags.NArg() > 0 {
		return usageError(t, "schema takes no arguments, and %q is one", flags.Arg(0))
	}
	schema, err := configs.Schema()
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitFailed
	}
	if _, err := t.out.Write(schema); err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitFailed
	}
	return exitDone
}
