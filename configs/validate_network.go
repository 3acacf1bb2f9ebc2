package configs

import (
	"net/netip"
	"path"
	"slices"
	"strings"
)

func (c *checker) validateNetwork() {
	n := c.l.Network
	if n == nil || c.failed[&c.l.Network] {
		return
	}
	if c.given(&n.NIC) && !c.failed[&n.NIC] {
		name, mac := c.given(&n.NIC.Name), c.given(&n.NIC.MAC)
		switch {
		case name && mac:
			c.fail(fields(&n.NIC.MAC), "keep one; a MAC stays with the card when it gets another name", "the NIC is named twice, by name and by mac")
		case !name && !mac:
			c.fail(fields(&n.NIC), "nic: enp5s0 or nic: {mac: ...}", "nic names no card")
		}
	}
	if c.good(&n.NIC.Name) && n.NIC.Name == n.Bridge {
		c.fail(fields(&n.NIC.Name), "name the physical card; ip link shows it", "the NIC has the bridge's name")
	}
	if n.Bridge == "lo" || n.Bridge == "all" || n.Bridge == "default" {
		c.fail(fields(&n.Bridge), "for example br0", "%s cannot be a bridge's name", n.Bridge)
	}
	dhcp := n.DHCP != nil && *n.DHCP
	static := c.given(&n.Addresses) && len(n.Addresses) > 0
	switch {
	case dhcp && static && c.given(&n.DHCP):
		c.fail(fields(&n.DHCP), "remove dhcp, or the addresses", "dhcp: true and static addresses exclude each other")
	case c.good(&n.DHCP) && !dhcp && !static && !c.failed[&n.Addresses]:
		c.fail(fields(&n.DHCP), "add addresses: [192.168.1.10/24] and gateway", "without DHCP and without addresses the host could not be reached")
	}
	c.validateAddresses(n)
	c.validateGateways(n, static)
	c.validateOpenPorts(n)
}

func (c *checker) validateOpenPorts(n *Network) {
	for i := range n.OpenPorts {
		p, err := ParsePorts(n.OpenPorts[i])
		if err != nil || !c.good(&n.OpenPorts[i]) {
			continue
		}
		for j := range n.OpenPorts[:i] {
			if q, err := ParsePorts(n.OpenPorts[j]); err == nil && c.good(&n.OpenPorts[j]) && p.Overlaps(q) {
				c.fail(fields(&n.OpenPorts[i]), "keep one of them", "%s is open already by %s, %s", p, q, c.line(&n.OpenPorts[j]))
				break
			}
		}
	}
}

func (c *checker) validateAddresses(n *Network) {
	seen := map[netip.Addr]bool{}
	for i := range n.Addresses {
		a, err := netip.ParsePrefix(n.Addresses[i])
		if err != nil || !c.good(&n.Addresses[i]) {
			continue
		}
		if seen[a.Addr()] {
			c.fail(fields(&n.Addresses[i]), "", "%s is given already", a.Addr())
		}
		seen[a.Addr()] = true
		if n.MTU != 0 && n.MTU < 1280 && a.Addr().Is6() {
			c.fail(fields(&n.MTU), "", "IPv6 needs an MTU of 1280 or more")
		}
	}
}

func (c *checker) validateGateways(n *Network, static bool) {
	families := map[bool]bool{}
	for i := range n.Gateway {
		at := fields(&n.Gateway[i])
		g, err := netip.ParseAddr(n.Gateway[i])
		if err != nil || !c.good(&n.Gateway[i]) {
			continue
		}
		if families[g.Is6()] {
			c.fail(at, "", "a second gateway of the same address family")
			continue
		}
		families[g.Is6()] = true
		if !static {
			if c.given(&n.DHCP) || !c.given(&n.Addresses) {
				c.fail(at, "remove gateway, or add addresses: [192.168.1.10/24]", "a gateway without addresses: DHCP tells its own")
			}
			continue
		}
		// An IPv6 router is usually known by its link-local address.
		reached, known := g.Is6() && g.IsLinkLocalUnicast(), true
		var nets []string
		for j := range n.Addresses {
			a, err := netip.ParsePrefix(n.Addresses[j])
			if err != nil || !c.good(&n.Addresses[j]) {
				known = false
				continue
			}
			nets = append(nets, a.Masked().String())
			reached = reached || a.Contains(g)
			if a.Addr() == g {
				c.fail(at, "", "the gateway is the host's own address")
			}
		}
		if !reached && known {
			c.fail(at, "the gateway is a router on the LAN; the addresses' networks: "+strings.Join(nets, ", "), "%s is in no network of the addresses", g)
		}
	}
}

