package bridge

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// named returns the interface of this name, or nil.
func (f Facts) named(name string) *NIC {
	for i := range f.NICs {
		if f.NICs[i].Name == name {
			return &f.NICs[i]
		}
	}
	return nil
}

// chooseNIC finds the NIC that the layout means and says why it is that one.
func chooseNIC(want configs.NIC, bridge string, facts Facts) (*NIC, string, *step.Refusal) {
	switch {
	case want.MAC != "":
		return byMAC(want.MAC, facts)
	case want.Name != "":
		if nic := facts.named(want.Name); nic != nil {
			return nic, "named in the layout", nil
		}
		return nil, "", &step.Refusal{
			Code: "nic-missing", Where: want.Name,
			What: "no such network card; there is " + facts.candidates(want.Name),
			Hint: "name one of these in network.nic, or leave network.nic out",
		}
	}
	return byDefaultRoute(bridge, facts)
}

// byMAC prefers the card made with this MAC; a bridge or VLAN that borrowed it
// does not count.
func byMAC(mac string, facts Facts) (*NIC, string, *step.Refusal) {
	for _, permanent := range []bool{true, false} {
		for i := range facts.NICs {
			nic := &facts.NICs[i]
			have := nic.MAC
			if permanent {
				have = nic.PermanentMAC
			}
			if strings.EqualFold(have, mac) && isCard(*nic) {
				return nic, "its MAC is in the layout", nil
			}
		}
	}
	return nil, "", &step.Refusal{
		Code: "nic-missing", Where: lower(mac),
		What: "no network card has this MAC; there is " + facts.candidates(""),
		Hint: "write one of these in network.nic, or leave network.nic out",
	}
}

// byDefaultRoute takes the card with the default route; on a host that is a
// hypervisor already, the bridge has the route, and its card is meant.
func byDefaultRoute(bridge string, facts Facts) (*NIC, string, *step.Refusal) {
	var ports, routed []*NIC
	for i := range facts.NICs {
		nic := &facts.NICs[i]
		if nic.Master == bridge && nic.Kind == "physical" {
			ports = append(ports, nic)
		}
		if len(nic.Gateways) > 0 && nic.Name != bridge {
			routed = append(routed, nic)
		}
	}
	switch {
	case len(ports) == 1:
		return ports[0], "it is the port of " + bridge + " already", nil
	case len(ports) > 1:
		return nil, "", ambiguous("several cards are ports of "+bridge, ports)
	case len(routed) == 1:
		return routed[0], "the default route goes through it", nil
	case len(routed) > 1:
		return nil, "", ambiguous("several cards have a default route", routed)
	}
	return nil, "", &step.Refusal{
		Code: "nic-none", Where: "network",
		What: "no network card has a default route; there is " + facts.candidates(""),
		Hint: "name one in network.nic",
	}
}

func ambiguous(what string, nics []*NIC) *step.Refusal {
	var names []string
	for _, nic := range nics {
		names = append(names, nic.card())
	}
	return &step.Refusal{
		Code: "nic-ambiguous", Where: "network",
		What: what + ": " + strings.Join(names, ", "),
		Hint: "name one in network.nic",
	}
}

// usable refuses a NIC that cannot or must not become the bridge's port.
func usable(nic NIC, named bool, bridge string, facts Facts) *step.Refusal {
	refuse := func(code, what, hint string) *step.Refusal {
		return &step.Refusal{Code: code, Where: nic.Name, What: what, Hint: hint}
	}
	switch {
	case nic.Kind == "wireless":
		return refuse("nic-wireless",
			"a wireless card cannot be bridged: an 802.11 station may only send frames from its own MAC, and the access point drops those of the VMs",
			"use a wired card; there is "+facts.candidates(nic.Name))
	case nic.Name == bridge:
		return refuse("nic-kind", "the bridge cannot be its own port", "name the network card in network.nic")
	case nic.Kind != "physical" && (nic.Kind != "veth" || !named):
		// A veth pair is a cable in software, as a container's uplink is; it is
		// taken only where the layout asks for it by name.
		return refuse("nic-kind", fmt.Sprintf("it is no network card (%s)", nic.Kind),
			"name a network card in network.nic; there is "+facts.candidates(nic.Name))
	case nic.Master != "" && nic.Master != bridge:
		kind := "another interface"
		if master := facts.named(nic.Master); master != nil && (master.Kind == "bridge" || master.Kind == "bond") {
			kind = "the " + master.Kind
		}
		return refuse("nic-taken", fmt.Sprintf("it is a port of %s %s", kind, nic.Master),
			fmt.Sprintf("write bridge: %s in the layout (a bridge in use is not renamed: its VMs and addresses are on it), or name another card", nic.Master))
	case !isMAC(nic.MAC):
		return refuse("nic-kind", "it has no Ethernet address", "name a network card in network.nic; there is "+facts.candidates(nic.Name))
	}
	return nil
}

// candidates lists the cards that could be meant, the likeliest first.
func (f Facts) candidates(wanted string) string {
	var cards []NIC
	for _, nic := range f.NICs {
		if nic.Kind == "physical" && nic.Name != wanted {
			cards = append(cards, nic)
		}
	}
	if len(cards) == 0 {
		return "none"
	}
	if wanted != "" {
		slices.SortStableFunc(cards, func(a, b NIC) int { return distance(a.Name, wanted) - distance(b.Name, wanted) })
	}
	var names []string
	for _, nic := range cards {
		names = append(names, nic.card())
	}
	return strings.Join(names, ", ")
}

func (n NIC) card() string {
	mac := n.PermanentMAC
	if mac == "" {
		mac = n.MAC
	}
	s := n.Name + " (" + lower(mac)
	if !n.Carrier {
		s += ", no carrier"
	}
	return s + ")"
}

// distance is the number of edits between two names (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func isCard(nic NIC) bool {
	return nic.Kind == "physical" || nic.Kind == "wireless" || nic.Kind == "veth"
}

func isMAC(s string) bool {
	mac, err := net.ParseMAC(s)
	return err == nil && len(mac) == 6 && !slices.Equal(mac, make(net.HardwareAddr, 6))
}

func lower(mac string) string { return strings.ToLower(mac) }
