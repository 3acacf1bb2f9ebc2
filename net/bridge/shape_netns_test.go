//go:build netns

package bridge

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
)

func static(addresses ...string) configs.Network {
	want := wantNIC("nic0")
	want.Addresses = addresses
	return want
}

func TestStaticAndIPv6(t *testing.T) {
	l := newLAN(t)
	want := static("192.168.77.30/24", "fd77::30/64")
	want.Gateway = []string{"192.168.77.1", "fd77::1"}
	want.DNS = []string{"192.168.77.1"}
	l.mustApply(job{Want: want, Env: l.env()})
	l.in(l.host, "ip", "link", "set", "tap0", "master", "br0")
	l.in(l.vm, "ip", "addr", "add", "192.168.77.40/24", "dev", "eth0")
	l.in(l.vm, "ip", "addr", "add", "fd77::40/64", "dev", "eth0", "nodad")
	for _, p := range [][2]string{{l.host, "192.168.77.1"}, {l.host, "fd77::1"}, {l.vm, "192.168.77.30"}, {l.vm, "fd77::30"}, {l.vm, "fd77::1"}, {l.router, "fd77::40"}} {
		l.pings(p[0], p[1])
	}
	routes := l.in(l.host, "sh", "-c", "ip route; ip -6 route")
	for _, want := range []string{"default via 192.168.77.1 dev br0", "default via fd77::1 dev br0"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in\n%s", want, routes)
		}
	}
	second, writes := l.traced(job{Want: want, Env: l.env()})
	if second.Changed != 0 || len(writes) > 0 {
		t.Errorf("second run: changed %d, writes %v\n%s", second.Changed, writes, story(second))
	}
}

func TestRouterAdvertisementsReachTheBridge(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.await("an address by router advertisement", 15e9, func() bool {
		return strings.Contains(l.in(l.host, "ip", "-6", "addr", "show", "dev", "nic0"), "fd77::")
	})
	l.settle()
	was := l.in(l.host, "sh", "-c", "ip -6 -o addr show dev nic0 scope global | awk '{print $4}'")
	l.mustApply(job{Want: wantNIC("nic0"), Env: l.env()})
	now := l.in(l.host, "sh", "-c", "ip -6 -o addr show dev br0 scope global | awk '{print $4}'")
	if now != was {
		t.Errorf("br0 has %q, the NIC had %q", now, was)
	}
	l.pings(l.host, "fd77::1")
	if routes := l.in(l.host, "ip", "-6", "route"); !strings.Contains(routes, "default via fe80::") {
		t.Errorf("no default route:\n%s", routes)
	}
}

func TestMTU9000(t *testing.T) {
	l := newLAN(t)
	want := static("192.168.77.30/24")
	want.MTU = 9000
	l.mustApply(job{Want: want, Env: l.env()})
	l.in(l.host, "ip", "link", "set", "tap0", "master", "br0")
	l.in(l.vm, "ip", "link", "set", "eth0", "mtu", "9000")
	l.in(l.vm, "ip", "addr", "add", "192.168.77.40/24", "dev", "eth0")
	// 9000 bytes less IP and ICMP headers, never in fragments.
	for _, p := range [][2]string{{l.host, "192.168.77.1"}, {l.vm, "192.168.77.1"}, {l.vm, "192.168.77.30"}} {
		l.in(p[0], "ping", "-c", "1", "-W", "2", "-M", "do", "-s", "8972", p[1])
	}
	if second := l.mustApply(job{Want: want, Env: l.env()}); second.Changed != 0 {
		t.Errorf("second run changed %d steps\n%s", second.Changed, story(second))
	}
}

func TestTaggedFramesPass(t *testing.T) {
	l := newLAN(t)
	l.mustApply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	l.in(l.host, "ip", "link", "set", "tap0", "master", "br0")
	const want = `VLAN 42, "a tagged frame, to be carried as it is, whole"`
	for _, way := range []struct{ from, link, to, toLink, mac string }{
		{l.vm, "eth0", l.router, "port0", "02:00:00:77:00:01"},
		{l.router, "lan0", l.vm, "eth0", vmMAC},
	} {
		heard := l.background(l.role(way.to, "hear", way.toLink))
		if out, err := l.role(way.from, "tag", way.link, way.mac).CombinedOutput(); err != nil {
			t.Fatalf("sending a tagged frame: %v\n%s", err, out)
		}
		if got := heard(); got != want {
			t.Errorf("from %s: heard %q, want %q", way.from, got, want)
		}
	}
}

func TestForeignBridgesAreLeftAlone(t *testing.T) {
	l := newLAN(t)
	l.in(l.host, "sh", "-ec", "ip link add other type bridge; ip link set nic0 master other")
	result := l.apply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	if len(result.Refusals) != 1 || result.Refusals[0].Code != "nic-taken" {
		t.Errorf("refusals %v, want nic-taken", result.Refusals)
	}
	l.in(l.host, "sh", "-ec", "ip link del other; ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up")
	was := l.network()
	result = l.apply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	if !strings.Contains(result.Error, "another network") {
		t.Errorf("error %q, want one about another network", result.Error)
	}
	if now := l.network(); now != was {
		t.Errorf("it was\n%s\nand is\n%s", was, now)
	}
}

