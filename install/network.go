package install

import (
	"slices"

	"hvinstall/configs"
	"hvinstall/disk"
	"hvinstall/net/bridge"
	"hvinstall/net/filter"
	"hvinstall/net/nfs"
)

// network plans the bridge. On NixOS the modules say how the network is, and
// hvinstall writes no units beside them.
func (p *Plan) network(in Input) {
	if in.Layout.Network == nil || p.isNixOS() {
		return
	}
	plan, refusals, warnings := bridge.MakePlan(*in.Layout.Network, in.Facts.Network)
	p.Network = &plan
	p.Refusals = append(p.Refusals, refusals...)
	p.Warnings = append(p.Warnings, warnings...)
}

// isNixOS reports whether the host's configuration is NixOS' own.
func (p *Plan) isNixOS() bool { return p.Layout.OS != nil && p.Layout.OS.NixOS != nil }

// exports plans what NFS serves from the pools. A layout without exports takes
// back those of an earlier one; one without pools of its own says nothing.
func (p *Plan) exports(in Input) {
	if !hasExports(in.Layout) && len(in.Layout.Pools) == 0 {
		return
	}
	plan, refusals := nfs.MakePlan(in.Layout.NFSExports, p.exportPools())
	p.Refusals = append(p.Refusals, refusals...)
	if !p.isNixOS() { // there its modules serve them
		p.NFS = &plan
	}
}

// filter plans what of the host is reached from outside. On NixOS the modules
// close the rest, and a system that is nobody's here has its owner's firewall.
func (p *Plan) filter(in Input) {
	l := in.Layout
	if l.OS == nil {
		return
	}
	var open, clients []string
	if l.Network != nil {
		open = l.Network.OpenPorts
	}
	// Refused exports are said elsewhere.
	exports, _ := nfs.MakePlan(l.NFSExports, p.exportPools())
	for _, e := range exports.Exports {
		clients = append(clients, e.Clients...)
	}
	plan, err := filter.MakePlan(open, clients, in.Facts.Filter, !p.Installing() && !p.isNixOS())
	if err != nil {
		p.refuse("filter", "network.open_ports", err.Error(), "see docs/layout.md")
		return
	}
	p.Filter = &plan
	p.Warnings = append(p.Warnings, plan.Warnings()...)
}

// exportPools are the pools as the exports know them.
func (p *Plan) exportPools() []nfs.Pool {
	var pools []nfs.Pool
	for _, fs := range p.Disk.Filesystems {
		if fs.Role == disk.RolePool {
			pools = append(pools, nfs.Pool{Name: fs.Label, Mountpoint: fs.Subvols[0].Mountpoint, UUID: fs.UUID, Away: slices.Contains(p.closed(), fs.Subvols[0].Mountpoint)})
		}
	}
	return pools
}

func hasExports(l *configs.Layout) bool { return l.NFSExports != nil && len(l.NFSExports.Exports) > 0 }
