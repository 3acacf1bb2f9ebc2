//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestLive boots the stick as a person does, and looks at what they see.
func TestLive(t *testing.T) {
	m := newMachine(t)
	m.writeLive(t, "", nil)
	vm := m.boot(t, 20*time.Minute, append(m.everything(), "live")...)
	expect(t, vm, 8*time.Minute, `hvinstall live system: turns this machine into a KVM hypervisor`)
	expect(t, vm, 5*time.Minute, `none on the stick yet`)
	expect(t, vm, 5*time.Minute, `root@hvinstall:~# `)
	run := func(script string) string {
		t.Helper()
		out, code := shell(t, vm, 10*time.Minute, script)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s", script, code, out)
		}
		return out
	}
	run("systemctl is-system-running --wait")
	t.Log(run("systemd-analyze; systemd-analyze blame | head -40; systemd-analyze critical-chain"))
	if failed := run("systemctl --failed --no-legend --plain"); strings.TrimSpace(failed) != "" {
		t.Errorf("failed units:\n%s", failed)
	}
	if out := run("ss -Hltn"); strings.Contains(out, ":22 ") {
		t.Errorf("sshd listens in the live system:\n%s", out)
	}
	if out := run("hostname -I"); !strings.Contains(out, "192.168.1.") {
		t.Errorf("addresses = %q, want one from the LAN's DHCP", out)
	}
	if out := run("hvinstall discover"); !strings.Contains(out, "ST4000VN008_BULK4000") {
		t.Errorf("discover does not show the disks:\n%s", out)
	}
	run("hvinstall discover --layout > layout.yaml")
	run("hvinstall live --save layout.yaml")
	run("grep -q hostname: /run/hvinstall/live/layout.yaml")
	if out, code := shell(t, vm, time.Minute, "touch /run/hvinstall/live/x"); code == 0 {
		t.Errorf("the medium is writable:\n%s", out)
	}
}
