package main

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// helpWidth is the width of --help, in columns.
const helpWidth = 80

// writeFlags lists flags: a column of names with their values, and beside it
// what each does.
func writeFlags(w io.Writer, flags *pflag.FlagSet) {
	const column = 30
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Value.Type() != "bool" && value != "" {
			name += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "-1" {
			usage += " (default " + f.DefValue + ")"
		}
		for i, line := range wrap(usage, helpWidth-column) {
			if i > 0 {
				name = ""
			}
			if len(name) > column-3 {
				fmt.Fprintf(w, "  %s\n", name)
				name = ""
			}
			fmt.Fprintf(w, "  %s%s\n", pad(name, column-2), line)
		}
	})
}

// writeUsage is a subcommand's --help.
func writeUsage(w io.Writer, flags *pflag.FlagSet) {
	fmt.Fprintf(w, "Usage: hvinstall %s", flags.Name())
	if flags.HasAvailableFlags() {
		fmt.Fprint(w, " [flags]\n\nFlags:\n")
	}
	writeFlags(w, flags)
}
