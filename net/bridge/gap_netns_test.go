//go:build netns

package bridge

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkGap prints how long the host's LAN is silent while br0 takes over,
// measured by UDP packets, one each millisecond, that the router sends back.
// For comparison, in the same run: the sequence of ip(8) commands that people
// type from a howto, in one shell.
func BenchmarkGap(b *testing.B) {
	plain := func(l *lan) {
		l.in(l.host, "sh", "-ec", "ip addr add 192.168.77.10/24 dev nic0; ip route add default via 192.168.77.1")
	}
	ours := measure(b, "hvinstall", plain, func(l *lan) { l.mustApply(job{Want: static("192.168.77.10/24"), Env: l.env(), Only: "net/bridge"}) })
	// An installed host: networkd has the lease, and takes the bridge over.
	installed := func(l *lan) {
		l.dhcp()
		l.bus()
		l.write("/etc/systemd/network/80-wired.network", "[Match]\nName=nic*\n[Network]\nDHCP=yes\n")
		l.networkd()
		l.await("networkd's lease", 20*time.Second, func() bool { return l.address4(l.host, "nic0") != "" })
	}
	handed := measure(b, "networkd", installed, func(l *lan) { l.mustApply(job{Want: wantNIC("nic0"), Env: l.onHost(), Only: "net/bridge"}) })
	howto := measure(b, "howto", plain, func(l *lan) {
		l.in(l.host, "sh", "-ec", `
ip link add br0 type bridge
ip link set br0 address `+nicMAC+`
ip link set br0 up
ip addr flush dev nic0
ip link set nic0 master br0
ip addr add 192.168.77.10/24 dev br0
ip route add default via 192.168.77.1`)
	})
	fmt.Printf("gap, worst of %d each: hvinstall %.1f ms, with the hand-over to networkd %.1f ms; ip(8) by hand %.1f ms (the aim is under 200 ms)\n",
		rounds, ms(ours), ms(handed), ms(howto))
	b.ReportMetric(ms(ours), "ms/gap")
	b.ReportMetric(ms(handed), "ms/gap-networkd")
}

const rounds = 5

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measure(b *testing.B, name string, prepare, move func(*lan)) time.Duration {
	b.Helper()
	var gaps []time.Duration
	for range rounds {
		b.Run(name, func(b *testing.B) {
			l := newLAN(b)
			prepare(l)
			echo := l.roleUnder([]string{"nice", "-n", "-20"}, l.router, "echo", ":9000")
			must(b, echo.Start())
			b.Cleanup(func() { _ = echo.Process.Kill(); _ = echo.Wait() })
			time.Sleep(200 * time.Millisecond)
			done := l.background(l.roleUnder([]string{"nice", "-n", "-20"}, l.host, "stream", "192.168.77.1:9000", "4"))
			started := time.Now()
			move(l)
			if took := time.Since(started); took > 3500*time.Millisecond {
				b.Fatalf("the move took %s, and the stream ended before it: nothing was measured", took)
			}
			var us, sent, lost int64
			line := done()
			if _, err := fmt.Sscanf(line, "gap_us=%d sent=%d lost=%d", &us, &sent, &lost); err != nil {
				b.Fatalf("%q: %v", line, err)
			}
			fmt.Printf("  %-10s gap %7.1f ms, %d of %d packets lost\n", name, float64(us)/1000, lost, sent)
			gaps = append(gaps, time.Duration(us)*time.Microsecond)
		})
	}
	return slices.Max(gaps)
}
