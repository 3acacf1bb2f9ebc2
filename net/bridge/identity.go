package bridge

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// leaseIdentity reads, from networkd's record of the NIC's lease, the IAID
// under which the server knows this host. The client identifier is 0xff, four
// bytes of IAID, then the DUID (RFC 4361), which is the same for all links.
func leaseIdentity(index int) identity {
	text, err := os.ReadFile(fmt.Sprintf("/run/systemd/netif/leases/%d", index))
	if err != nil {
		return identity{}
	}
	for line := range strings.Lines(string(text)) {
		value, found := strings.CutPrefix(strings.TrimSpace(line), "CLIENTID=")
		if !found {
			continue
		}
		id, err := hex.DecodeString(value)
		if err != nil || len(id) < 7 || id[0] != 0xff {
			return identity{}
		}
		return identity{IAID: fmt.Sprint(uint32(id[1])<<24 | uint32(id[2])<<16 | uint32(id[3])<<8 | uint32(id[4]))}
	}
	return identity{}
}
