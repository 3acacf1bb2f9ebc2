//go:build netns

package bridge

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// background starts a role, waits for its first line and returns a function
// that waits for its last.
func (l *lan) background(cmd *exec.Cmd) func() string {
	l.t.Helper()
	out, err := cmd.StdoutPipe()
	must(l.t, err)
	cmd.Stderr = os.Stderr
	must(l.t, cmd.Start())
	l.t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		l.t.Fatalf("%v said nothing: %v", cmd.Args, cmd.Wait())
	}
	return func() string {
		l.t.Helper()
		last := ""
		for lines.Scan() {
			last = lines.Text()
		}
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("%v: %v", cmd.Args, err)
		}
		return last
	}
}

func (l *lan) serve() {
	l.t.Helper()
	cmd := l.role(l.router, "serve", ":8080")
	must(l.t, cmd.Start())
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l.await("the router's HTTP server", 5*time.Second, func() bool {
		return exec.Command("ip", "netns", "exec", l.router, "busybox", "wget", "-q", "-O", "/dev/null", "http://192.168.77.1:8080/hello").Run() == nil
	})
}

// rtnlWrites counts the netlink messages by which a traced run changed links,
// addresses, routes or neighbours.
func rtnlWrites(trace string) []string {
	return regexp.MustCompile(`(?m)^.*nlmsg_type=RTM_(?:NEW|DEL|SET)[A-Z]*.*$`).FindAllString(sentOnly(trace), -1)
}

func sentOnly(trace string) string {
	var b strings.Builder
	for line := range strings.Lines(trace) {
		if strings.Contains(line, "sendto(") || strings.Contains(line, "sendmsg(") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// traced runs apply under strace and returns the writes it made.
func (l *lan) traced(j job) (applied, []string) {
	l.t.Helper()
	file := l.dir + "/trace"
	result := l.applyUnder([]string{"strace", "-f", "-s", "256", "-e", "trace=sendto,sendmsg", "-o", file}, j)
	text, err := os.ReadFile(file)
	must(l.t, err)
	if !strings.Contains(string(text), "RTM_GETLINK") {
		l.t.Fatalf("the trace shows no netlink at all:\n%s", text)
	}
	return result, rtnlWrites(string(text))
}

func TestMoveByDHCP(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.serve()
	before := l.udhcpc(l.host, "nic0")
	fetched := l.background(l.role(l.host, "fetch", "http://192.168.77.1:8080/slow"))

	first := l.mustApply(job{Want: wantNIC("nic0"), Env: l.withGuard(l.env())})
	t.Log(story(first))

	if got, want := fetched(), fmt.Sprintf("%d bytes, same=true", streamSize); got != want {
		t.Errorf("the TCP connection brought %q, want %q", got, want)
	}
	if after := l.address4(l.host, "br0"); after != before {
		t.Errorf("br0 has %q, the NIC had %q", after, before)
	}
	if resolv := l.in(l.host, "cat", "/etc/resolv.conf"); resolv != "nameserver 192.168.77.1\n" {
		t.Errorf("a resolv.conf that names a server was changed:\n%s", resolv)
	}
	if left := l.in(l.host, "ip", "-o", "addr", "show", "dev", "nic0"); left != "" {
		t.Errorf("the NIC still has addresses:\n%s", left)
	}
	leases, err := os.ReadFile(l.dir + "/leases")
	must(t, err)
	if !strings.Contains(string(leases), nicMAC+" "+before) {
		t.Errorf("the DHCP server's leases lack %s %s:\n%s", nicMAC, before, leases)
	}
	if link := l.in(l.host, "ip", "-d", "link", "show", "br0"); !strings.Contains(link, nicMAC) || !strings.Contains(link, "stp_state 0") {
		t.Errorf("br0 has not the NIC's MAC, or runs STP:\n%s", link)
	}

	// A VM on the bridge is a host of the LAN.
	l.in(l.host, "ip", "link", "set", "tap0", "master", "br0")
	vm := l.udhcpc(l.vm, "eth0")
	if vm == "" || vm == before {
		t.Fatalf("the VM has the address %q, the host %q", vm, before)
	}
	for _, p := range [][2]string{{l.vm, "192.168.77.1"}, {l.vm, before}, {l.host, vm}, {l.host, "192.168.77.1"}, {l.router, vm}, {l.router, before}} {
		l.pings(p[0], p[1])
	}
	if out := l.in(l.vm, "busybox", "wget", "-q", "-O", "-", "http://192.168.77.1:8080/hello"); out != "hello" {
		t.Errorf("the VM got %q from the router", out)
	}

	// The second run looks and writes nothing, neither netlink nor files.
	stamps := l.stamps()
	second, writes := l.traced(job{Want: wantNIC("nic0"), Env: l.withGuard(l.env())})
	if second.Changed != 0 || second.Error != "" || len(writes) > 0 {
		t.Errorf("second run: changed %d, error %q, netlink writes:\n%s\n%s", second.Changed, second.Error, strings.Join(writes, "\n"), story(second))
	}
	if now := l.stamps(); now != stamps {
		t.Errorf("second run changed files:\n%s\nwas\n%s", now, stamps)
	}
}

// stamps is every file of the target with its change time.
func (l *lan) stamps() string {
	return l.run("find", l.root, l.dir+"/upper", "-printf", "%p %C@ %m %s\n")
}

// TestWriteCounterCounts shows that the counter of netlink writes can fail.
func TestWriteCounterCounts(t *testing.T) {
	l := newLAN(t)
	l.in(l.host, "ip", "addr", "add", "192.168.77.10/24", "dev", "nic0")
	result, writes := l.traced(job{Want: static("192.168.77.10/24"), Env: l.env()})
	if result.Error != "" || len(writes) < 5 {
		t.Errorf("first run: error %q, %d netlink writes, want at least 5:\n%s", result.Error, len(writes), strings.Join(writes, "\n"))
	}
}

func TestLeaseWithoutAnAddressBefore(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.write("/etc/resolv.conf", "search example.org\n")
	result := l.mustApply(job{Want: wantNIC("nic0"), Env: l.env()})
	if resolv := l.in(l.host, "cat", "/etc/resolv.conf"); !strings.HasPrefix(resolv, "search example.org\n") || !strings.Contains(resolv, "\nnameserver 192.168.77.1\n") {
		t.Errorf("no DNS server from the lease in resolv.conf:\n%s", resolv)
	}
	address := l.address4(l.host, "br0")
	if address == "" {
		t.Fatalf("br0 has no lease\n%s", story(result))
	}
	l.pings(l.host, "192.168.77.1")
	if routes := l.in(l.host, "ip", "route"); !strings.Contains(routes, "default via 192.168.77.1 dev br0 proto dhcp") {
		t.Errorf("no default route from the lease:\n%s", routes)
	}
}