func (c *checker) validateExports() {
	n := c.l.NFSExports
	if n == nil || c.failed[&c.l.NFSExports] {
		return
	}
	seen := map[string]*string{}
	for i := range n.Exports {
		e := &n.Exports[i]
		if c.good(&e.Path) {
			if other := seen[e.Path]; other != nil {
				c.fail(fields(&e.Path), "list all clients at the first", "%s is exported already, %s", e.Path, c.line(other))
			}
			seen[e.Path] = &e.Path
			c.validateExportPath(e)
		}
		if c.given(&e.Clients) && len(e.Clients) == 0 {
			c.fail(fields(&e.Clients), "remove clients to serve lan_cidr", "an export without clients")
		}
		for j := range e.Clients {
			if c.good(&e.Clients[j]) && slices.Contains(e.Clients[:j], e.Clients[j]) {
				c.fail(fields(&e.Clients[j]), "", "%s is given already", e.Clients[j])
			}
		}
		c.validateExportOptions(e)
	}
}

// ownFolder is where hvinstall keeps on a pool what is its own, header backups
// among it.
const ownFolder = ".hvinstall"

func (c *checker) validateExportPath(e *NFSExport) {
	var mounts []string
	if slices.Contains(strings.Split(e.Path, "/"), ownFolder) {
		c.fail(fields(&e.Path), "export a directory beside it", "%s holds the backups of the LUKS headers, which open the disks beside an old key", e.Path)
		return
	}
	for i := range c.l.Pools {
		p := &c.l.Pools[i]
		if c.failed[&p.Mountpoint] || c.failed[&c.l.Pools] {
			return // said already; its exports may be right
		}
		if below(e.Path, p.Mountpoint) {
			if root := c.l.VMStoreRoot; below(e.Path, root) || e.Path == root {
				c.fail(fields(&e.Path), "export a directory beside it", "%s is where the VMs' disks are", e.Path)
			} else if below(root, e.Path) {
				c.fail(fields(&e.Path), "export a directory beside it", "%s holds %s, where the VMs' disks are: a client may say that it is their user", e.Path, root)
			}
			return
		}
		if e.Path == p.Mountpoint {
			c.fail(fields(&e.Path), "export a directory in it: "+path.Join(p.Mountpoint, "share"), "%s is the pool itself: its owner and mode would become the export's", e.Path)
			return
		}
		mounts = append(mounts, p.Mountpoint)
	}
	if c.failed[&c.l.Pools] {
		return
	}
	hint := "this layout has no pools"
	if len(mounts) > 0 {
		hint = "the pools are at " + strings.Join(mounts, ", ")
	}
	c.fail(fields(&e.Path), hint, "%s is not below a pool's mountpoint", e.Path)
}

// opposites are options of exports(5) that exclude each other.
var opposites = [][2]string{
	{"rw", "ro"}, {"sync", "async"}, {"subtree_check", "no_subtree_check"}, {"secure", "insecure"}, {"wdelay", "no_wdelay"},
	{"hide", "nohide"}, {"auth_nlm", "no_auth_nlm"}, {"acl", "no_acl"}, {"pnfs", "no_pnfs"},
}

func (c *checker) validateExportOptions(e *NFSExport) {
	for i := range e.Options {
		if !c.good(&e.Options[i]) {
			continue
		}
		word, _, _ := strings.Cut(e.Options[i], "=")
		for _, earlier := range e.Options[:i] {
			before, _, _ := strings.Cut(earlier, "=")
			if before == word {
				c.fail(fields(&e.Options[i]), "", "%s is given already", word)
				continue
			}
			for _, o := range opposites {
				if o == [2]string{before, word} || o == [2]string{word, before} {
					c.fail(fields(&e.Options[i]), "keep one", "%s and %s exclude each other", before, word)
				}
			}
		}
		if strings.HasPrefix(word, "anon") && c.given(&e.Squash) && e.Squash == "no_root_squash" {
			c.fail(fields(&e.Options[i]), "", "%s means nothing with squash: no_root_squash", word)
		}
	}
}