func TestFilesAndSwitches(t *testing.T) {
	l := newLAN(t)
	must(t, os.MkdirAll(l.root+"/etc/qemu", 0o755))
	must(t, os.WriteFile(l.root+"/etc/qemu/bridge.conf", []byte("# mine\nallow virbr0"), 0o640))
	l.mustApply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	text, err := os.ReadFile(l.root + "/etc/qemu/bridge.conf")
	must(t, err)
	if string(text) != "# mine\nallow virbr0\nallow br0\n" {
		t.Errorf("bridge.conf is %q", text)
	}
	for _, name := range netfilterSwitches {
		// Without br_netfilter there is no switch, and no firewall in the way.
		inside := l.in(l.host, "sh", "-c", "cat /proc/sys/net/bridge/"+name+" 2>/dev/null || echo 0")
		if strings.TrimSpace(inside) != "0" {
			t.Errorf("%s is %q in the host", name, inside)
		}
	}
	look := l.apply(job{Want: static("192.168.77.30/24"), Env: l.env(), Look: true})
	for _, f := range look.Found {
		if f.State != "done" {
			t.Errorf("%s is %s: %s", f.Step, f.State, f.Why)
		}
	}
	// networkd itself finds no fault with the files; and it would say so.
	complaints := func() string {
		return l.in(l.host, "sh", "-c", "SYSTEMD_LOG_LEVEL=debug timeout 2 /lib/systemd/systemd-networkd 2>&1 | grep -iE 'unknown|invalid|failed to parse|ignoring' | grep hvinstall || true")
	}
	l.in(l.host, "sh", "-ec", "cp "+l.root+"/etc/systemd/network/* /etc/systemd/network/")
	if list := complaints(); list != "" {
		t.Errorf("networkd complains:\n%s", list)
	}
	l.in(l.host, "sh", "-ec", "echo Bridging=br0 >> /etc/systemd/network/06-hvinstall-br0-nic.network")
	if complaints() == "" {
		t.Error("networkd finds no fault with a setting that there is not")
	}
}

func TestNoCarrierIsAWarning(t *testing.T) {
	l := newLAN(t)
	l.in(l.router, "ip", "link", "set", "port0", "down")
	result := l.mustApply(job{Want: wantNIC("nic0"), Env: l.env()})
	if !strings.Contains(story(result), "nic0 has no carrier") {
		t.Errorf("no word of the missing carrier:\n%s", story(result))
	}
	if link := l.in(l.host, "ip", "-o", "link", "show", "nic0"); !strings.Contains(link, "master br0") {
		t.Errorf("the bridge was not made:\n%s", link)
	}
	if second := l.mustApply(job{Want: wantNIC("nic0"), Env: l.env()}); second.Changed != 0 {
		t.Errorf("second run changed %d steps\n%s", second.Changed, story(second))
	}
}

// TestAnotherAddressKeepsTheOld moves a host from a lease to a static address:
// the session that goes by the old one must live on.
func TestAnotherAddressKeepsTheOld(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.serve()
	old := l.udhcpc(l.host, "nic0")
	fetched := l.background(l.role(l.host, "fetch", "http://192.168.77.1:8080/slow"))
	want := static("192.168.77.30/24")
	want.Gateway = []string{"192.168.77.1"}
	l.mustApply(job{Want: want, Env: l.env()})
	if got, want := fetched(), fmt.Sprintf("%d bytes, same=true", streamSize); got != want {
		t.Errorf("the TCP connection brought %q, want %q", got, want)
	}
	l.pings(l.router, old)
	l.pings(l.router, "192.168.77.30")
}

// TestRollbackOfAChangedBridge changes a bridge that is there, and fails.
func TestRollbackOfAChangedBridge(t *testing.T) {
	l := newLAN(t)
	l.mustApply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	l.settle()
	was := l.network()
	env := l.env()
	env.Timeout = time.Second
	want := static("192.168.77.30/24", "192.168.88.1/24")
	want.Gateway = []string{"192.168.88.254"} // nobody
	if result := l.apply(job{Want: want, Env: env}); !strings.Contains(result.Error, "everything was put back") {
		t.Errorf("error %q, want a rollback", result.Error)
	}
	if now := l.network(); now != was {
		t.Errorf("it was\n%s\nand is\n%s", was, now)
	}
}

func TestSTPIsSwitchedOff(t *testing.T) {
	l := newLAN(t)
	l.in(l.host, "sh", "-ec", "ip link add br0 type bridge stp_state 1 forward_delay 200; ip link set br0 address "+nicMAC+" up; ip link set nic0 master br0; ip addr add 192.168.77.30/24 dev br0")
	l.await("STP to let the port forward", 15*time.Second, func() bool {
		return strings.Contains(l.in(l.host, "bridge", "link", "show", "dev", "nic0"), "state forwarding")
	})
	first := l.mustApply(job{Want: static("192.168.77.30/24"), Env: l.env()})
	if !strings.Contains(story(first), "STP is on") {
		t.Errorf("no word of STP:\n%s", story(first))
	}
	if link := l.in(l.host, "ip", "-d", "link", "show", "br0"); !strings.Contains(link, "stp_state 0") {
		t.Errorf("STP is still on:\n%s", link)
	}
	l.pings(l.host, "192.168.77.1")
	if second := l.mustApply(job{Want: static("192.168.77.30/24"), Env: l.env()}); second.Changed != 0 {
		t.Errorf("second run changed %d steps\n%s", second.Changed, story(second))
	}
}
