//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// cuts is how many times TestPowerCuts cuts the power: a few in 'make
// check', ten in 'make check-long' (HVINSTALL_E2E_CUTS=10).
func cuts() int {
	n, err := strconv.Atoi(os.Getenv("HVINSTALL_E2E_CUTS"))
	if err != nil || n < 1 {
		return 2
	}
	return n
}

// moments are lines of an installation's progress, spread over all of it: the
// power goes a little after each.
var moments = []struct {
	after *regexp.Regexp
	wait  time.Duration
}{
	{regexp.MustCompile(`partition `), 0},
	{regexp.MustCompile(`unpack the system`), 5 * time.Second},
	{regexp.MustCompile(`(?i)luks|encrypt`), 3 * time.Second},
	{regexp.MustCompile(`make the host bootable`), 0},
	{regexp.MustCompile(`(?i)key`), 2 * time.Second},
	{regexp.MustCompile(`(?i)btrfs`), time.Second},
	{regexp.MustCompile(`unpack the system`), 20 * time.Second},
	{regexp.MustCompile(`make the accounts`), 0},
	{regexp.MustCompile(`SSH host keys`), time.Second},
	{regexp.MustCompile(`fstab`), time.Second},
}

// TestPowerCuts cuts the power in the middle of an installation, again and
// again, boots the live stick, and lets the same command go on. In the end the
// host is whole.
func TestPowerCuts(t *testing.T) {
	m := newMachine(t)
	m.writeLive(t, unattended, map[string]string{"layout.yaml": layout, "secret.txt": passphrase + "\n"})
	drives := append(m.everything(), "live")
	for i := range min(cuts(), len(moments)) {
		t.Run(fmt.Sprintf("cut %d", i+1), func(t *testing.T) {
			vm := m.boot(t, 25*time.Minute, drives...)
			expect(t, vm, 6*time.Minute, `unattended installation by the kernel's command line`)
			// A moment that a run before this one has passed already may not come
			// again: then the power goes when the installation is done.
			match := expect(t, vm, 20*time.Minute, `(?i)`+moments[i].after.String()+`|Done: poweroff|The unattended installation did not`)
			t.Logf("the power goes %v after %q", moments[i].wait, match[0])
			time.Sleep(moments[i].wait)
			vm.PowerCut()
		})
	}
	t.Run("to the end", func(t *testing.T) {
		vm := m.boot(t, 25*time.Minute, drives...)
		expectDone(t, vm, 20*time.Minute)
		if err := vm.Wait(slow(3 * time.Minute)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("boot", func(t *testing.T) {
		vm := m.try(t, 15*time.Minute, m.everything()...)
		login(t, vm).healthy("vmstore", "bulk")
	})
}
