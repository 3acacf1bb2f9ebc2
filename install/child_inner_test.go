//go:build guest_inner

package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/host"
	"hvinstall/step"
)

// The tests run hvinstall's disk part in a process of its own, so that it can
// be killed. The process is this test binary again, started with these
// variables, which only the tests set.
const (
	childLayout = "INNER_LAYOUT"     // path of layout.yaml: makes the binary the child
	childPass   = "INNER_PASSPHRASE" // path of the passphrase file
	childErase  = "INNER_ERASE"      // by-id names joined by ","
	childKill   = "INNER_KILL"       // when to be killed, see killer
	childCost   = "INNER_CHEAP"      // "1": argon2id at its cheapest
	childLook   = "INNER_LOOK"       // "1": dry run
	childWait   = "INNER_WAIT"       // a path: made before the first step, waited for until it is gone
)

func TestMain(m *testing.M) {
	if os.Getenv(childLayout) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childReport is the child's last line.
type childReport struct {
	Changed int     `json:"changed"`
	Digest  string  `json:"digest"`
	RSS     int64   `json:"rss"` // KiB at the peak
	Seconds float64 `json:"seconds"`
	States  int     `json:"states"` // looked at
}

func child() error {
	// The look at this process in /proc must find no more than a user's run has.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	lock, err := host.AcquireLock("/run/hvinstall/lock")
	if err != nil {
		return err
	}
	defer lock.Release()
	layout, err := configs.LoadFile(os.Getenv(childLayout), "")
	if err != nil {
		return err
	}
	started := time.Now()
	facts, err := Probe(ctx)
	if err != nil {
		return err
	}
	in := Input{Layout: layout, Facts: facts, Only: []Part{PartDisks}}
	if erase := os.Getenv(childErase); erase != "" {
		in.Erase = strings.Split(erase, ",")
	}
	plan := Make(in)
	if len(plan.Refusals) > 0 {
		for _, r := range plan.Refusals {
			err = errors.Join(err, fmt.Errorf("refused %s: %w", r.Code, r))
		}
		return err
	}
	keyring := &crypt.Keyring{Passphrase: func(context.Context) (crypt.Secret, error) { return crypt.ReadPassphraseFile(os.Getenv(childPass)) }}
	defer keyring.Wipe()
	if os.Getenv(childCost) == "1" {
		keyring.ForceCost = &crypt.Cost{Time: 4, Memory: 32, Parallel: 1}
	}
	steps := diskSteps(plan.Disk, plan.Crypt, DiskEnv{Root: TargetRoot, ESP: "/boot", Keyring: keyring})
	report := childReport{Digest: plan.Digest}
	if path := os.Getenv(childWait); path != "" {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		for i := 0; i < 600; i++ {
			if _, err := os.Stat(path); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	if os.Getenv(childLook) == "1" {
		var found []step.Found
		found, err = step.Look(ctx, steps, 8)
		report.States = len(found)
	} else {
		runner := step.Runner{Side: 2 * runtime.NumCPU() * 4, Memory: facts.Memory.Available, Events: killer(os.Getenv(childKill))}
		report.Changed, err = runner.Run(ctx, steps)
	}
	if err != nil {
		return err
	}
	report.Seconds = time.Since(started).Seconds()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	report.RSS = usage.Maxrss
	return json.NewEncoder(os.Stdout).Encode(report)
}

// result is what became of it.
type result struct {
	childReport
	events string
	killed bool
	err    error
}
