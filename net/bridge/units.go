package bridge

import (
	"fmt"
	"net/netip"
	"strings"
)

// Unit is a file for systemd-networkd, see systemd.network(5).
type Unit struct {
	Name string // below /etc/systemd/network
	Text string
}

// unitFolder is where an administrator's networkd files live. The 05- prefix
// (06- for the NIC) sorts before what cloud-init and netplan generate (10-): networkd takes the
// first file that matches.
const unitFolder = "etc/systemd/network"

// identity is how the host's DHCP client calls itself. A server hands the same
// address only to the same identity.
type identity struct {
	// IAID is set where the NIC's lease was taken by systemd-networkd under a
	// DUID: the bridge then continues that identity. Empty: the MAC.
	IAID string
}

// Units is the set of networkd files for later boots.
func (p Plan) Units() []Unit { return p.units(identity{}) }

func (p Plan) units(who identity) []Unit {
	return []Unit{
		{p.unitName("netdev"), p.netdev()},
		{p.unitName("network"), p.bridgeNetwork(who)},
		// After the bridge's own: the bridge has the NIC's MAC, and networkd takes
		// the first file that matches.
		{fmt.Sprintf("06-hvinstall-%s-nic.network", p.Bridge), p.nicNetwork()},
	}
}

func (p Plan) unitName(extension string) string {
	return fmt.Sprintf("05-hvinstall-%s.%s", p.Bridge, extension)
}

const unitHeader = "# Written by hvinstall from layout.yaml; a change here is undone by its next run.\n"

func (p Plan) netdev() string {
	var b unitText
	b.section("NetDev")
	b.set("Name", p.Bridge)
	b.set("Kind", "bridge")
	b.set("MACAddress", p.MAC)
	if p.MTU > 0 {
		b.set("MTUBytes", fmt.Sprint(p.MTU))
	}
	b.section("Bridge")
	b.set("STP", "no")
	b.set("ForwardDelaySec", "0")
	return b.String()
}

func (p Plan) nicNetwork() string {
	var b unitText
	b.section("Match")
	if p.PermanentMAC {
		b.set("PermanentMACAddress", p.NICMAC)
	} else {
		// Its driver tells no permanent address (virtual cards). What is stacked
		// upon the card carries the same MAC and must not match.
		b.set("MACAddress", p.NICMAC)
		b.set("Kind", "!bridge vlan bond macvlan macvtap ipvlan")
	}
	b.set("Type", "ether")
	if p.MTU > 0 {
		b.section("Link")
		b.set("MTUBytes", fmt.Sprint(p.MTU))
	}
	b.section("Network")
	b.set("Bridge", p.Bridge)
	b.set("DHCP", "no")
	b.set("LinkLocalAddressing", "no")
	b.set("IPv6AcceptRA", "no")
	return b.String()
}

func (p Plan) bridgeNetwork(who identity) string {
	var b unitText
	b.section("Match")
	b.set("Name", p.Bridge)
	if p.MTU > 0 {
		b.section("Link")
		b.set("MTUBytes", fmt.Sprint(p.MTU))
	}
	b.section("Network")
	b.set("LinkLocalAddressing", "ipv6")
	b.set("IPv6AcceptRA", "yes")
	if p.DHCP {
		b.set("DHCP", "yes")
	} else {
		b.set("DHCP", "no")
		// The VMs reach the host (NFS) also while the cable is out.
		b.set("ConfigureWithoutCarrier", "yes")
	}
	for _, a := range p.Addresses {
		b.set("Address", a)
	}
	for _, g := range p.Gateways {
		b.set("Gateway", g)
	}
	for _, d := range p.DNS {
		b.set("DNS", d)
	}
	if len(p.Domains) > 0 {
		b.set("Domains", strings.Join(p.Domains, " "))
	}
	if p.DHCP {
		b.section("DHCPv4")
		if who.IAID == "" {
			// By the MAC, as reservations in home routers are.
			b.set("ClientIdentifier", "mac")
		} else {
			b.set("ClientIdentifier", "duid")
			b.set("IAID", who.IAID)
		}
	}
	return b.String()
}

// unitText builds a file of sections and settings.
type unitText struct{ strings.Builder }

func (b *unitText) section(name string) {
	if b.Len() == 0 {
		b.WriteString(unitHeader)
	} else {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "[%s]\n", name)
}

func (b *unitText) set(key, value string) { fmt.Fprintf(b, "%s=%s\n", key, value) }

// checkValues refuses what could break out of a unit's line. The layout is
// validated elsewhere; a file that root's daemon reads is worth a second look.
func (p Plan) checkValues() error {
	for _, name := range []string{p.Bridge, p.NIC} {
		if name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t\n\r:%*?[]") || name == "." || name == ".." {
			return fmt.Errorf("interface name %q is not usable; a name has at most 15 bytes and no blanks, slashes or wildcards", name)
		}
	}
	if !isMAC(p.MAC) || !isMAC(p.NICMAC) {
		return fmt.Errorf("MAC %q or %q is not an Ethernet address", p.MAC, p.NICMAC)
	}
	for _, a := range p.Addresses {
		if _, err := netip.ParsePrefix(a); err != nil {
			return fmt.Errorf("address %q: %w; write it as 192.168.1.10/24", a, err)
		}
	}
	for _, list := range [][]string{p.Gateways, p.DNS} {
		for _, a := range list {
			if _, err := netip.ParseAddr(a); err != nil {
				return fmt.Errorf("gateway or DNS server %q: %w", a, err)
			}
		}
	}
	for _, d := range p.Domains {
		if d == "" || strings.ContainsAny(d, " \t\n\r=[]#;%") {
			return fmt.Errorf("search domain %q has a character that a domain cannot have", d)
		}
	}
	if p.MTU < 0 || p.MTU > 65535 {
		return fmt.Errorf("MTU %d is out of range", p.MTU)
	}
	return nil
}
