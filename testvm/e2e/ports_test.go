//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm/portscan"
	"hvinstall/testvm/spechost"
)

// scannerIn builds the port scanner into the folder that the machine's server
// serves.
func scannerIn(t *testing.T, folder string) {
	t.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "scan"), "hvinstall/testvm/portscan/scan")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the scanner: %v\n%s", err, out)
	}
}

// nobodyGetsIn asks every port of the installed host from a neighbour on its
// bridge: a network namespace, which the host's filter knows as it knows a VM
// or a machine on the LAN.
func (c console) nobodyGetsIn() {
	c.t.Helper()
	c.run("curl -sSfo /root/scan " + spechost.ServerURL + "/scan && chmod +x /root/scan")
	c.run("ip netns add peer; ip link add lanpeer type veth peer name eth0 netns peer; ip link set lanpeer master br0 up; " +
		"ip -n peer link set eth0 up; ip -n peer link set lo up; ip -n peer addr add 192.168.1.77/24 dev eth0; ip -n peer addr add 172.16.5.1/24 dev eth0; " +
		"ip addr add 172.16.5.2/24 dev br0")
	c.run("timeout 30 sh -c 'until ip netns exec peer ping -qc1 -W1 192.168.1.15; do :; done' >/dev/null")
	linkLocal := strings.TrimSpace(c.run("ip -6 -br addr show dev br0 scope link | grep -o 'fe80[^/ ]*'")) + "%eth0"

	for _, who := range []struct {
		what, address string
		open          []uint16
	}{
		{"a client of the exports", "192.168.1.15", []uint16{22, 2049}},
		{"somebody else", "172.16.5.2", []uint16{22}},
		{"by IPv6", linkLocal, []uint16{22}},
	} {
		r := c.scan(who.address)
		if !slices.Equal(r.TCP, who.open) || len(r.Closed) > 0 || len(r.UDP) > 0 {
			c.t.Errorf("%s reaches TCP %v, want %v; nobody listens and TCP %v and UDP %v answer, want none", who.what, r.TCP, who.open, r.Closed, r.UDP)
		}
	}
	c.listensForNobody()
	c.has("ssh takes no password", "ip netns exec peer ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes "+spechost.User+"@192.168.1.15 2>&1; true", "Permission denied (publickey).")
	c.has("status finds no difference", "hvinstall status", "Everything is as the layout wants it.")

	// What was opened by hand is seen, and undone.
	c.run("nft insert rule inet hvinstall input tcp dport 1-65535 accept")
	if r := c.scan("192.168.1.15"); r.Count()+len(r.TCP) != 65535 {
		c.t.Errorf("the scanner sees only %d ports of an open host", r.Count()+len(r.TCP))
	}
	c.has("status shows the difference", "hvinstall status", "the loaded filter is not the layout's")
	c.run("sed -i 's/^network: {/network: {open_ports: [tcp\\/8080], /' /etc/hvinstall/layout.yaml && hvinstall --plan /etc/hvinstall/layout.yaml --yes")
	if r := c.scan("192.168.1.15"); !slices.Equal(r.TCP, []uint16{22, 2049}) || !slices.Equal(r.Closed, []portscan.Range{{First: 8080, Last: 8080}}) {
		c.t.Errorf("with tcp/8080 opened, TCP %v are open and %v reached, want 22 and 2049, and 8080", r.TCP, r.Closed)
	}
	c.run("nft flush ruleset; systemctl restart nftables.service")
	// The unit runs after that of nftables, for which systemctl alone waits.
	c.run("timeout 60 sh -c 'until nft list table inet hvinstall >/dev/null 2>&1; do sleep 0.2; done'")
	c.has("nftables.service brings the filter back", "nft list table inet hvinstall", "policy drop")
	c.run("systemctl stop nftables.service; hvinstall --plan /etc/hvinstall/layout.yaml --yes")
	c.closesAnOpenHost()
	c.accessIsTakenBack()
	c.run("ip netns del peer; ip addr del 172.16.5.2/24 dev br0")
}

// listensForNobody looks at the host itself: what the filter hides is not there
// to begin with.
func (c console) listensForNobody() {
	c.t.Helper()
	listens := c.run("ss -Hltunp; ss -Hlwnp")
	for _, service := range []string{"rpcbind", "rpc.mountd", "rpc.statd", ":111 ", ":5355 ", ":5353 "} {
		if strings.Contains(listens, service) {
			c.t.Errorf("%s listens:\n%s", service, listens)
		}
	}
}

