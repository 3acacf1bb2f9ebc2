//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// machine is the spec's hypervisor, for a test.
type machine struct{ *spechost.Machine }

func newMachine(t *testing.T) machine {
	t.Helper()
	m, err := spechost.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return machine{m}
}

// writeLive makes the machine's live stick, with files and kernel arguments.
func (m machine) writeLive(t *testing.T, arguments string, files map[string]string) {
	t.Helper()
	if err := m.WriteLive(t.Context(), spechost.LiveImage(), arguments, files); err != nil {
		t.Fatal(err)
	}
}

// boot starts the machine with those of its drives that are named.
func (m machine) boot(t *testing.T, limit time.Duration, drives ...string) console {
	t.Helper()
	return atMenu(t, m.Config(limit, drives...))
}

// try is boot with drives that forget what is written to them.
func (m machine) try(t *testing.T, limit time.Duration, drives ...string) console {
	t.Helper()
	return atMenu(t, m.Trial(limit, drives...))
}

// atMenu starts a machine and does not let the boot loader's menu count down:
// the firmware waits in a loop, which costs the machines beside it their time.
func atMenu(t *testing.T, config testvm.Config) console {
	t.Helper()
	c := console{t, spechost.Console{VM: testvm.Boot(t, config)}}
	c.expect(4*time.Minute, `Reboot Into Firmware Interface`)
	c.must(c.Send("\r"))
	return c
}

// serve serves a folder of the machine's images until the test ends.
func (m machine) serve(t *testing.T, folder string) *spechost.Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	server, err := spechost.Serve(ctx, folder)
	if err != nil {
		t.Fatal(err)
	}
	m.Forward = []string{server.Forward()}
	return server
}

// console is a person at the machine's console whose disappointments fail the
// test.
type console struct {
	t *testing.T
	spechost.Console
}

// expect ends the test when the console does not say it in time.
func (c console) expect(within time.Duration, expression string) string {
	c.t.Helper()
	match, err := c.VM.Expect(spechost.Slow(within), expression)
	if err != nil {
		c.t.Fatalf("%v; the console's end:\n%s", err, spechost.Plain(c.Tail(40)))
	}
	return match[0]
}

// must ends the test at an error.
func (c console) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// shell runs a command, and returns what it prints and its exit code.
func (c console) shell(within time.Duration, command string) (string, int) {
	c.t.Helper()
	out, code, err := c.Run(within, command)
	c.must(err)
	return out, code
}

// run runs a command that must succeed.
func (c console) run(command string) string {
	c.t.Helper()
	out, code := c.shell(6*time.Minute, command)
	if code != 0 {
		c.t.Errorf("%s: exit code %d\n%s", command, code, out)
	}
	return out
}

func (c console) has(what, command, want string) {
	c.t.Helper()
	if out, _ := c.shell(6*time.Minute, command); !strings.Contains(out, want) {
		c.t.Errorf("%s: %s prints\n%s\nwithout %q", what, command, out, want)
	}
}

func (c console) hasNot(what, command, unwanted string) {
	c.t.Helper()
	if out, _ := c.shell(6*time.Minute, command); strings.Contains(out, unwanted) {
		c.t.Errorf("%s: %s prints\n%s\nwith %q", what, command, out, unwanted)
	}
}

// healthy is a host that is up, with these pools mounted.
func (c console) healthy(pools ...string) {
	c.t.Helper()
	// The kernel may have its word in between.
	if state, code := c.shell(8*time.Minute, "systemctl is-system-running --wait"); code != 0 || !strings.Contains(state, "running") {
		out, _ := c.shell(time.Minute, "systemctl --failed --no-legend --plain; systemctl list-jobs; for u in $(systemctl --failed --no-legend --plain | cut -d' ' -f1); do journalctl -b --no-pager -n 15 -u $u; done")
		c.t.Errorf("the system is %s:\n%s", strings.TrimSpace(state), out)
	}
	for _, pool := range pools {
		c.has(pool+" is mounted", "findmnt -no FSTYPE,TARGET /mnt/"+pool, "btrfs")
	}
}

func (c console) powerOff() {
	c.t.Helper()
	c.must(c.PowerOff())
}
