//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"hvinstall/testvm/spechost"
)

// TestLive boots the stick as a person does, and looks at what they see.
func TestLive(t *testing.T) {
	m := newMachine(t)
	m.writeLive(t, "", nil)
	c := m.boot(t, 20*time.Minute, append(m.All(), spechost.LiveStick)...)
	c.expect(8*time.Minute, `none on the stick yet`)
	c.expect(5*time.Minute, `root@hvinstall:~# `)
	c.must(c.Settle())
	if state, _ := c.shell(8*time.Minute, "systemctl is-system-running --wait"); strings.TrimSpace(state) != "running" {
		c.healthy()
	}
	t.Log(c.run("systemd-analyze; systemd-analyze blame | head -40; systemd-analyze critical-chain"))
	c.hasNot("sshd does not listen", "ss -Hltn", ":22 ")
	c.has("an address from the LAN's DHCP", "hostname -I", "192.168.1.")
	c.has("the disks", "hvinstall discover", "ST4000VN008_BULK4000")
	c.run("hvinstall discover --layout > layout.yaml")
	c.run("hvinstall live --save layout.yaml")
	c.run("grep -q hostname: /run/hvinstall/live/layout.yaml")
	if out, code := c.shell(time.Minute, "touch /run/hvinstall/live/x"); code == 0 {
		t.Errorf("the medium is writable:\n%s", out)
	}
}
