//go:build netns

package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"hvinstall/configs"
)

// bus starts a message bus in the host, which networkctl needs. As root it would
// insist on a limit of open files that containers do not allow.
func (l *lan) bus() {
	l.t.Helper()
	const conf = "/run/dbus/bus.conf"
	l.write(conf, `<busconfig>
<listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`)
	l.start(l.host, "setpriv", "--reuid=messagebus", "--regid=messagebus", "--clear-groups", "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+conf)
	l.await("the bus", 5*time.Second, func() bool {
		return exec.Command("nsenter", "-t", fmt.Sprint(l.holder.Process.Pid), "-m", "test", "-S", "/run/dbus/system_bus_socket").Run() == nil
	})
}

func (l *lan) start(ns string, argv ...string) *exec.Cmd {
	l.t.Helper()
	all := append(l.enter(ns), argv...)
	cmd := exec.Command(all[0], all[1:]...)
	log, err := os.Create(l.dir + "/" + strings.ReplaceAll(argv[0], "/", "_") + ".log")
	must(l.t, err)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug")
	must(l.t, cmd.Start())
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if l.t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				l.t.Logf("%s:\n%s", argv[0], text[max(0, len(text)-20000):])
			}
		}
	})
	return cmd
}

// networkd starts the real daemon; with /sys read-only it does without udev.
func (l *lan) networkd() *exec.Cmd {
	l.t.Helper()
	return l.start(l.host, "/lib/systemd/systemd-networkd")
}

func (l *lan) write(file, text string) {
	l.t.Helper()
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(l.holder.Process.Pid), "-m", "sh", "-c", "mkdir -p $(dirname "+file+"); cat > "+file)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("writing %s: %v\n%s", file, err, out)
	}
}

// onHost is the environment of an installed host: its own /.
func (l *lan) onHost() Env {
	env := l.withGuard(l.env())
	env.Root, env.Timeout = "/", 15*time.Second
	return env
}

func TestHandOverToNetworkd(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.serve()
	l.bus()
	l.write("/etc/systemd/network/80-wired.network", "[Match]\nName=nic* en*\n[Network]\nDHCP=yes\n")
	l.networkd()
	l.await("networkd's lease", 20*time.Second, func() bool { return l.address4(l.host, "nic0") != "" })
	before := l.address4(l.host, "nic0")
	l.await("networkd to settle", 20*time.Second, func() bool {
		return strings.Contains(l.in(l.host, "networkctl", "status", "nic0"), "configured")
	})
	fetched := l.background(l.role(l.host, "fetch", "http://192.168.77.1:8080/slow"))

	result := l.mustApply(job{Want: wantNIC("nic0"), Env: l.onHost()})
	t.Log(story(result))

	if got, want := fetched(), fmt.Sprintf("%d bytes, same=true", streamSize); got != want {
		t.Errorf("the TCP connection brought %q, want %q", got, want)
	}
	if after := l.address4(l.host, "br0"); after != before {
		t.Errorf("br0 has %q, the NIC had %q", after, before)
	}
	if left := l.in(l.host, "ip", "-o", "addr", "show", "dev", "nic0"); left != "" {
		t.Errorf("the NIC has addresses:\n%s", left)
	}
	status := ""
	// A router advertisement makes it "configuring" again for a moment.
	l.await("br0 to settle", 10*time.Second, func() bool {
		status = l.in(l.host, "networkctl", "status", "br0")
		return strings.Contains(status, "routable (configured)")
	})
	for _, want := range []string{"/etc/systemd/network/05-hvinstall-br0.network", "DHCP4 via 192.168.77.1", "DNS: 192.168.77.1"} {
		if !strings.Contains(status, want) {
			t.Errorf("networkctl status br0 lacks %q:\n%s", want, status)
		}
	}
	if status := l.in(l.host, "networkctl", "status", "nic0"); !regexp.MustCompile(`(enslaved|carrier) \(configured\)`).MatchString(status) {
		t.Errorf("networkctl status nic0:\n%s", status)
	}
	// The NIC's own DHCP client, which networkd stopped, must not have given the
	// address away.
	log, err := os.ReadFile(l.dir + "/dnsmasq.log")
	must(t, err)
	if strings.Contains(string(log), "DHCPRELEASE") {
		t.Errorf("the lease was released:\n%s", log)
	}
	second, writes := l.traced(job{Want: wantNIC("nic0"), Env: l.onHost()})
	if second.Changed != 0 || second.Error != "" || len(writes) > 0 {
		t.Errorf("second run: changed %d, error %q, writes %v\n%s", second.Changed, second.Error, writes, story(second))
	}
	l.pings(l.host, "192.168.77.1")
}

