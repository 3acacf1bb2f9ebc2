package main

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hvinstall": func() {
			os.Exit(run(context.Background(), terminal{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
		},
	})
}

// TestScripts runs testdata/script/*.txtar: the program as its user calls it.
func TestScripts(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", root+"/../../configs/examples")
			env.Setenv("MACHINES", root+"/../../testdata/machines")
			env.Setenv("NO_COLOR", "1")
			return nil
		},
	})
}
