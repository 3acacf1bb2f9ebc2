package nfs

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// filterTable is a table of our own: it narrows who reaches the server, and
// other tables are left as they are. A table of the user's that drops NFS
// still drops it.
const filterTable = "hvinstall_nfs"

// filterText is the filter as nft(8) loads it, in one transaction: the first
// two lines make the third replace whatever was there.
func (p Plan) filterText() string {
	rules := p.filterRules()
	return header + fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n\tcomment \"%[2]s\"\n%[3]s}\n",
		filterTable, filterDigest(rules), rules)
}

// filterDigest is in the loaded table's comment, so that a look shows whether
// it is this filter that is loaded.
func filterDigest(rules string) string {
	return fmt.Sprintf("hvinstall %x", sha256.Sum256([]byte(rules)))[:42]
}

func (p Plan) filterRules() string {
	var v4, v6 []netip.Prefix
	for _, e := range p.Exports {
		for _, c := range e.Clients {
			network, err := netip.ParsePrefix(c)
			if err != nil {
				continue // MakePlan lets none through
			}
			if network.Addr().Is4() {
				v4 = append(v4, network)
			} else {
				v6 = append(v6, network)
			}
		}
	}
	var b strings.Builder
	accept := func(family string, networks []netip.Prefix) {
		networks = widest(networks)
		if len(networks) == 0 {
			return
		}
		var names []string
		for _, n := range networks {
			names = append(names, n.String())
		}
		fmt.Fprintf(&b, "\t\t%s saddr { %s } accept\n", family, strings.Join(names, ", "))
	}
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tmeta l4proto { tcp, udp } th dport 2049 jump clients\n\t}\n")
	b.WriteString("\tchain clients {\n\t\tiif \"lo\" accept\n")
	accept("ip", v4)
	accept("ip6", v6)
	b.WriteString("\t\tcounter drop\n\t}\n")
	return b.String()
}

// widest leaves out networks that lie within another: nft refuses sets whose
// elements overlap.
func widest(networks []netip.Prefix) []netip.Prefix {
	slices.SortFunc(networks, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	var kept []netip.Prefix
	for _, n := range networks {
		if !slices.ContainsFunc(kept, func(k netip.Prefix) bool { return k.Contains(n.Addr()) }) {
			kept = append(kept, n)
		}
	}
	return kept
}
