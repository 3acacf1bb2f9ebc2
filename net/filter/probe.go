package filter

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"
)

// Facts is what listens for others on a host that has no filter yet: what the
// first one would close. It is empty once the filter is there.
type Facts struct {
	Listening []host.Listener `json:"listening,omitempty"`
}

// ended are the programs that a host of ours does not have listening, or that
// are reached in spite of the filter: DHCP clients, and libvirt's dnsmasq.
var ended = []string{"rpcbind", "rpc.mountd", "rpc.statd", "systemd-resolve", "systemd-network", "dhclient", "dnsmasq"}

// rpcbindPort is held by systemd for rpcbind.
const rpcbindPort = "/111"

// Probe looks at the system at root, whose /proc is at proc.
func Probe(root, proc string) Facts {
	if _, err := os.Lstat(filepath.Join(root, rulesFile)); err == nil {
		return Facts{}
	}
	return Facts{slices.DeleteFunc(host.Listeners(proc), func(l host.Listener) bool {
		// A socket of nobody's is the kernel's own: nfsd, lockd. Without root,
		// everything of others looks like that.
		return l.Program == "" || slices.Contains(ended, l.Program) || strings.HasSuffix(l.Port, rpcbindPort)
	})}
}