// closesAnOpenHost makes the host what an earlier version left, with a service
// of its owner's, and runs the same plan on it.
func (c console) closesAnOpenHost() {
	c.t.Helper()
	c.run("systemctl disable --now hvinstall-filter.service; nft delete table inet hvinstall; rm /etc/hvinstall/filter.nft /etc/systemd/system/hvinstall-filter.service; " +
		"rm /etc/ssh/sshd_config.d/hvinstall.conf /etc/systemd/resolved.conf.d/hvinstall.conf /usr/lib/systemd/resolved.conf.d/hvinstall.conf; systemctl reload ssh; " +
		"cd /etc/systemd/system && rm rpcbind.service rpcbind.socket rpc-statd.service rpc-statd-notify.service; cd; systemctl daemon-reload; " +
		"sed -i /vers2/d /etc/nfs.conf.d/hvinstall.conf; systemctl start rpcbind.socket rpcbind.service rpc-statd.service; systemctl restart systemd-resolved nfs-mountd nfs-server")
	c.run("systemd-run --quiet --unit=exporter systemd-socket-activate -l 9100 cat; timeout 60 sh -c 'until ss -Hltn | grep -q :9100; do sleep 0.2; done'")
	open := c.scan("192.168.1.15").TCP
	for _, port := range []uint16{22, 111, 2049, 5355, 9100} {
		if !slices.Contains(open, port) {
			c.t.Errorf("the open host has %v open, without %d", open, port)
		}
	}
	if len(open) < 8 { // and, by IPv4, statd's and two of mountd's
		c.t.Errorf("the open host has only %v open", open)
	}
	c.has("status shows the missing filter", "hvinstall status | tr -s ' \\n' ' '", "/etc/hvinstall/filter.nft is not as planned")
	c.has("the preview names what it closes", "hvinstall --plan /etc/hvinstall/layout.yaml --dry-run | tr -s ' \\n' ' '", "tcp/9100 (systemd-socket-)")
	c.run("hvinstall --plan /etc/hvinstall/layout.yaml --yes")
	if r := c.scan("192.168.1.15"); !slices.Equal(r.TCP, []uint16{22, 2049}) {
		c.t.Errorf("the closed host has TCP %v open, want 22 and 2049", r.TCP)
	}
	c.listensForNobody()
	c.has("sshd was told", "sshd -T", "passwordauthentication no")
	c.run("systemctl stop exporter")
	c.has("nothing differs", "hvinstall status", "Everything is as the layout wants it.")
}

// accessIsTakenBack gives a person a key, restricts it and takes it away, as
// the layout's owner does, and tries it from the neighbour.
func (c console) accessIsTakenBack() {
	c.t.Helper()
	const ssh = "ip netns exec peer ssh -i /root/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes " + spechost.User + "@192.168.1.15 id 2>&1; true"
	c.run("ssh-keygen -q -t ed25519 -N '' -C visitor -f /root/id; cp /etc/hvinstall/layout.yaml /root/before.yaml")
	give := func(options, groups string) {
		c.t.Helper()
		c.run(`sed "s|{name: ` + spechost.User + `, groups: .wheel.|{name: ` + spechost.User + `, ssh_authorized_keys: ['` + options + `$(cat /root/id.pub)'], groups: [` + groups +
			`]|" /root/before.yaml >/etc/hvinstall/layout.yaml; hvinstall --plan /etc/hvinstall/layout.yaml --yes`)
	}
	give("", "wheel, adm")
	c.has("the key opens", ssh, "(adm)")
	give(`from=\"192.168.99.0/24\" `, "wheel")
	c.has("the key is restricted to another network", ssh, "Permission denied")
	give(`from=\"192.168.1.0/24\" `, "wheel")
	c.has("the key opens from this network", ssh, "uid=")
	c.hasNot("the group is taken back", ssh, "(adm)")
	c.run("cp /root/before.yaml /etc/hvinstall/layout.yaml")
	c.has("status names the key", "hvinstall status", "(visitor)")
	c.has("the preview names it", "hvinstall --plan /etc/hvinstall/layout.yaml --dry-run | tr -s ' \\n' ' '", "(visitor) goes")
	c.run("hvinstall --plan /etc/hvinstall/layout.yaml --yes")
	c.has("the key is taken back", ssh, "Permission denied")
	c.has("nothing differs", "hvinstall status", "Everything is as the layout wants it.")
}

func (c console) scan(address string) portscan.Result {
	c.t.Helper()
	out, code := c.shell(10*time.Minute, fmt.Sprintf("ip netns exec peer /root/scan %s", address))
	line := out[max(0, strings.Index(out, "{")):]
	var r portscan.Result
	if err := json.Unmarshal([]byte(strings.TrimSpace(line)), &r); err != nil || code != 0 {
		c.t.Fatalf("the scan of %s: exit code %d, %v\n%.2000s", address, code, err, out)
	}
	return r
}
