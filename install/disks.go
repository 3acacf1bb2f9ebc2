package install

import (
	"path/filepath"
	"slices"

	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/step"
)

// DiskEnv is what the steps of disks and volumes need beside their plans.
type DiskEnv struct {
	Root    string         // where the host's file tree is: "/" or TargetRoot
	ESP     string         // where the host mounts its ESP, as /boot
	Keyring *crypt.Keyring // the run's keys and passphrase
}

// Where header backups are kept: the pools' on the OS, the OS's on the pools.
const (
	headersOnOS   = "/var/lib/hvinstall/headers"
	headersOnPool = ".hvinstall/headers"
)

// DiskPrograms are the programs that the steps of disks and volumes run.
var DiskPrograms = []string{"cryptsetup", "mkfs.btrfs", "btrfs", "mkfs.vfat", "mkswap"}

// diskSteps is the order from bare disks to mounted file systems. Each disk
// goes its own way until its file system is made; only the measuring of the
// passphrase's cost comes before everything, because it needs an idle machine.
//
// A disk is completed (disk/seal) when all that stands on it is made: from
// then on nothing on it is ever made anew.
func diskSteps(p disk.Plan, c crypt.Plan, env DiskEnv) []step.Step {
	b := diskOrder{disks: p, crypt: c, env: env, seal: map[string][]string{}}
	if len(c.Volumes) > 0 {
		b.add(c.CostStep(env.Keyring))
	}
	b.tables()
	b.keys()
	b.volumes()
	b.filesystems()
	b.backups()
	for _, d := range p.Disks {
		if d.Writes() {
			b.add(d.SealStep(b.seal[d.ID]...))
		}
	}
	return b.steps
}

// diskOrder collects the steps.
type diskOrder struct {
	disks disk.Plan
	crypt crypt.Plan
	env   DiskEnv
	steps []step.Step
	seal  map[string][]string // by disk: what must be done before it is complete
}

func (b *diskOrder) add(s step.Step) { b.steps = append(b.steps, s) }

// has reports whether there is a step of this ID.
func (b *diskOrder) has(id string) bool {
	return slices.ContainsFunc(b.steps, func(s step.Step) bool { return s.ID == id })
}

// existing keeps those of the IDs that have a step.
func (b *diskOrder) existing(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return !b.has(id) })
}

func (b *diskOrder) tables() {
	for _, d := range b.disks.Disks {
		if !d.Writes() {
			continue
		}
		b.add(d.TableStep(b.existing(crypt.CostStepID)...))
		if d.HasVFAT() {
			b.add(d.VFATStep())
			b.seal[d.ID] = append(b.seal[d.ID], d.VFATStepID())
		}
	}
}

func (b *diskOrder) keys() {
	for _, k := range b.crypt.Keys {
		after := b.existing(crypt.CostStepID)
		for _, d := range b.disks.Disks {
			if d.ID == k.DiskID && d.Writes() {
				after = append(after, d.VFATStepID())
				b.seal[d.ID] = append(b.seal[d.ID], k.StepID())
			}
		}
		b.add(b.crypt.KeyStep(k, b.env.Keyring, after...))
	}
}

// diskOf is the disk that a volume is on.
func (b *diskOrder) diskOf(v crypt.VolumePlan) disk.DiskPlan {
	for _, d := range b.disks.Disks {
		if d.ID == v.DiskID {
			return d
		}
	}
	return disk.DiskPlan{ID: v.DiskID, Fate: disk.Adopt}
}

// begun reports whether the disk of a mapping is still being made.
func (b *diskOrder) begun(d disk.DiskPlan) func() (bool, error) {
	return func() (bool, error) {
		if !d.Writes() {
			return false, nil
		}
		return d.Begun()
	}
}