func TestRollbackUnderNetworkd(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.bus()
	l.write("/etc/systemd/network/80-wired.network", "[Match]\nName=nic* en*\n[Network]\nDHCP=yes\n")
	l.networkd()
	l.await("networkd's lease", 20*time.Second, func() bool { return l.address4(l.host, "nic0") != "" })
	before := l.address4(l.host, "nic0")
	l.pings(l.host, "192.168.77.1")
	l.in(l.router, "ip", "link", "set", "lan0", "down")
	env := l.onHost()
	env.Timeout = 2 * time.Second
	result := l.apply(job{Want: wantNIC("nic0"), Env: env})
	if !strings.Contains(result.Error, "everything was put back") {
		t.Errorf("error %q, want a rollback", result.Error)
	}
	l.in(l.router, "ip", "link", "set", "lan0", "up")
	if after := l.address4(l.host, "nic0"); after != before {
		t.Errorf("the NIC has %q, it had %q", after, before)
	}
	if out := l.in(l.host, "sh", "-c", "ip link show br0 2>&1 || true; ls /etc/systemd/network /run/systemd/network 2>/dev/null || true"); strings.Contains(out, "br0:") || strings.Contains(out, "hvinstall") {
		t.Errorf("the bridge or its files are still there:\n%s", out)
	}
	l.pings(l.host, "192.168.77.1")
}

// TestBootWithRenamedCard shows what a later boot does: networkd alone makes
// the bridge, although the card has got another name.
func TestBootWithRenamedCard(t *testing.T) {
	for _, mode := range []string{"dhcp", "static"} {
		t.Run(mode, func(t *testing.T) {
			l := newLAN(t)
			l.dhcp()
			l.bus()
			want := wantNIC("nic0")
			if mode == "static" {
				want.Addresses, want.Gateway, want.DNS = []string{"192.168.77.30/24", "fd77::30/64"}, []string{"192.168.77.1"}, []string{"192.168.77.1"}
			}
			env := l.onHost()
			env.Live = false
			l.mustApply(job{Want: want, Env: env})
			l.in(l.host, "sh", "-ec", "ip link set nic0 down; ip link set nic0 name enp9s0")
			l.networkd()
			l.await("an address on br0", 20*time.Second, func() bool {
				out, _ := exec.Command("ip", "-n", l.host, "-4", "-o", "addr", "show", "dev", "br0").Output()
				return len(out) > 0
			})
			link := l.in(l.host, "ip", "-d", "link", "show", "br0")
			if !strings.Contains(link, nicMAC) || !strings.Contains(link, "stp_state 0") {
				t.Errorf("br0 has not the planned MAC, or runs STP:\n%s", link)
			}
			if ports := l.in(l.host, "bridge", "link"); !strings.Contains(ports, "enp9s0") {
				t.Errorf("the renamed card is no port:\n%s", ports)
			}
			l.await("the router to answer", 10*time.Second, func() bool {
				return exec.Command("ip", "netns", "exec", l.host, "ping", "-c", "1", "-W", "1", "192.168.77.1").Run() == nil
			})
			if left := l.in(l.host, "ip", "-o", "addr", "show", "dev", "enp9s0"); left != "" {
				t.Errorf("the card has addresses:\n%s", left)
			}
			if mode == "dhcp" {
				leases, err := os.ReadFile(l.dir + "/leases")
				must(t, err)
				if !regexp.MustCompile(nicMAC + ` \S+ \S+ 01:` + nicMAC).Match(leases) {
					t.Errorf("the lease is not by MAC:\n%s", leases)
				}
			}
			// The run after the boot finds everything as planned.
			want.NIC = configs.NIC{MAC: nicMAC}
			env.Live = true
			l.await("a run without changes", 10*time.Second, func() bool {
				look := l.apply(job{Want: want, Env: env, Look: true})
				for _, f := range look.Found {
					if f.State != "done" && f.Step != "net/netfilter" {
						t.Log(f)
						return false
					}
				}
				return len(look.Found) > 0
			})
		})
	}
}

