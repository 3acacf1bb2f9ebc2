package host

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Listener is a port that others reach without having been asked, and the
// program that has it.
type Listener struct {
	Port    string `json:"port"` // tcp/9100
	Program string `json:"program,omitempty"`
}

func (l Listener) String() string {
	if l.Program == "" {
		return l.Port
	}
	return l.Port + " (" + l.Program + ")"
}

// Listeners are the sockets of the system whose /proc is at proc that listen on
// other addresses than the loopback's. A program is named as far as this
// process may see it; the kernel's own sockets, nfsd's, have none.
func Listeners(proc string) []Listener {
	return listeners(proc, "")
}

// Listens reports whether a program of this name listens for others.
func Listens(proc, program string) bool {
	return slices.ContainsFunc(listeners(proc, program), func(l Listener) bool { return l.Program == program })
}

// listeners knows the sockets of all programs, or of one: looking at all takes
// its time.
func listeners(proc, program string) []Listener {
	owners := socketOwners(proc, program)
	if program != "" && len(owners) == 0 {
		return nil
	}
	var all []Listener
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			continue // no IPv6
		}
		protocol := strings.TrimSuffix(table, "6")
		for line := range strings.Lines(string(text)) {
			port, inode, ok := listening(protocol, line)
			l := Listener{Port: fmt.Sprintf("%s/%d", protocol, port), Program: owners[inode]}
			if ok && !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	slices.SortFunc(all, func(a, b Listener) int { return strings.Compare(a.Port, b.Port) })
	return all
}

// listening reads a line of /proc/net/tcp or udp, see proc_net_tcp(5).
func listening(protocol, line string) (port uint16, inode string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return 0, "", false
	}
	want := "0A" // TCP_LISTEN
	if protocol == "udp" {
		want = "07" // not connected
	}
	address, portText, found := strings.Cut(fields[1], ":")
	n, err := strconv.ParseUint(portText, 16, 16)
	if !found || err != nil || fields[3] != want || loopback(address) {
		return 0, "", false
	}
	return uint16(n), fields[9], true
}

// loopback: addresses are printed as 32-bit words in the machine's order.
func loopback(address string) bool {
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return ok && a.Unmap().IsLoopback()
}

// socketOwners are the programs by the inodes of their sockets.
func socketOwners(proc, program string) map[string]string {
	owners := map[string]string{}
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return owners
	}
	for _, process := range processes {
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		name := strings.TrimSpace(string(comm))
		if err != nil || program != "" && name != program {
			continue
		}
		links, err := os.ReadDir(filepath.Join(process, "fd"))
		if err != nil {
			continue // another user's
		}
		for _, link := range links {
			target, err := os.Readlink(filepath.Join(process, "fd", link.Name()))
			if inode, isSocket := strings.CutPrefix(target, "socket:["); err == nil && isSocket {
				owners[strings.TrimSuffix(inode, "]")] = name
			}
		}
	}
	return owners
}