func (b *diskOrder) volumes() {
	c, k := b.crypt, b.env.Keyring
	for _, v := range c.Volumes {
		d := b.diskOf(v)
		last := b.existing(d.TableStepID(), crypt.CostStepID)
		for _, key := range c.Keys {
			last = append(last, key.StepID())
		}
		// The steps of one volume follow each other: each changes its header.
		chain := func(s step.Step) {
			b.add(s)
			last = []string{s.ID}
		}
		chain(c.FormatStep(v, k, b.begun(d), last...))
		if !v.Adopted {
			for _, key := range c.Keys {
				chain(c.SlotStep(v, key, k, last...))
			}
		}
		chain(c.OpenStep(v, k, last...))
		if !v.Adopted {
			chain(c.PassphraseStep(v, k, last...))
			if v.Mark != nil {
				chain(c.MarkStep(v, last...))
			}
		}
		b.seal[d.ID] = append(b.seal[d.ID], last...)
	}
}

func (b *diskOrder) filesystems() {
	for _, fs := range b.disks.Filesystems {
		if fs.Fate == disk.Away {
			continue // left as it is until its disk is back, or another is named
		}
		var open []string
		members := map[string]disk.DiskPlan{}
		for _, v := range b.crypt.Volumes {
			if slices.Contains(fs.Devices, v.Path()) {
				open = append(open, v.OpenStepID())
				members[v.Path()] = b.diskOf(v)
			}
		}
		b.add(fs.FormatStep(func(device string) (bool, error) { return b.begun(members[device])() }, open...))
		var done []string
		for _, m := range fs.MountSteps(b.env.Root, b.outer(fs)...) {
			b.add(m)
			done = append(done, m.ID)
		}
		if fs.Swap != nil {
			b.add(fs.SwapStep(b.env.Root, disk.MountStepID("/"+fs.Swap.Subvolume)))
			done = append(done, fs.SwapStepID())
		}
		if fs.RAID1 && fs.Fate == disk.Resume {
			b.add(fs.JoinStep(b.env.Root, done...))
			done = append(done, fs.JoinStepID())
		}
		for _, d := range members {
			b.seal[d.ID] = append(b.seal[d.ID], done...)
		}
		if fs.Role == disk.RoleOS {
			b.mountESP()
		}
	}
}

func (b *diskOrder) mountESP() {
	for _, d := range b.disks.Disks {
		if d.Role == disk.RoleOS && d.Writes() && d.HasVFAT() && b.env.ESP != "" {
			b.add(d.ESPMountStep(b.env.Root, b.env.ESP, b.existing(disk.MountStepID("/"))...))
		}
	}
}

// outer are the mounts of other file systems that this one's stand in.
func (b *diskOrder) outer(fs disk.FilesystemPlan) []string {
	if fs.Role == disk.RoleOS {
		return nil
	}
	return b.existing(disk.MountStepID("/"))
}

// backups keeps every volume's header on a file system that is not its own.
func (b *diskOrder) backups() {
	for _, v := range b.crypt.Volumes {
		folder, mounts := b.keeper(v)
		if folder == "" {
			continue
		}
		after := append(mounts, v.OpenStepID())
		after = append(after, b.existing(v.PassphraseStepID(), v.MarkStepID())...)
		b.add(v.BackupStep(filepath.Join(b.env.Root, folder), after...))
	}
}

// keeper is the folder that keeps a volume's header, and the mounts it needs:
// the OS for a pool's, the first pool for the OS's or where there is no OS.
func (b *diskOrder) keeper(v crypt.VolumePlan) (folder string, mounts []string) {
	for _, fs := range b.disks.Filesystems {
		if slices.Contains(fs.Devices, v.Path()) || len(fs.Subvols) == 0 || fs.Fate == disk.Away {
			continue
		}
		for _, s := range fs.Subvols {
			mounts = append(mounts, disk.MountStepID(s.Mountpoint))
		}
		if fs.Role == disk.RoleOS {
			return headersOnOS, mounts
		}
		return filepath.Join(fs.Subvols[0].Mountpoint, headersOnPool), mounts
	}
	return "", nil
}
