package install

import (
	"context"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/vmstore"
)

// ProbeVMs adds what libvirt and the VM store are like, which takes a layout
// to know where to look.
func (f *Facts) ProbeVMs(ctx context.Context, l *configs.Layout) error {
	return f.probeVMs(ctx, l, root(Input{Layout: l, Facts: *f}))
}

func (f *Facts) probeVMs(ctx context.Context, l *configs.Layout, root string) error {
	if len(l.VMs) == 0 {
		return nil
	}
	facts, err := vmstore.Probe(ctx, l.VMPlan, root)
	if err != nil {
		return err
	}
	f.VMs = &facts
	return nil
}

// vms plans what becomes of each VM: converged on the running host, and staged
// (downloaded, unpacked, described) while it is installed.
func (p *Plan) vms(in Input) {
	if len(in.Layout.VMs) == 0 {
		return
	}
	var facts vmstore.Facts
	if in.Facts.VMs != nil {
		facts = *in.Facts.VMs
	}
	plan, refusals := vmstore.MakePlan(in.Layout.VMPlan, in.Layout.Hostname, facts, vmstore.Options{Stage: p.Installing()})
	p.VMs = &plan
	if place := p.vmsPool(); place != "" && slices.Contains(p.closed(), place) {
		p.VMs = nil
		p.waits("VMs", "their store is in "+place+", which is not mounted", "they go on once the pool is")
		return
	}
	if in.Facts.VMs == nil && !p.Installing() {
		p.Warnings = append(p.Warnings, "what libvirt and the VM store hold is not among the facts: the VMs are shown as the layout has them")
		return
	}
	p.Refusals = append(p.Refusals, refusals...)
	for _, note := range plan.Notes {
		p.Warnings = append(p.Warnings, note.String())
	}
}

// vmsPool is where the pool that holds the VMs' store is mounted, or "".
func (p Plan) vmsPool() string {
	for _, pool := range p.exportPools() {
		if p.VMs.Root == pool.Mountpoint || strings.HasPrefix(p.VMs.Root, pool.Mountpoint+"/") {
			return pool.Mountpoint
		}
	}
	return ""
}
