//go:build netns

package bridge

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// network is the host's links, addresses and routes without what changes by
// itself: lifetimes and interface numbers.
func (l *lan) network() string {
	l.t.Helper()
	text := l.in(l.host, "sh", "-c", "ip -o link; ip addr; ip route show table all; ip -6 route show table all; cat /proc/sys/net/ipv6/conf/nic0/disable_ipv6")
	text = regexp.MustCompile(`(valid_lft|preferred_lft|expires) \S+`).ReplaceAllString(text, "$1 …")
	text = regexp.MustCompile(`(?m)^\d+: |@if\d+`).ReplaceAllString(text, "")
	// An address that comes back is not checked again for uniqueness.
	text = strings.ReplaceAll(text, " nodad", "")
	lines := strings.Split(text, "\n")
	slices.Sort(lines) // order among equals is the kernel's
	return strings.Join(lines, "\n")
}

// settle waits until addresses are no longer tentative.
func (l *lan) settle() {
	l.t.Helper()
	l.await("IPv6 addresses to settle", 5*time.Second, func() bool {
		return !strings.Contains(l.in(l.host, "ip", "-6", "addr"), "tentative")
	})
}

// crowd gives the NIC one of everything that a move must carry.
func (l *lan) crowd() {
	l.t.Helper()
	l.in(l.host, "sh", "-ec", `
ip addr add 192.168.77.10/24 dev nic0 valid_lft 3000 preferred_lft 2000
ip addr add 192.168.77.11/24 dev nic0 label nic0:1
ip addr add 10.9.0.1 peer 10.9.0.2/32 dev nic0
ip -6 addr add fd77::10/64 dev nic0 nodad
ip -6 addr add fd78::10/64 dev nic0 nodad noprefixroute
ip route add default via 192.168.77.1 dev nic0 proto dhcp src 192.168.77.10 metric 100
ip route add 172.16.0.0/12 via 192.168.77.254 dev nic0 mtu 1400
ip route add 203.0.113.9 dev nic0 scope link
ip route add 198.51.100.0/24 via 203.0.113.1 dev nic0 onlink
ip route add 192.0.2.0/24 via 192.168.77.1 dev nic0 table 77
ip -6 route add fd79::/64 via fd77::1 dev nic0 metric 50
ip -6 route add default via fd77::1 dev nic0 proto static metric 1024
ip -6 route add fd7a::/64 dev nic0 expires 3000`)
	l.settle()
	l.pings(l.host, "192.168.77.1")
}

func TestEverythingMoves(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	was := l.network()
	l.mustApply(job{Want: static("192.168.77.10/24"), Env: l.env()})
	now := l.network()
	for line := range strings.Lines(was) {
		line = strings.TrimRight(line, "\n")
		if !strings.Contains(line, "nic0") || strings.Contains(line, "<") || strings.Contains(line, "fe80::/64") || strings.Contains(line, "ff00::/8") || strings.Contains(line, "broadcast") {
			continue
		}
		moved := strings.ReplaceAll(strings.TrimSpace(line), "nic0", "br0")
		if !strings.Contains(now, moved) {
			t.Errorf("%q did not move to br0", line)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		if left := l.in(l.host, "ip", family, "route", "show", "table", "all", "dev", "nic0"); left != "" {
			t.Errorf("routes are left on the NIC:\n%s", left)
		}
	}
	if life := l.in(l.host, "ip", "-4", "addr", "show", "dev", "br0"); !regexp.MustCompile(`valid_lft (2|3)\d\d\dsec preferred_lft (1|2)\d\d\dsec`).MatchString(life) {
		t.Errorf("the lifetime did not move:\n%s", life)
	}
	if t.Failed() {
		t.Logf("was\n%s\nis\n%s", was, now)
	}
}

func TestRollbackWhenTheRouterIsGone(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		l := newLAN(t)
		l.crowd()
		was := l.network()
		// The cable stays plugged in and the router is silent.
		l.in(l.router, "ip", "link", "set", "lan0", "down")
		env := l.env()
		env.Timeout = 1500 * time.Millisecond
		if guarded {
			env = l.withGuard(env)
		}
		result := l.apply(job{Want: static("192.168.77.10/24"), Env: env})
		for _, part := range []string{"192.168.77.1", "did not answer from br0 within 1.5s", "everything was put back as it was"} {
			if !strings.Contains(result.Error, part) {
				t.Errorf("error %q does not say %q", result.Error, part)
			}
		}
		l.settle()
		if now := l.network(); now != was {
			t.Errorf("guard %v: it was\n%s\nand is\n%s", guarded, was, now)
		}
		if files := l.run("find", l.root+"/etc", "-name", "*hvinstall-br0*"); files != "" {
			t.Errorf("the next boot would still make the bridge:\n%s", files)
		}
		l.in(l.router, "ip", "link", "set", "lan0", "up")
		l.pings(l.host, "192.168.77.1")
		if guarded {
			l.mustApply(job{Want: static("192.168.77.10/24"), Env: env})
			l.pings(l.host, "192.168.77.1")
		}
	}
}

