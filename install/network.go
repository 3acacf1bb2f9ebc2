package install

import (
	"hvinstall/net/bridge"
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
