//go:build netns

package filter

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/step"
	"hvinstall/testvm/portscan"
)

// These need root, network namespaces, nft and dnsmasq. The LAN is a bridge in
// the host's namespace, as br0 is; a peer and a VM are on it, and a guest is on
// a network of libvirt's.
//
//	peer ── br0 of the host ── vm
//	        virbr0 of the host ── guest
type lan struct {
	t                     *testing.T
	host, peer, vm, guest string
	scanner               string
}

// listenRole is what the test binary does in the host's namespace.
const listenRole = "listen"

func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != listenRole {
		os.Exit(m.Run())
	}
	for _, address := range os.Args[2:] {
		l, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			for {
				if c, err := l.Accept(); err == nil {
					_ = c.Close()
				}
			}
		}()
	}
	time.Sleep(5 * time.Minute)
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	for program, pkg := range map[string]string{"nft": "nftables", "ip": "iproute2", "dnsmasq": "dnsmasq-base", "busybox": "busybox-static"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", program, pkg)
		}
	}
	id := fmt.Sprintf("hvf%d", os.Getpid())
	l := &lan{t: t, host: id + "h", peer: id + "p", vm: id + "v", guest: id + "g", scanner: filepath.Join(t.TempDir(), "scan")}
	for _, ns := range []string{l.host, l.peer, l.vm, l.guest} {
		l.run("ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		l.run("ip", "-n", ns, "link", "set", "lo", "up")
	}
	for _, bridge := range []string{"br0", "virbr0"} {
		l.in(l.host, "ip link add "+bridge+" type bridge; ip link set "+bridge+" up")
	}
	for _, c := range []struct{ ns, port, bridge, address, address6 string }{
		{l.peer, "tpeer", "br0", "192.168.7.2/24", "fd07::2/64"},
		{l.vm, "tvm", "br0", "192.168.7.3/24", "fd07::3/64"},
		{l.guest, "tguest", "virbr0", "", ""},
	} {
		l.run("ip", "-n", l.host, "link", "add", c.port, "type", "veth", "peer", "name", "eth0", "netns", c.ns)
		l.in(l.host, "ip link set "+c.port+" master "+c.bridge+" up")
		l.in(c.ns, "ip link set eth0 up")
		if c.address != "" {
			l.in(c.ns, "ip addr add "+c.address+" dev eth0; ip addr add "+c.address6+" dev eth0 nodad")
		}
	}
	l.in(l.host, "ip addr add 192.168.7.1/24 dev br0; ip addr add fd07::1/64 dev br0 nodad; ip addr add 192.168.122.1/24 dev virbr0; sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0")
	build := exec.Command("go", "build", "-o", l.scanner, "hvinstall/testvm/portscan/scan")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the scanner: %v\n%s", err, out)
	}
	return l
}

func (l *lan) run(argv ...string) string {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func (l *lan) in(ns, script string) string {
	l.t.Helper()
	return l.run("ip", "netns", "exec", ns, "timeout", "120", "sh", "-ec", script)
}

// serve listens on the host for as long as the test runs.
func (l *lan) serve(argv ...string) {
	l.t.Helper()
	c := exec.CommandContext(l.t.Context(), "ip", append([]string{"netns", "exec", l.host, "timeout", "300"}, argv...)...)
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
}

// scan asks the host's ports from another namespace.
func (l *lan) scan(ns, address string) portscan.Result {
	l.t.Helper()
	var r portscan.Result
	if err := json.Unmarshal([]byte(l.run("ip", "netns", "exec", ns, l.scanner, address)), &r); err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lan) load(p Plan) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "filter.nft")
	if err := os.WriteFile(file, []byte(p.rulesText()), 0o644); err != nil {
		l.t.Fatal(err)
	}
	l.run("ip", "netns", "exec", l.host, "nft", "-f", file)
}

func TestNobodyGetsIn(t *testing.T) {
	l := newLAN(t)
	l.serve(os.Args[0], listenRole, ":22", ":111", ":2049", ":5900", ":8080", ":9100")
	l.in(l.host, "until [ $(ss -Hltn | wc -l) -ge 6 ]; do busybox sleep 0.1; done")
	// The scanner sees what is there: without a filter, everything answers.
	before := l.scan(l.peer, "192.168.7.1")
	if want := []uint16{22, 111, 2049, 5900, 8080, 9100}; !slices.Equal(before.TCP, want) || len(before.TCP)+before.Count() != 65535 {
		t.Fatalf("without a filter %v are open and %d closed, want %v and the rest", before.TCP, before.Count(), want)
	}
	if len(before.UDP) != len(portscan.UDPPorts) {
		t.Errorf("without a filter only %v of the UDP ports answer", before.UDP)
	}

	plan, err := MakePlan([]string{"tcp/8080", "udp/51820", "tcp/9000-9200", "tcp/9100-9300"}, []string{"192.168.7.2/32", "192.168.7.2/32", "fd07::/64"}, Facts{}, false)
	if err != nil {
		t.Fatal(err)
	}
	l.load(plan)
	l.load(plan) // again: it replaces itself

	for _, c := range []struct {
		who, ns, address string
		open             []uint16
	}{
		{"the NFS client", l.peer, "192.168.7.1", []uint16{22, 2049, 8080, 9100}},
		{"a VM on the bridge", l.vm, "192.168.7.1", []uint16{22, 8080, 9100}},
		{"by IPv6", l.vm, "fd07::1", []uint16{22, 2049, 8080, 9100}},
	} {
		r := l.scan(c.ns, c.address)
		if !slices.Equal(r.TCP, c.open) {
			t.Errorf("%s: TCP %v are open, want %v", c.who, r.TCP, c.open)
		}
		// Of the ports that are opened and have no listener, it is told so.
		if want := []portscan.Range{{First: 9000, Last: 9099}, {First: 9101, Last: 9300}}; !slices.Equal(r.Closed, want) {
			t.Errorf("%s: nobody listens and TCP %v answer, want %v", c.who, r.Closed, want)
		}
		if want := []uint16{51820}; !slices.Equal(r.UDP, want) {
			t.Errorf("%s: UDP %v answer, want %v", c.who, r.UDP, want)
		}
	}

	// What the host asks for is answered, and it can be pinged.
	l.in(l.peer, "ping -qc1 -W2 192.168.7.1; ping -qc1 -W2 fd07::1")
	l.in(l.host, "ping -qc1 -W2 192.168.7.2; ping -qc1 -W2 fd07::2; timeout 5 busybox nc 127.0.0.1 9100 </dev/null")
	// Peer and VM talk by the bridge, on any port.
	l.in(l.vm, "busybox nc -l -p 7777 -e cat >/dev/null 2>&1 & busybox sleep 0.5; ip netns exec "+l.peer+" busybox nc -w 2 192.168.7.3 7777 </dev/null")
}

