//go:build netns

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/step"
)

// These tests need root and the programs below. Each makes three network
// namespaces joined by veth pairs, all on one switch:
//
//	router (dnsmasq, HTTP) ── nic0 host (hvinstall runs here) ── vm
//
// The test binary runs itself again inside them, as the roles of TestMain.
var needed = map[string]string{
	"ip": "iproute2", "dnsmasq": "dnsmasq-base", "busybox": "busybox-static", "ping": "iputils-ping",
	"strace": "strace", "nsenter": "util-linux", "unshare": "util-linux", "dbus-daemon": "dbus",
	"networkctl": "systemd", "systemd-analyze": "systemd",
}

const roleVariable = "HVINSTALL_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var roles = map[string]func([]string) error{
	"apply": applyRole, "guard": func([]string) error { return Guard(os.Stdin) },
	"serve": serveRole, "fetch": fetchRole, "echo": echoRole, "stream": streamRole,
	"tag": tagRole, "hear": hearRole,
}

// job is what the apply role does: hvinstall's own flow, from probe to steps.
type job struct {
	Want configs.Network
	Env  Env
	Look bool // check only
	Only string
}

// applied is what it prints.
type applied struct {
	Plan     Plan           `json:"plan"`
	Refusals []step.Refusal `json:"refusals,omitempty"`
	Changed  int            `json:"changed"`
	Error    string         `json:"error,omitempty"`
	Found    []found        `json:"found,omitempty"`
	Events   []step.Event   `json:"events,omitempty"`
}

// found is step.Found as it reads in JSON.
type found struct{ Step, State, Why string }

func applyRole([]string) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	facts, err := Probe(ctx)
	if err != nil {
		return err
	}
	var result applied
	result.Plan, result.Refusals, _ = MakePlan(j.Want, facts)
	if len(result.Refusals) == 0 {
		var steps []step.Step
		for _, s := range result.Plan.Steps(j.Env) {
			if j.Only == "" || s.ID == j.Only {
				s.After = nil
				steps = append(steps, s)
			}
		}
		if j.Look {
			var looked []step.Found
			looked, err = step.Look(ctx, steps, 1)
			for _, f := range looked {
				result.Found = append(result.Found, found{f.Step, f.State.String(), f.Why})
			}
		} else {
			runner := step.Runner{Events: func(e step.Event) { result.Events = append(result.Events, e) }}
			result.Changed, err = runner.Run(ctx, steps)
		}
		if err != nil {
			result.Error = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// lan is the three namespaces of one test.
type lan struct {
	t                testing.TB
	router, host, vm string
	dir              string // temporary files
	root             string // the system that later boots run
	holder           *exec.Cmd
	nicMAC           string
}

const (
	nicMAC = "02:00:00:77:00:10"
	vmMAC  = "02:00:00:77:00:20"
)

func newLAN(t testing.TB) *lan {
	t.Helper()
	for program, pkg := range needed {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", program, pkg)
		}
	}
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	id := fmt.Sprintf("hv%x", time.Now().UnixNano()&0xffffffff)
	l := &lan{t: t, router: id + "r", host: id + "h", vm: id + "v", dir: t.TempDir(), nicMAC: nicMAC}
	l.root = filepath.Join(l.dir, "root")
	for _, folder := range []string{"usr/lib/systemd/system", "etc/systemd/system", "run"} {
		must(t, os.MkdirAll(filepath.Join(l.root, folder), 0o755))
	}
	for _, unit := range []string{"systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"} {
		text, err := os.ReadFile("/lib/systemd/system/" + unit)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(l.root, "usr/lib/systemd/system", unit), text, 0o644))
	}
	t.Cleanup(func() {
		for _, ns := range []string{l.router, l.host, l.vm} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, ns := range []string{l.router, l.host, l.vm} {
		l.run("ip", "netns", "add", ns)
		l.in(ns, "ip", "link", "set", "lo", "up")
	}
	script := fmt.Sprintf(`
ip -n %[1]s link add lan0 type bridge forward_delay 0 stp_state 0
ip -n %[1]s link set lan0 address 02:00:00:77:00:01 mtu 9000
ip -n %[1]s link add port0 mtu 9000 type veth peer name nic0 netns %[2]s
ip -n %[1]s link set port0 master lan0 up
ip -n %[2]s link set nic0 address %[4]s mtu 1500
ip -n %[1]s addr add 192.168.77.1/24 dev lan0
ip -n %[1]s addr add fd77::1/64 dev lan0 nodad
ip -n %[1]s link set lan0 up
ip -n %[2]s link set nic0 up
ip -n %[2]s link add tap0 mtu 9000 type veth peer name eth0 netns %[3]s
ip -n %[3]s link set eth0 address %[5]s up
ip -n %[2]s link set tap0 up
`, l.router, l.host, l.vm, nicMAC, vmMAC)
	l.run("sh", "-ec", script)
	l.hold()
	return l
}

// hold keeps the host's mount namespace: its own /run, and an /etc that can be
// written without touching the machine's.
func (l *lan) hold() {
	l.t.Helper()
	for _, folder := range []string{"upper", "work"} {
		must(l.t, os.MkdirAll(filepath.Join(l.dir, folder), 0o755))
	}
	ready := filepath.Join(l.dir, "ready")
	l.holder = exec.Command("ip", "netns", "exec", l.host, "unshare", "-m", "--propagation", "private", "sh", "-ec", fmt.Sprintf(`
mount -t overlay overlay -o lowerdir=/etc,upperdir=%[1]s/upper,workdir=%[1]s/work /etc
rm -f /etc/resolv.conf /etc/machine-id
echo 'nameserver 192.168.77.1' > /etc/resolv.conf
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
rm -f /etc/systemd/network/*
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd
chown messagebus /run/dbus
mount -o remount,bind,ro /sys
touch %[2]s
exec sleep 170`, l.dir, ready))
	var out bytes.Buffer
	l.holder.Stdout, l.holder.Stderr = &out, &out
	must(l.t, l.holder.Start())
	l.t.Cleanup(func() { _ = l.holder.Process.Kill(); _ = l.holder.Wait() })
	l.await("the host's namespace", 5*time.Second, func() bool { _, err := os.Stat(ready); return err == nil })
}

// dhcp runs dnsmasq in the router: DHCPv4 and router advertisements.
func (l *lan) dhcp() {
	l.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", l.router, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
		"--interface=lan0", "--bind-interfaces", "--except-interface=lo", "--port=0", "--no-ping",
		"--dhcp-range=192.168.77.100,192.168.77.150,255.255.255.0,1h", "--dhcp-option=6,192.168.77.1",
		"--enable-ra", "--dhcp-range=fd77::,ra-only,64,1h", "--ra-param=lan0,10,3600",
		"--log-dhcp", "--dhcp-leasefile="+l.dir+"/leases", "--pid-file="+l.dir+"/dnsmasq.pid", "--user=root", "--log-facility="+l.dir+"/dnsmasq.log")
	must(l.t, cmd.Start())
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l.await("dnsmasq", 5*time.Second, func() bool { _, err := os.Stat(l.dir + "/dnsmasq.pid"); return err == nil })
}

