package bridge

import (
	"fmt"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// Plan is the bridge, its one NIC, and the host's addresses on it.
type Plan struct {
	Bridge string `json:"bridge"`
	NIC    string `json:"nic"` // its name now; later boots find it by NICMAC
	Why    string `json:"why"` // why this NIC: named, by MAC, default route, port already

	MAC          string `json:"mac"`     // what the bridge carries, for good
	NICMAC       string `json:"nic_mac"` // what the units match the NIC by
	PermanentMAC bool   `json:"permanent_mac"`

	DHCP      bool     `json:"dhcp"`
	Addresses []string `json:"addresses,omitempty"`
	Gateways  []string `json:"gateways,omitempty"`
	DNS       []string `json:"dns,omitempty"`
	Domains   []string `json:"domains,omitempty"`

	MTU       int  `json:"mtu,omitempty"` // bytes; 0: the NIC's own
	SpeedMbit int  `json:"speed_mbit,omitempty"`
	Carrier   bool `json:"carrier"`
}

// MakePlan decides which NIC goes into the bridge. Refusals end a run before
// it begins; warnings are for the preview. Without a refusal the plan is whole.
func MakePlan(want configs.Network, facts Facts) (Plan, []step.Refusal, []string) {
	plan := Plan{
		Bridge:    want.Bridge,
		Addresses: want.Addresses,
		Gateways:  want.Gateway,
		DNS:       want.DNS,
		Domains:   want.Domains,
		MTU:       want.MTU,
		DHCP:      len(want.Addresses) == 0,
	}
	if want.DHCP != nil {
		plan.DHCP = *want.DHCP
	}
	if plan.Bridge == "" {
		plan.Bridge = "br0"
	}
	bridge := facts.named(plan.Bridge)
	if bridge != nil && bridge.Kind != "bridge" {
		return plan, []step.Refusal{{
			Code: "bridge-name-taken", Where: plan.Bridge,
			What: fmt.Sprintf("an interface of this name exists and is no bridge (%s)", bridge.Kind),
			Hint: "choose another name for network.bridge",
		}}, nil
	}
	nic, why, refusal := chooseNIC(want.NIC, plan.Bridge, facts)
	if refusal == nil {
		refusal = usable(*nic, want.NIC.Name != "" || want.NIC.MAC != "", plan.Bridge, facts)
	}
	if refusal != nil {
		return plan, []step.Refusal{*refusal}, nil
	}
	plan.NIC, plan.Why = nic.Name, why
	plan.SpeedMbit, plan.Carrier = nic.SpeedMbit, nic.Carrier
	plan.NICMAC, plan.PermanentMAC = lower(nic.MAC), false
	if isMAC(nic.PermanentMAC) {
		plan.NICMAC, plan.PermanentMAC = lower(nic.PermanentMAC), true
	}
	// The bridge keeps the address that the LAN knows: the lease, the
	// reservation and the neighbours' tables stay right.
	plan.MAC = lower(nic.MAC)
	if bridge != nil && nic.Master == plan.Bridge && isMAC(bridge.MAC) {
		plan.MAC = lower(bridge.MAC)
	}
	var warnings []string
	if !nic.Carrier {
		warnings = append(warnings, fmt.Sprintf("%s has no carrier: is the cable plugged in? The bridge is made all the same, and whether the LAN answers cannot be checked", nic.Name))
	}
	if want.MTU > 0 && want.MTU != nic.MTU {
		warnings = append(warnings, fmt.Sprintf("the MTU of %s changes from %d to %d bytes; the switch must carry frames of that size", nic.Name, nic.MTU, want.MTU))
	}
	if plan.PermanentMAC && plan.NICMAC != lower(nic.MAC) && nic.Master == "" {
		warnings = append(warnings, fmt.Sprintf("%s uses %s now and is made as %s; the bridge keeps the address in use", nic.Name, lower(nic.MAC), plan.NICMAC))
	}
	for _, other := range facts.NICs {
		if other.Kind == "vlan" && strings.HasPrefix(other.Name, nic.Name+".") {
			warnings = append(warnings, fmt.Sprintf("%s takes its VLAN's frames before the bridge sees them: VMs get none of that VLAN", other.Name))
		}
	}
	return plan, nil, warnings
}

// Lines is the plan as a preview shows it.
func (p Plan) Lines() []string {
	nic := fmt.Sprintf("%s  %s  %s", p.NIC, p.NICMAC, p.linkState())
	lines := []string{
		"NIC      " + nic,
		"chosen   " + p.Why,
		"MAC      " + p.MAC + " stays the bridge's own, so leases and reservations stay too",
	}
	if p.DHCP {
		lines = append(lines, "address  by DHCP and IPv6 router advertisements, on "+p.Bridge)
	}
	if len(p.Addresses) > 0 {
		lines = append(lines, "address  "+strings.Join(p.Addresses, ", "))
	}
	if len(p.Gateways) > 0 {
		lines = append(lines, "gateway  "+strings.Join(p.Gateways, ", "))
	}
	if len(p.DNS) > 0 {
		lines = append(lines, "DNS      "+strings.Join(p.DNS, ", "))
	}
	if p.MTU > 0 {
		lines = append(lines, fmt.Sprintf("MTU      %d bytes", p.MTU))
	}
	return lines
}

func (p Plan) linkState() string {
	switch {
	case !p.Carrier:
		return "no carrier"
	case p.SpeedMbit >= 1000 && p.SpeedMbit%500 == 0:
		return fmt.Sprintf("%g Gbit/s", float64(p.SpeedMbit)/1000)
	case p.SpeedMbit > 0:
		return fmt.Sprintf("%d Mbit/s", p.SpeedMbit)
	}
	return "carrier"
}