// TestKilledDuringHandOver has the run die while networkd already has the new
// files; the guard gives it the old ones back.
func TestKilledDuringHandOver(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.bus()
	l.write("/etc/systemd/network/80-wired.network", "[Match]\nName=nic* en*\n[Network]\nDHCP=yes\n")
	daemon := l.networkd()
	l.await("networkd's lease", 20*time.Second, func() bool { return l.address4(l.host, "nic0") != "" })
	before := l.address4(l.host, "nic0")
	l.pings(l.host, "192.168.77.1")

	must(t, daemon.Process.Signal(syscall.SIGSTOP)) // nsenter became networkd
	run := l.role(l.host, "apply")
	input, err := json.Marshal(job{Want: wantNIC("nic0"), Env: l.onHost()})
	must(t, err)
	run.Stdin = bytes.NewReader(input)
	must(t, run.Start())
	l.await("the new files", 10*time.Second, func() bool {
		return strings.Contains(l.in(l.host, "ls", "/etc/systemd/network"), "06-hvinstall")
	})
	must(t, run.Process.Kill())
	_ = run.Wait()
	must(t, daemon.Process.Signal(syscall.SIGCONT))
	l.await("the guard", 20*time.Second, func() bool {
		_, err := os.Stat(l.dir + "/state/net-br0.json")
		return os.IsNotExist(err)
	})
	status := ""
	defer func() { t.Log(status) }()
	l.await("the NIC's address", 20*time.Second, func() bool { return l.address4(l.host, "nic0") == before })
	l.await("networkd to settle", 20*time.Second, func() bool {
		status = l.in(l.host, "networkctl", "status", "nic0")
		return regexp.MustCompile(`80-wired.network(?s:.*)routable \(configured\)`).MatchString(status)
	})
	l.pings(l.host, "192.168.77.1")
	if out := l.in(l.host, "sh", "-c", "ip link show br0 2>&1 || true; ls /etc/systemd/network"); strings.Contains(out, "br0:") || strings.Contains(out, "hvinstall") {
		t.Errorf("the bridge or its files are still there:\n%s", out)
	}
}

// TestLiveSystemsNetworkd installs to another root while the live system's
// networkd looks after the network: it is told by /run, and renews the lease.
func TestLiveSystemsNetworkd(t *testing.T) {
	l := newLAN(t)
	l.dhcp()
	l.bus()
	l.write("/etc/systemd/network/80-wired.network", "[Match]\nName=nic*\n[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=mac\n")
	l.networkd()
	l.await("networkd's lease", 20*time.Second, func() bool { return l.address4(l.host, "nic0") != "" })
	before := l.address4(l.host, "nic0")
	env := l.withGuard(l.env())
	env.Timeout = 15 * time.Second
	l.mustApply(job{Want: wantNIC("nic0"), Env: env})
	if after := l.address4(l.host, "br0"); after != before {
		t.Errorf("br0 has %q, the NIC had %q", after, before)
	}
	if status := l.in(l.host, "networkctl", "status", "br0"); !strings.Contains(status, "/run/systemd/network/05-hvinstall-br0.network") {
		t.Errorf("networkctl status br0:\n%s", status)
	}
	if files := l.in(l.host, "ls", "/etc/systemd/network"); strings.Contains(files, "hvinstall") {
		t.Errorf("the live system's own files were changed: %s", files)
	}
	target, err := os.ReadFile(l.root + "/etc/systemd/network/05-hvinstall-br0.network")
	must(t, err)
	if !strings.Contains(string(target), "ClientIdentifier=mac") {
		t.Errorf("the installed host would ask as another client:\n%s", target)
	}
	if second := l.mustApply(job{Want: wantNIC("nic0"), Env: env}); second.Changed != 0 {
		t.Errorf("second run changed %d steps\n%s", second.Changed, story(second))
	}
}