// udhcpc gets a lease with another client than ours and returns the address.
func (l *lan) udhcpc(ns, link string) string {
	l.t.Helper()
	script := filepath.Join(l.dir, "udhcpc.sh")
	must(l.t, os.WriteFile(script, []byte(`#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface valid_lft $lease preferred_lft $lease
ip route add default via $router dev $interface proto dhcp src $ip metric 100
`), 0o755))
	l.in(ns, "busybox", "udhcpc", "-i", link, "-n", "-q", "-t", "10", "-T", "1", "-s", script)
	return l.address4(ns, link)
}

// address4 is the first IPv4 address of an interface, or "".
func (l *lan) address4(ns, link string) string {
	l.t.Helper()
	for _, word := range strings.Fields(l.in(ns, "ip", "-4", "-o", "addr", "show", "dev", link)) {
		if prefix, err := netip.ParsePrefix(word); err == nil {
			return prefix.Addr().String()
		}
	}
	return ""
}

// run is a command on the machine.
func (l *lan) run(argv ...string) string {
	l.t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// in is a command in a namespace.
func (l *lan) in(ns string, argv ...string) string {
	l.t.Helper()
	return l.run(append(l.enter(ns), argv...)...)
}

func (l *lan) enter(ns string) []string {
	if ns == l.host && l.holder != nil {
		return []string{"nsenter", "-t", fmt.Sprint(l.holder.Process.Pid), "-m", "-n"}
	}
	return []string{"ip", "netns", "exec", ns}
}

// role starts the test binary in a namespace.
func (l *lan) role(ns, role string, argv ...string) *exec.Cmd {
	return l.roleUnder(nil, ns, role, argv...)
}

func (l *lan) roleUnder(wrapper []string, ns, role string, argv ...string) *exec.Cmd {
	self, err := os.Executable()
	must(l.t, err)
	all := append(l.enter(ns), wrapper...)
	all = append(append(all, self), argv...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (l *lan) env() Env {
	return Env{Root: l.root, Live: true, Timeout: 3 * time.Second, State: filepath.Join(l.dir, "state")}
}

// withGuard makes the test binary its own guard.
func (l *lan) withGuard(e Env) Env {
	self, err := os.Executable()
	must(l.t, err)
	e.Guard = []string{"/usr/bin/env", roleVariable + "=guard", self}
	return e
}

func wantNIC(name string) configs.Network {
	return configs.Network{Bridge: "br0", NIC: configs.NIC{Name: name}}
}

// apply runs hvinstall's flow in the host.
func (l *lan) apply(j job) applied {
	l.t.Helper()
	return l.applyUnder(nil, j)
}

func (l *lan) applyUnder(wrapper []string, j job) applied {
	l.t.Helper()
	cmd := l.roleUnder(wrapper, l.host, "apply")
	input, err := json.Marshal(j)
	must(l.t, err)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("apply: %v\n%s%s", err, out.String(), errs.String())
	}
	var result applied
	must(l.t, json.Unmarshal(out.Bytes(), &result))
	return result
}

// applied fails the test unless the run came to its end.
func (l *lan) mustApply(j job) applied {
	l.t.Helper()
	result := l.apply(j)
	if len(result.Refusals) > 0 || result.Error != "" {
		l.t.Fatalf("refusals %v, error %q\n%s", result.Refusals, result.Error, story(result))
	}
	return result
}

func story(r applied) string {
	var b strings.Builder
	for _, e := range r.Events {
		fmt.Fprintf(&b, "%-13s %-14s %s%s (%s)\n", e.Kind, e.Step, e.Message, e.Error, e.Elapsed.Round(time.Millisecond))
	}
	return b.String()
}

func (l *lan) await(what string, timeout time.Duration, ready func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(timeout); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within %s", what, timeout)
		}
	}
}

func (l *lan) pings(ns, to string) {
	l.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "ping", "-c", "1", "-W", "2", to).CombinedOutput()
	if err != nil {
		l.t.Errorf("ping %s from %s: %v\n%s\n%s", to, ns, err, out, l.in(l.host, "sh", "-c", "ip addr; ip route; ip -6 route; bridge link"))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
