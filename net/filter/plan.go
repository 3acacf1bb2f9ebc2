// Package filter closes the host to the LAN, but for what it is there for.
//
// It writes a table of hvinstall's own (inet hvinstall) and the unit that loads
// it before the network is up. Only what is meant for the host itself goes
// through it: frames that the bridge hands to VMs, and what libvirt's own
// networks forward, are never seen by it. It changes nobody else's tables; one
// that drops more still does.
package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/host"
)

// Plan is what of the host is reached from outside, beside ssh, ICMP and the
// answers to what the host asked for itself.
type Plan struct {
	Open []string `json:"open,omitempty"` // network.open_ports, joined where they touch
	// NFS is who reaches the NFS server: the clients of all exports. What is
	// within another of them is left out.
	NFS []string `json:"nfs,omitempty"`
	// Closes is what listens on the running host for others and is closed by
	// the filter that this plan brings.
	Closes []host.Listener `json:"closes,omitempty"`
}

// MakePlan decides what is open. clients are networks in CIDR form. installed
// says that the host is the one that the facts are of.
func MakePlan(open, clients []string, facts Facts, installed bool) (Plan, error) {
	var ports []configs.Ports
	for _, text := range open {
		p, err := configs.ParsePorts(text)
		if err != nil {
			return Plan{}, fmt.Errorf("network.open_ports: %s: %w", text, err)
		}
		ports = append(ports, p)
	}
	var networks []netip.Prefix
	for _, c := range clients {
		n, err := netip.ParsePrefix(c)
		if err != nil {
			return Plan{}, fmt.Errorf("NFS client %s: %w", c, err)
		}
		networks = append(networks, n)
	}
	var plan Plan
	for _, p := range joined(ports) {
		plan.Open = append(plan.Open, p.String())
	}
	for _, n := range widest(networks) {
		plan.NFS = append(plan.NFS, n.String())
	}
	if installed {
		plan.Closes = slices.DeleteFunc(slices.Clone(facts.Listening), plan.reaches)
	}
	return plan, nil
}

// reaches reports whether somebody reaches a listener in spite of the filter.
func (p Plan) reaches(l host.Listener) bool {
	at, err := configs.ParsePorts(l.Port)
	if err != nil || l.Port == "tcp/22" || l.Port == "tcp/2049" && len(p.NFS) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Open, func(open string) bool {
		o, err := configs.ParsePorts(open)
		return err == nil && o.Overlaps(at)
	})
}

// joined sorts the ports and joins what overlaps or touches: nft refuses sets
// whose elements overlap.
func joined(ports []configs.Ports) []configs.Ports {
	slices.SortFunc(ports, func(a, b configs.Ports) int {
		if c := strings.Compare(a.Protocol, b.Protocol); c != 0 {
			return c
		}
		return int(a.First) - int(b.First)
	})
	var all []configs.Ports
	for _, p := range ports {
		if n := len(all); n > 0 && all[n-1].Protocol == p.Protocol && int(p.First) <= int(all[n-1].Last)+1 {
			all[n-1].Last = max(all[n-1].Last, p.Last)
			continue
		}
		all = append(all, p)
	}
	return all
}

// widest leaves out networks that lie within another.
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

// Lines is the plan in words, one for each thing that is open.
func (p Plan) Lines() []string {
	lines := []string{"ssh (tcp/22), ICMP, and answers to what the host asked for"}
	if len(p.NFS) > 0 {
		lines = append(lines, "NFS (tcp/2049) from "+strings.Join(p.NFS, ", "))
	}
	if len(p.Open) > 0 {
		lines = append(lines, strings.Join(p.Open, ", ")+" (network.open_ports)")
	}
	return append(lines, "everything else from outside is dropped, by IPv4 and IPv6")
}

// Warnings is what a person should know before the filter is loaded.
func (p Plan) Warnings() []string {
	if len(p.Closes) == 0 {
		return nil
	}
	var ports, names []string
	for _, l := range p.Closes {
		names = append(names, l.String())
		ports = append(ports, l.Port)
	}
	return []string{fmt.Sprintf("the filter closes what listens on this host now: %s; to keep it open, network.open_ports: [%s]",
		strings.Join(names, ", "), strings.Join(ports, ", "))}
}
