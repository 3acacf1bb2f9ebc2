package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestListeners looks at sockets of its own: those for others are seen with
// this program's name, those of the loopback are not.
func TestListeners(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	name := string(comm[:len(comm)-1])
	var want, unwanted []Listener
	for _, c := range []struct {
		network, address string
		seen             bool
	}{
		{"tcp4", "0.0.0.0:0", true}, {"tcp4", "127.0.0.1:0", false}, {"tcp6", "[::]:0", true}, {"tcp6", "[::1]:0", false},
	} {
		l, err := net.Listen(c.network, c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		found := Listener{fmt.Sprintf("tcp/%d", l.Addr().(*net.TCPAddr).Port), name}
		if c.seen {
			want = append(want, found)
		} else {
			unwanted = append(unwanted, found)
		}
	}
	for _, c := range []struct {
		address string
		seen    bool
	}{{"0.0.0.0:0", true}, {"127.0.0.1:0", false}} {
		l, err := net.ListenPacket("udp4", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		found := Listener{fmt.Sprintf("udp/%d", l.LocalAddr().(*net.UDPAddr).Port), name}
		if c.seen {
			want = append(want, found)
		} else {
			unwanted = append(unwanted, found)
		}
	}
	all := Listeners("/proc")
	for _, l := range want {
		if !slices.Contains(all, l) {
			t.Errorf("%s is not among %v", l, all)
		}
	}
	for _, l := range unwanted {
		if slices.Contains(all, l) {
			t.Errorf("%s of the loopback is among %v", l, all)
		}
	}
	if found := Listeners(filepath.Join(t.TempDir(), "proc")); len(found) > 0 {
		t.Errorf("a system without /proc listens: %v", found)
	}
}