// killed starts a run that waits for a silent router and kills it there.
func (l *lan) killed(env Env) {
	l.t.Helper()
	cmd := l.role(l.host, "apply")
	input, err := json.Marshal(job{Want: static("192.168.77.10/24"), Env: env})
	must(l.t, err)
	cmd.Stdin = bytes.NewReader(input)
	must(l.t, cmd.Start())
	l.await("the NIC to be a port", 5*time.Second, func() bool {
		return strings.Contains(l.in(l.host, "ip", "-o", "link", "show", "nic0"), "master br0") &&
			l.address4(l.host, "nic0") == ""
	})
	must(l.t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func TestGuardPutsBackWhatAKilledRunLeft(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	was := l.network()
	l.in(l.router, "ip", "link", "set", "lan0", "down")
	env := l.withGuard(l.env())
	env.Timeout = 20 * time.Second
	l.killed(env)
	l.await("the guard", 5*time.Second, func() bool {
		_, err := os.Stat(l.dir + "/state/net-br0.json")
		return os.IsNotExist(err)
	})
	l.settle()
	if now := l.network(); now != was {
		t.Errorf("it was\n%s\nand is\n%s", was, now)
	}
}

func TestNextRunFinishesWhatAKilledRunLeft(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	was := l.network()
	l.in(l.router, "ip", "link", "set", "lan0", "down")
	env := l.env()
	env.Timeout = 20 * time.Second
	l.killed(env)

	// With the router still silent, the next run puts back what was before the
	// killed one, not what that one left.
	env.Timeout = time.Second
	if result := l.apply(job{Want: static("192.168.77.10/24"), Env: env}); !strings.Contains(result.Error, "everything was put back") {
		t.Errorf("error %q, want a rollback", result.Error)
	}
	l.settle()
	if now := l.network(); now != was {
		t.Errorf("it was\n%s\nand is\n%s", was, now)
	}
	env.Timeout = 20 * time.Second
	l.killed(env)
	l.in(l.router, "ip", "link", "set", "lan0", "up")
	l.mustApply(job{Want: static("192.168.77.10/24"), Env: l.env()})
	l.pings(l.host, "192.168.77.1")
	if found := l.apply(job{Want: static("192.168.77.10/24"), Env: l.env()}); found.Changed != 0 {
		t.Errorf("the run after it changed %d steps\n%s", found.Changed, story(found))
	}
}

// TestHangUpDoesNotEndTheMove is an SSH session that drops in the middle.
func TestHangUpDoesNotEndTheMove(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	l.in(l.router, "ip", "link", "set", "lan0", "down")
	env := l.env()
	env.Timeout = 20 * time.Second
	cmd := l.role(l.host, "apply")
	input, err := json.Marshal(job{Want: static("192.168.77.10/24"), Env: env})
	must(t, err)
	cmd.Stdin = bytes.NewReader(input)
	must(t, cmd.Start())
	l.await("the NIC to be a port", 5*time.Second, func() bool { return l.address4(l.host, "nic0") == "" })
	must(t, cmd.Process.Signal(syscall.SIGHUP))
	time.Sleep(200 * time.Millisecond)
	l.in(l.router, "ip", "link", "set", "lan0", "up")
	if err := cmd.Wait(); err != nil {
		t.Errorf("the run ended by %v", err)
	}
	l.pings(l.host, "192.168.77.1")
	if second := l.mustApply(job{Want: static("192.168.77.10/24"), Env: env}); second.Changed != 0 {
		t.Errorf("second run changed %d steps\n%s", second.Changed, story(second))
	}
}

// TestInterruptPutsBack is Ctrl-C while the LAN is silent.
func TestInterruptPutsBack(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	was := l.network()
	l.in(l.router, "ip", "link", "set", "lan0", "down")
	env := l.withGuard(l.env())
	env.Timeout = 20 * time.Second
	cmd := l.role(l.host, "apply")
	input, err := json.Marshal(job{Want: static("192.168.77.10/24"), Env: env})
	must(t, err)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &out
	must(t, cmd.Start())
	l.await("the NIC to be a port", 5*time.Second, func() bool { return l.address4(l.host, "nic0") == "" })
	must(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "everything was put back as it was") {
		t.Errorf("the run ended by %v and said %s", err, out.String())
	}
	l.settle()
	if now := l.network(); now != was {
		t.Errorf("it was\n%s\nand is\n%s", was, now)
	}
}

// TestRouteOnBothIsNotLost is a move that was killed when an IPv6 route was on
// the bridge and on the NIC: the kernel shows these as one route of two hops.
func TestRouteOnBothIsNotLost(t *testing.T) {
	l := newLAN(t)
	l.crowd()
	l.in(l.host, "sh", "-ec", "ip link add br0 type bridge forward_delay 0; ip link set br0 address "+nicMAC+
		"; ip link set nic0 master br0; ip link set br0 up; ip -6 addr add fd77::10/64 dev br0 nodad; ip -6 route append fd79::/64 via fd77::1 dev br0 metric 50")
	if both := l.in(l.host, "ip", "-6", "route", "show", "fd79::/64"); strings.Count(both, "nexthop") != 2 {
		t.Fatalf("the route has not two hops:\n%s", both)
	}
	l.mustApply(job{Want: static("192.168.77.10/24"), Env: l.env()})
	if route := l.in(l.host, "ip", "-6", "route", "show", "fd79::/64"); !strings.HasPrefix(route, "fd79::/64 via fd77::1 dev br0 metric 50") {
		t.Errorf("the route is %q", route)
	}
}
