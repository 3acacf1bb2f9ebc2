//go:build netns

package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestKilledAnywhere kills runs at different moments of the move, some with a
// guard. The next run must come to its end, and lose nothing.
func TestKilledAnywhere(t *testing.T) {
	for i, after := range []time.Duration{0, 0, 0, 0, 200, 500, 1000, 1500, 2000, 3000, 5000, 8000} {
		early, guarded := i < 2, i%2 == 1
		t.Run(fmt.Sprintf("%dus", after), func(t *testing.T) {
			l := newLAN(t)
			l.crowd()
			was := l.network()
			env := l.env()
			if guarded {
				env = l.withGuard(env)
			}
			cmd := l.role(l.host, "apply")
			input, err := json.Marshal(job{Want: static("192.168.77.10/24"), Env: env})
			must(t, err)
			cmd.Stdin = bytes.NewReader(input)
			must(t, cmd.Start())
			// The move begins with the record of how things were, then the bridge.
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
				if _, err := os.Stat(l.dir + "/state/net-br0.json"); early && err == nil {
					break
				}
				links, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", l.holder.Process.Pid))
				must(t, err)
				if bytes.Contains(links, []byte("br0:")) {
					break
				}
			}
			time.Sleep(after * time.Microsecond)
			must(t, cmd.Process.Kill())
			_ = cmd.Wait()
			if guarded {
				// Killed before the guard began to watch, it has changed nothing.
				l.await("the guard", 5*time.Second, func() bool {
					_, err := os.Stat(l.dir + "/state/net-br0.json")
					return os.IsNotExist(err) || l.network() == was
				})
				l.pings(l.host, "192.168.77.1")
			}
			t.Logf("killed: %s", strings.ReplaceAll(l.in(l.host, "sh", "-c", "ip -br addr show nic0; ip -br addr show br0 2>/dev/null || true"), "\n", "; "))
			l.mustApply(job{Want: static("192.168.77.10/24"), Env: env})
			l.pings(l.host, "192.168.77.1")
			now := l.network()
			for _, part := range []string{
				"inet 192.168.77.10/24 ", "inet 192.168.77.11/24 ", "inet 10.9.0.1 peer", "inet6 fd77::10/64", "inet6 fd78::10/64",
				"default via 192.168.77.1 dev br0 proto dhcp src 192.168.77.10 metric 100", "172.16.0.0/12 via 192.168.77.254 dev br0",
				"198.51.100.0/24 via 203.0.113.1 dev br0 onlink", "192.0.2.0/24 via 192.168.77.1 dev br0 table 77",
				"default via fd77::1 dev br0 proto static", "fd79::/64 via fd77::1 dev br0 metric 50",
			} {
				if !strings.Contains(now, part) {
					t.Errorf("no %q after the second run:\n%s", part, now)
				}
			}
			if left := l.in(l.host, "ip", "-o", "addr", "show", "dev", "nic0"); left != "" {
				t.Errorf("the NIC has addresses:\n%s", left)
			}
			if third := l.mustApply(job{Want: static("192.168.77.10/24"), Env: env}); third.Changed != 0 {
				t.Errorf("the third run changed %d steps\n%s", third.Changed, story(third))
			}
		})
	}
}
