package nixos

import (
	"net/netip"
	"strings"
)

// lanLink is what a NIC that the layout names by its MAC is called.
const lanLink = "lan0"

// networkNix puts the NIC on the bridge, in the lines of the host's
// specification ("Network Bridge"): networking.bridges and
// networking.interfaces, of which useNetworkd makes systemd-networkd units.
func networkNix(in Input) string {
	n := in.Layout.Network
	nic, comment := in.NIC.Name, []string{"network.nic: the card that is enslaved to the bridge; ip link shows the names."}
	if in.NIC.ByMAC {
		nic = lanLink
		comment = []string{"network.nic names the card by its MAC; the link below gives it this name."}
	}
	static := len(n.Addresses) > 0
	dhcp := !static
	if n.DHCP != nil {
		dhcp = *n.DHCP
	}

	interfaces := attrs{}
	host := func(option string, value any, comment ...string) {
		interfaces = append(interfaces, binding{path: append([]string{n.Bridge}, strings.Split(option, ".")...), value: value, comment: comment})
	}
	host("useDHCP", dhcp, "The host's LAN address lives on the bridge,")
	if in.NIC.MAC != "" {
		host("macAddress", strings.ToLower(in.NIC.MAC), "with the card's own MAC, which DHCP reservations are made for,")
	}
	if n.MTU > 0 {
		host("mtu", n.MTU)
	}
	var v4, v6 list
	for _, a := range n.Addresses {
		prefix, err := netip.ParsePrefix(a)
		if err != nil {
			continue // configs has checked it
		}
		address := attrs{set("address", prefix.Addr().String()), set("prefixLength", prefix.Bits())}
		if prefix.Addr().Is4() {
			v4 = append(v4, address)
		} else {
			v6 = append(v6, address)
		}
	}
	if len(v4) > 0 {
		host("ipv4.addresses", v4)
	}
	if len(v6) > 0 {
		host("ipv6.addresses", v6)
	}
	// One binding for the card: its name is an expression, which Nix does not
	// merge.
	card := binding{rawPath: `"${lanNic}".useDHCP`, value: false, comment: []string{"and the enslaved card has none."}}
	if n.MTU > 0 {
		card.rawPath, card.value = `"${lanNic}"`, attrs{set("useDHCP", false), set("mtu", n.MTU)}
	}
	interfaces = append(interfaces, card)

	networking := attrs{
		set("useNetworkd", true),
		set("useDHCP", false, "No address for cards that are not named here."),
		after(binding{path: []string{"bridges", n.Bridge, "interfaces"}, value: list{raw("lanNic")}}),
		set("interfaces", interfaces),
	}
	gap := true
	for _, g := range n.Gateway {
		option := "defaultGateway"
		if address, err := netip.ParseAddr(g); err == nil && address.Is6() {
			option = "defaultGateway6"
		}
		networking = append(networking, binding{path: []string{option}, gap: gap, value: attrs{set("address", g), set("interface", n.Bridge)}})
		gap = false
	}
	if len(n.DNS) > 0 {
		networking = append(networking, binding{path: []string{"nameservers"}, value: texts(n.DNS...), gap: gap})
		gap = false
	}
	if len(n.Domains) > 0 {
		networking = append(networking, binding{path: []string{"search"}, value: texts(n.Domains...), gap: gap})
	}
	body := attrs{set("networking", networking)}
	if in.NIC.ByMAC {
		body = append(body, after(set("systemd.network.links.10-lan", attrs{
			set("matchConfig.PermanentMACAddress", strings.ToLower(in.NIC.MAC)),
			set("linkConfig.Name", raw("lanNic")),
		}, "A card that is moved to another slot keeps its name.")))
	}
	return module{
		header: []string{
			"The bridge " + n.Bridge + " and the host's address on it. VMs attached to it are hosts of the LAN.",
		},
		args: []string{},
		lets: attrs{set("lanNic", nic, comment...)},
		body: body,
	}.String()
}
