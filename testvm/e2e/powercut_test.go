//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm/spechost"
)

// moment is when the power goes: a little after a line of the progress.
type moment struct {
	after *regexp.Regexp
	wait  time.Duration
}

// moments are spread over all of an installation.
var moments = []moment{
	{regexp.MustCompile(`(?i)luks|encrypt`), 3 * time.Second},
	{regexp.MustCompile(`unpack the system`), 20 * time.Second},
	{regexp.MustCompile(`make the host bootable`), 0},
}

// moreMoments come with HVINSTALL_MORE_CUTS=1 (make test-power-cuts).
var moreMoments = []moment{
	{regexp.MustCompile(`partition `), 0},
	{regexp.MustCompile(`unpack the system`), 5 * time.Second},
	{regexp.MustCompile(`(?i)key`), 2 * time.Second},
	{regexp.MustCompile(`(?i)btrfs`), time.Second},
	{regexp.MustCompile(`make the accounts`), 0},
	{regexp.MustCompile(`SSH host keys`), time.Second},
	{regexp.MustCompile(`fstab`), time.Second},
}

// unattended is what a person adds to the kernel's command line.
const unattended = "hvinstall.plan=layout.yaml hvinstall.yes hvinstall.passphrase_file=secret.txt hvinstall.then=poweroff"

// TestPowerCuts installs unattended and cuts the power in the middle, again and
// again: each time the live stick is booted, and the same command goes on. In
// the end the host is whole.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.writeLive(t, unattended, map[string]string{"layout.yaml": spechost.Layout, "secret.txt": spechost.Passphrase + "\n"})
	drives := append(m.All(), spechost.LiveStick)
	cuts := moments
	if os.Getenv("HVINSTALL_MORE_CUTS") == "1" {
		cuts = append(slices.Clone(moreMoments), moments...)
	}
	for i, moment := range cuts {
		t.Run(fmt.Sprintf("cut %d", i+1), func(t *testing.T) {
			c := m.boot(t, 25*time.Minute, drives...)
			c.expect(6*time.Minute, `unattended installation by the kernel's command line`)
			// A moment that a run before this one has passed already may not come
			// again: then the power goes when the installation is done.
			said := c.expect(20*time.Minute, `(?i)`+moment.after.String()+`|Done: poweroff|The unattended installation did not`)
			t.Logf("the power goes %v after %q", moment.wait, said)
			time.Sleep(moment.wait)
			c.PowerCut()
		})
	}
	t.Run("to the end", func(t *testing.T) {
		c := m.boot(t, 25*time.Minute, drives...)
		c.expectDone(20 * time.Minute)
		if strings.Contains(c.Transcript(), spechost.Passphrase) {
			t.Error("the passphrase is on the console")
		}
	})
	t.Run("boot", func(t *testing.T) {
		c := m.try(t, 15*time.Minute, m.All()...)
		c.must(c.LogIn(6 * time.Minute))
		c.healthy("vmstore", "bulk")
	})
}

// expectDone waits for the end of an unattended installation. One that fails
// says so above the shell.
func (c console) expectDone(within time.Duration) {
	c.t.Helper()
	if said := c.expect(within, `Done: poweroff|The unattended installation did not go through`); said != "Done: poweroff" {
		c.t.Fatalf("the installation failed:\n%s", spechost.Plain(c.Tail(80)))
	}
	c.must(c.Wait(spechost.Slow(3 * time.Minute)))
}
