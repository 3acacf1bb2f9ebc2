package filter

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"

	"hvinstall/configs"
)

// Table is the table's name, of the family inet.
const Table = "hvinstall"

// Files of this package, below the root.
const (
	rulesFile = "etc/hvinstall/filter.nft"
	unitName  = "hvinstall-filter.service"
	unitFile  = "etc/systemd/system/" + unitName
	header    = "# Written by hvinstall from layout.yaml; a change here is undone by its next run.\n"
)

// rulesText is the table as nft(8) loads it, in one transaction: the first two
// lines make the third replace whatever was there, and nobody gets in between.
func (p Plan) rulesText() string {
	rules := p.rules()
	return header + fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n\tcomment \"%[2]s\"\n%[3]s}\n",
		Table, digest(rules), rules)
}

// digest is in the loaded table's comment, for a look by eye.
func digest(rules string) string {
	return fmt.Sprintf("hvinstall %x", sha256.Sum256([]byte(rules)))[:42]
}

// rules begin with what most packets are. Neighbour discovery comes before
// anything that looks at connections, which it has none of. A DHCP server
// answers by broadcast, and a DHCPv6 one from another address than was asked.
// libvirt's own networks (virbr0, …) have a dnsmasq on the host: their guests
// get leases and names from it.
func (p Plan) rules() string {
	var b strings.Builder
	b.WriteString(`	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		ct state vmap { established : accept, related : accept, invalid : drop }
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		iifname "virbr*" meta l4proto { tcp, udp } th dport 53 accept
		iifname "virbr*" udp dport { 67, 69, 547 } accept
		tcp dport 22 accept
`)
	for _, client := range p.NFS {
		family := "ip6"
		if n, err := netip.ParsePrefix(client); err == nil && n.Addr().Is4() {
			family = "ip"
		}
		fmt.Fprintf(&b, "\t\t%s saddr %s tcp dport 2049 accept\n", family, client)
	}
	for _, text := range p.Open {
		if o, err := configs.ParsePorts(text); err == nil { // MakePlan lets no other through
			_, ports, _ := strings.Cut(o.String(), "/")
			fmt.Fprintf(&b, "\t\t%s dport %s accept\n", o.Protocol, ports)
		}
	}
	b.WriteString("\t\tcounter comment \"dropped\"\n\t}\n")
	return b.String()
}

// unitText loads the filter before any interface is configured, and again when
// nftables.service, which begins by flushing every table, is started, restarted
// or reloaded.
const unitText = header + `[Unit]
Description=Close the host to the LAN, but for what layout.yaml opens
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
After=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /` + rulesFile + `
ExecReload=/usr/sbin/nft -f /` + rulesFile + `

[Install]
WantedBy=sysinit.target nftables.service
`

// links are what enabling the unit makes.
var links = []string{
	"etc/systemd/system/sysinit.target.wants/" + unitName,
	"etc/systemd/system/nftables.service.wants/" + unitName,
}
