package install

import (
	"context"
	"slices"
	"time"

	"hvinstall/crypt"
	"hvinstall/host"
	"hvinstall/net/bridge"
	"hvinstall/net/filter"
	"hvinstall/net/nfs"
	"hvinstall/osimage"
	"hvinstall/step"
	"hvinstall/vmstore"
)

// Env is what the steps need beside the plan.
type Env struct {
	Keyring    *crypt.Keyring
	Binary     string        // path of the running hvinstall, which is put on the host
	NetTimeout time.Duration // how long a peer may take to answer from the bridge
	Restart    bool          // restart VMs whose changes need it
	// Initrd builds the initramfs of a kernel version from the system at root.
	Initrd func(ctx context.Context, root, version, output string) error
}

// layoutOnHost is where the plan lies on the installed host.
const layoutOnHost = "/etc/hvinstall/layout.yaml"

// Steps are what a run of the plan does, in order. While the host is installed,
// the boot entry is the last of them: a host that boots is a host that is whole.
func (p Plan) Steps(env Env) ([]step.Step, error) {
	var steps []step.Step
	add := func(more []step.Step, after []string) {
		for i := range more {
			more[i].After = append(more[i].After, after...)
		}
		steps = append(steps, more...)
	}
	if p.Has(PartDisks) {
		add(diskSteps(p.Disk, p.Crypt, DiskEnv{Root: p.Root, ESP: p.espMount(), Keyring: env.Keyring}), nil)
	}
	mounted := ids(steps)

	var boot []step.Step
	if p.OS != nil && p.Has(PartOS) {
		system := p.OS.Steps(osimage.Env{Root: p.Root, Binary: env.Binary, After: mounted, Initrd: env.Initrd, KeyDigest: KeyDigest, KeepBoot: p.volumeAway()})
		last := slices.IndexFunc(system, func(s step.Step) bool { return s.ID == osimage.BootStep })
		if last < 0 {
			last = len(system)
		}
		boot = system[last:]
		add(system[:last], nil)
	}
	if p.isNixOS() && p.Has(PartOS) && !p.volumeAway() {
		system, err := p.nixosSteps(env, mounted)
		if err != nil {
			return nil, err
		}
		last := len(system) - 1
		boot = system[last:] // nixos-install, which writes the boot entry
		add(system[:last], nil)
	}
	unpacked := ids(steps)
	if p.Has(PartDisks) && len(p.Disk.Disks) > 0 && (!p.Installing() || p.Has(PartOS) && (p.OS != nil || p.isNixOS())) {
		add([]step.Step{p.seedStep(unpacked...)}, nil)
	}

	if p.Network != nil && p.Has(PartNet) {
		add(p.Network.Steps(bridge.Env{
			Root: p.Root, Live: !p.Installing(), Timeout: env.NetTimeout, Guard: []string{env.Binary, GuardCommand},
		}), unpacked)
	}
	// The filter before the exports: nobody gets in between.
	filtered := unpacked
	if p.Filter != nil && p.Has(PartNet) && !p.isNixOS() {
		closing := p.Filter.Steps(filter.Env{Root: p.Root, Live: !p.Installing()})
		add(closing, unpacked)
		filtered = append(slices.Clone(unpacked), ids(closing)...)
	}
	if p.NFS != nil && p.Has(PartNet) {
		add(p.NFS.Steps(nfs.Env{Root: p.Root, Live: !p.Installing()}), filtered)
	}
	if p.VMs != nil && p.Has(PartVMs) {
		after := mounted
		if !p.Installing() {
			after = ids(steps) // a VM's bridge must be there
		}
		vms, err := p.VMs.Steps(vmstore.Env{Root: p.Root, Restart: env.Restart})
		if err != nil {
			return nil, err
		}
		add(vms, after)
		if p.OS != nil {
			add([]step.Step{vmstore.InstallUnit(p.Root, osimage.BinaryPath, layoutOnHost, p.vmsPool())}, unpacked)
		}
	}
	add(boot, ids(steps))
	return steps, nil
}

// GuardCommand is the hidden command that puts the network back when a run
// dies in the middle of moving it.
const GuardCommand = "net-guard"

func ids(steps []step.Step) []string {
	var names []string
	for _, s := range steps {
		names = append(names, s.ID)
	}
	return names
}

// MissingPrograms names the programs that the plan runs and that are not
// installed, all at once and before anything is written.
func (p Plan) MissingPrograms() []string {
	var programs []string
	if p.Has(PartDisks) && len(p.Disk.Disks) > 0 {
		programs = append(programs, DiskPrograms...)
	}
	if p.Has(PartOS) && p.OS != nil {
		programs = append(programs, osimage.Programs()...)
	}
	return host.Missing(slices.Compact(programs)...)
}

// TargetIsMounted reports whether the host's own file tree is at p.Root, so
// that a log can be kept there.
func (p Plan) TargetIsMounted() bool {
	if !p.Installing() {
		return true
	}
	_, mounted, err := host.MountedAt(p.Root)
	return err == nil && mounted
}