// TestGuestsOfLibvirtsNetwork get a lease and names from the host's dnsmasq,
// and nothing else.
func TestGuestsOfLibvirtsNetwork(t *testing.T) {
	l := newLAN(t)
	l.serve("dnsmasq", "-k", "-C", "/dev/null", "-p", "53", "--interface=virbr0", "--bind-interfaces", "--no-hosts", "--no-resolv", "-u", "root",
		"--dhcp-range=192.168.122.50,192.168.122.60", "--address=/here.test/192.168.122.1", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--pid-file=")
	plan, err := MakePlan(nil, nil, Facts{}, false)
	if err != nil {
		t.Fatal(err)
	}
	l.load(plan)
	out := l.in(l.guest, "busybox udhcpc -i eth0 -n -q -t 10 -T 1 -s /bin/true 2>&1")
	if !strings.Contains(out, "192.168.122.5") && !strings.Contains(out, "192.168.122.6") {
		t.Errorf("no lease:\n%s", out)
	}
	l.in(l.guest, "ip addr add 192.168.122.70/24 dev eth0")
	if r := l.scan(l.guest, "192.168.122.1"); !slices.Equal(r.TCP, []uint16{53}) || !slices.Equal(r.UDP, []uint16{53, 69, 547}) {
		t.Errorf("TCP %v and UDP %v answer a guest, want 53, and 53, 69 and 547", r.TCP, r.UDP)
	}
}

// TestUnloaded: a table that is missing, or not as planned, is seen.
func TestUnloaded(t *testing.T) {
	if os.Getenv("HVINSTALL_FILTER_ALONE") == "" {
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run", "^TestUnloaded$", "-test.v")
		cmd.Env = append(os.Environ(), "HVINSTALL_FILTER_ALONE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("in a namespace of its own: %v\n%s", err, out)
		}
		return
	}
	plan, err := MakePlan([]string{"tcp/8080", "tcp/9000-9010", "udp/51820"}, []string{"192.168.1.0/24", "fd00::/64"}, Facts{}, false)
	if err != nil {
		t.Fatal(err)
	}
	differs := func(want string) {
		t.Helper()
		if why, err := plan.unloaded(context.Background()); err != nil || !strings.Contains(why, want) || (why == "") != (want == "") {
			t.Errorf("unloaded: %q, %v; want %q", why, err, want)
		}
	}
	nft := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command("nft", argv...).CombinedOutput(); err != nil {
			t.Fatalf("nft %v: %v\n%s", argv, err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "filter.nft")
	if err := os.WriteFile(file, []byte(plan.rulesText()), 0o644); err != nil {
		t.Fatal(err)
	}
	differs("not loaded")
	nft("-f", file)
	differs("")
	nft("add", "table", "inet", "mine")
	differs("")
	nft("insert", "rule", "inet", Table, "input", "tcp", "dport", "9999", "accept")
	differs("not the layout's")
	nft("-f", file)
	differs("")
	nft("flush", "ruleset")
	differs("not loaded")
}

// TestUnit: systemd reads the unit, and the second run changes nothing.
func TestUnit(t *testing.T) {
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	if err := os.MkdirAll(units, 0o755); err != nil {
		t.Fatal(err)
	}
	plan, err := MakePlan(nil, nil, Facts{}, false)
	if err != nil {
		t.Fatal(err)
	}
	runner := step.Runner{}
	for _, want := range []int{2, 0} {
		if n, err := runner.Run(t.Context(), plan.Steps(Env{Root: root})); n != want || err != nil {
			t.Errorf("changed %d steps, %v; want %d", n, err, want)
		}
	}
	verify := func() (string, error) {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(root, unitFile)).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(); err != nil || strings.Contains(out, unitName) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(root, unitFile), []byte("[Service]\nNonsense=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil && !strings.Contains(out, unitName) {
		t.Errorf("systemd-analyze finds no fault with a broken unit:\n%s", out)
	}
}
