//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"hvinstall/testvm/spechost"
)

// canary stands in the layout wherever a secret may; canaryPattern finds it, and
// not itself.
const (
	canary        = "C4n4ryHunter2"
	canaryPattern = "C4n4ry[H]unter2"
)

// vmsWithCanaries are the machine's VMs, with secrets in the texts for the guest
// and in an address.
func vmsWithCanaries(t *testing.T) string {
	t.Helper()
	const medium = `iso_image: {url: "` + spechost.ServerURL + `/appliance.iso"`
	if !strings.Contains(spechost.VMs, medium) {
		t.Fatal("no VM has the medium")
	}
	return strings.Replace(spechost.VMs, medium, `cloud_init: {user_data: "#cloud-config\npassword: `+canary+`\n", network_config: "{version: 2, key: `+canary+`}"}
    iso_image: {url: "`+spechost.ServerURL+`/appliance.iso?token=`+canary+`"`, 1)
}

// watched is a command during which the arguments and the environment of every
// process are looked at.
func watched(command string) string {
	return command + ` & while kill -0 $! 2>/dev/null; do grep -las '` + canaryPattern + `' /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/root/seen; sleep 0.2; done; wait $!`
}

// keepsSecrets looks for the canary after the installation and a run, in all that
// others can read, and in what root keeps of runs.
func (c console) keepsSecrets() {
	c.t.Helper()
	grep := "grep -las '" + canaryPattern + "'"
	c.has("the layout holds it, for root alone", grep+" /etc/hvinstall/layout.yaml; stat -c %a /etc/hvinstall/layout.yaml", "/etc/hvinstall/layout.yaml\n600")
	for where, command := range map[string]string{
		"arguments and environment in a run": "cat /root/seen",
		"arguments and environment":          grep + " /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
		"the journal":                        "journalctl --no-pager -o export | grep -a '" + canaryPattern + "' | cut -c1-200",
		"logs, and what runs leave":          "grep -rlas '" + canaryPattern + "' /var/log/hvinstall /run/hvinstall",
		"a file that others may read":        "find / /home /efi /mnt/vmstore /mnt/bulk -xdev -type f -perm /044 -newermt '1 day ago' -size -8M -exec " + grep + " {} +",
		"a crash dump":                       "find /var/lib/systemd/coredump /var/crash -type f -exec " + grep + " {} + 2>/dev/null",
		"the VMs' definitions":               "for vm in $(virsh list --all --name); do runuser -u " + spechost.User + " -- virsh -c qemu:///system dumpxml --security-info --inactive $vm; done | grep '" + canaryPattern + "'",
		"the report for a bug":               "hvinstall report -o /root/report.txt >/dev/null || echo no report; test -s /root/report.txt || echo empty; grep -a '" + canaryPattern + "' /root/report.txt",
	} {
		if out, _ := c.shell(6*time.Minute, command); strings.TrimSpace(out) != "" {
			c.t.Errorf("a secret is in %s: %s prints\n%s", where, command, out)
		}
	}
}
