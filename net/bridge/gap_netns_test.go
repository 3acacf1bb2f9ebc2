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
	ours := measure(b, "hvinstall", func(l *lan) { l.mustApply(job{Want: static("192.168.77.10/24"), Env: l.env(), Only: "net/bridge"}) })
	howto := measure(b, "howto", func(l *lan) {
		l.in(l.host, "sh", "-ec", `
ip link add br0 type bridge
ip link set br0 address `+nicMAC+`
ip link set br0 up
ip addr flush dev nic0
ip link set nic0 master br0
ip addr add 192.168.77.10/24 dev br0
ip route add default via 192.168.77.1`)
	})
	fmt.Printf("gap: hvinstall %.1f ms, ip(8) by hand %.1f ms (worst of %d each; the aim is under 200 ms)\n", ms(ours), ms(howto), rounds)
	b.ReportMetric(ms(ours), "ms/gap")
}

const rounds = 5

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measure(b *testing.B, name string, move func(*lan)) time.Duration {
	b.Helper()
	var gaps []time.Duration
	for range rounds {
		b.Run(name, func(b *testing.B) {
			l := newLAN(b)
			l.in(l.host, "sh", "-ec", "ip addr add 192.168.77.10/24 dev nic0; ip route add default via 192.168.77.1")
			echo := l.roleUnder([]string{"nice", "-n", "-20"}, l.router, "echo", ":9000")
			must(b, echo.Start())
			b.Cleanup(func() { _ = echo.Process.Kill(); _ = echo.Wait() })
			time.Sleep(200 * time.Millisecond)
			done := l.background(l.roleUnder([]string{"nice", "-n", "-20"}, l.host, "stream", "192.168.77.1:9000", "3"))
			move(l)
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
