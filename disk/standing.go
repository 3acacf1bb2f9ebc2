package disk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// What a layout can no longer change of disks that are made, and what left it,
// is said: silence would look like consent.

// standing refuses what is never changed in place.
func (p *planner) standing(wants []want) {
	for _, dp := range p.plan.Disks {
		if dp.Role != RoleOS || dp.Fate != Keep {
			continue
		}
		for _, part := range dp.Table.Partitions {
			if desired := uint64(p.Layout.OS.ESPSize) / alignment * alignment; part.Format == "vfat" && part.Size != desired {
				p.refuse("esp-size", "os.esp_size", fmt.Sprintf("say esp_size: %s again: a partition is never resized in place", strings.ReplaceAll(BinarySize(part.Size), " ", "")),
					"the EFI partition of the system disk has %s, and the layout says %s", BinarySize(part.Size), p.Layout.OS.ESPSize)
			}
		}
	}
	if !p.hosted(wants) {
		p.mountedBefore()
		return
	}
	p.swapLeft()
	for _, fs := range p.plan.Filesystems {
		if fs.Fate == Refuse || fs.Fate == Create {
			continue
		}
		for _, have := range p.Facts.Filesystems {
			switch {
			case have.UUID != fs.UUID || len(have.Mounts) == 0:
			case fs.Role == RoleOS:
				p.subvolumes(fs, have)
			case !slices.Contains(have.Mounts, fs.Subvols[0].Mountpoint):
				p.poolMoved(fs, have)
			default:
				p.degraded(fs, have)
			}
		}
	}
}

// mountedBefore refuses another subvolume where an earlier run of this
// installation has mounted one.
func (p *planner) mountedBefore() {
	for _, fs := range p.plan.Filesystems {
		for _, have := range p.Facts.Filesystems {
			for _, place := range have.Places {
				rest, below := strings.CutPrefix(place.Mountpoint, p.Target)
				at := slices.IndexFunc(fs.Subvols, func(s SubvolumePlan) bool { return s.Mountpoint == cmp.Or(rest, "/") })
				if p.Target == "" || !below || have.UUID != fs.UUID || at < 0 || fs.Subvols[at].Name == place.Subvolume {
					continue
				}
				p.refuse("subvolume-moved", "subvolumes of "+fs.Label, fmt.Sprintf("say '%s: %s' again, or unmount what that run mounted (umount -R %s): nothing is lost by either",
					place.Subvolume, fs.Subvols[at].Mountpoint, p.Target),
					"an earlier run has mounted the subvolume %s at %s, and the layout says %s", place.Subvolume, place.Mountpoint, fs.Subvols[at].Name)
			}
		}
	}
}

// poolMoved refuses another mountpoint, and names what would lose its files.
func (p *planner) poolMoved(fs FilesystemPlan, have Btrfs) {
	desired := fs.Subvols[0].Mountpoint
	hint := fmt.Sprintf("say mountpoint: %s again: what is on it is known by that path, and hvinstall does not move it", have.Mounts[0])
	if users := p.below(append(slices.Clone(have.Mounts), desired)...); len(users) > 0 {
		hint = fmt.Sprintf("say mountpoint: %s again: %s would not find their files, and hvinstall does not move them", have.Mounts[0], strings.Join(users, ", "))
	}
	p.refuse("pool-moved", "pools."+fs.Label+".mountpoint", hint, "the pool %s is mounted at %s, and the layout says %s", fs.Label, strings.Join(have.Mounts, ", "), desired)
}

// degraded tells of a pool that was mounted without a disk which is there now.
func (p *planner) degraded(fs FilesystemPlan, have Btrfs) {
	missing := 0
	for _, d := range have.Devices {
		if d.Missing {
			missing++
		}
	}
	if missing > 0 && fs.Fate == Keep {
		p.plan.Left = append(p.plan.Left, fmt.Sprintf("the pool %s is mounted without %d of its %d disks, though the layout's are all there: some of what is written has one copy. "+
			"Boot again with all of them, then 'btrfs scrub start -B %s' and 'btrfs balance start -dconvert=raid1,soft -mconvert=raid1,soft %s' make the second ones",
			fs.Label, missing, len(have.Devices), fs.Subvols[0].Mountpoint, fs.Subvols[0].Mountpoint))
	}
}

// below are the VMs and exports of the layout whose files are at one of the places.
func (p *planner) below(places ...string) []string {
	is := func(path string) bool {
		return path != "" && slices.ContainsFunc(places, func(place string) bool { return path == place || within(path, place) })
	}
	var vms, exports []string
	for _, vm := range p.Layout.VMs {
		if vm.State != "absent" && is(p.Layout.VMStoreRoot) {
			vms = append(vms, vm.Name)
		}
	}
	if p.Layout.NFSExports != nil {
		for _, e := range p.Layout.NFSExports.Exports {
			if is(e.Path) {
				exports = append(exports, e.Path)
			}
		}
	}
	var all []string
	if len(vms) > 0 {
		all = append(all, "the VMs "+strings.Join(vms, ", "))
	}
	if len(exports) > 0 {
		all = append(all, "the exports "+strings.Join(exports, ", "))
	}
	return all
}

// subvolumes refuses what would put other files in a subvolume's place. A
// subvolume that is new to the layout is made.
func (p *planner) subvolumes(fs FilesystemPlan, have Btrfs) {
	const where = "os.subvolumes"
	for _, place := range have.Places {
		named := slices.IndexFunc(fs.Subvols, func(s SubvolumePlan) bool { return s.Name == place.Subvolume })
		taken := slices.IndexFunc(fs.Subvols, func(s SubvolumePlan) bool { return s.Mountpoint == place.Mountpoint })
		line := place.Subvolume + ": " + place.Mountpoint
		switch {
		case taken >= 0 && named == taken:
		case taken >= 0:
			p.refuse("subvolume-moved", where, fmt.Sprintf("say '%s' again, and give %s another place: hvinstall moves no files between subvolumes", line, fs.Subvols[taken].Name),
				"at %s is the subvolume %s, and the layout says %s", place.Mountpoint, place.Subvolume, fs.Subvols[taken].Name)
		case named >= 0 && !slices.ContainsFunc(have.Places, func(other Place) bool {
			return other.Subvolume == place.Subvolume && other.Mountpoint == fs.Subvols[named].Mountpoint
		}):
			p.refuse("subvolume-moved", where, fmt.Sprintf("say '%s' again: what is in it is known by that path", line),
				"the subvolume %s is mounted at %s, and the layout says %s", place.Subvolume, place.Mountpoint, fs.Subvols[named].Mountpoint)
		case named >= 0 || place.Mountpoint == swapMount || fs.Fate != Keep:
		case place.Mountpoint == "/home":
			p.refuse("subvolume-left-out", where, fmt.Sprintf("say '%s' again: without it the accounts' homes and SSH keys are gone at the next boot", line),
				"the layout leaves out the subvolume %s, which is mounted at /home", place.Subvolume)
		case slices.Contains([]string{"/nix", "/usr", "/var"}, place.Mountpoint):
			p.refuse("subvolume-left-out", where, fmt.Sprintf("say '%s' again: the system does not start without what is in it", line),
				"the layout leaves out the subvolume %s, which is mounted at %s", place.Subvolume, place.Mountpoint)
		default:
			p.plan.Left = append(p.plan.Left, fmt.Sprintf("the subvolume %s, mounted at %s, is not in the layout: nothing in it is deleted; "+
				"hvinstall no longer mounts it from the next boot on", place.Subvolume, place.Mountpoint))
		}
	}
}

// swapLeft tells of a swapfile that the layout no longer has.
func (p *planner) swapLeft() {
	if now := p.swapNow(); p.Layout.OS != nil && p.Layout.OS.SwapSize == 0 && now != 0 {
		p.plan.Left = append(p.plan.Left, fmt.Sprintf("swap_size is not in the layout: the swapfile %s (%s) stays where it is, and is not used from the next boot on; "+
			"'swapoff %s && rm %s' gives its room back", swapPath, BinarySize(now), swapPath, swapPath))
	}
}

// dropped lists the pools of this host that the layout no longer has.
func (p *planner) dropped() {
	pools := map[string][]string{}
	var order []string
	for _, d := range p.Facts.Disks {
		c, carries := d.Carried()
		if !carries || c.Role != RolePool || !p.own(d, c) || p.poolNamed(c.Pool) >= 0 || p.usedBy[d.Name] != "" {
			continue
		}
		if pools[c.Pool] == nil {
			order = append(order, c.Pool)
		}
		pools[c.Pool] = append(pools[c.Pool], d.Called())
	}
	for _, pool := range order {
		if users := p.below(p.placesOf(pool)...); len(users) > 0 {
			p.refuse("pool-dropped", "pools."+pool, fmt.Sprintf("put the pool back, or take out of the layout first what is on it: %s would not find their files", strings.Join(users, ", ")),
				"the pool %s is not in the layout, and what the layout has is on it", pool)
			continue
		}
		p.plan.Left = append(p.plan.Left, fmt.Sprintf("the pool %s is not in the layout: its disks (%s) are left alone, nothing on them is erased; "+
			"from the next boot on it is neither opened nor mounted, and its exports are taken back", pool, strings.Join(pools[pool], ", ")))
	}
}

// placesOf is where a pool that the layout no longer has is mounted; closed, where
// pools are mounted that say nothing else.
func (p *planner) placesOf(pool string) []string {
	for _, fs := range p.Facts.Filesystems {
		if len(fs.Mounts) > 0 && slices.ContainsFunc(fs.Devices, func(d BtrfsDevice) bool { return strings.HasPrefix(d.Mapping, "crypt-"+pool+"-") }) {
			return fs.Mounts
		}
	}
	return []string{"/mnt/" + pool}
}

// takesOver says which host's pools a system that is made anew gets: whoever
// installs a machine with the disks of another in it must see that.
func (p *planner) takesOver() {
	if p.Layout.OS == nil || len(p.plan.Disks) == 0 || p.running() {
		return
	}
	if fate := p.plan.Disks[0].Fate; fate != Create && fate != Erase {
		return
	}
	kept := map[string]int{}
	for _, dp := range p.plan.Disks {
		if c, carries := dp.Disk.Carried(); dp.Role == RolePool && dp.Fate == Keep && carries && p.own(dp.Disk, c) {
			kept[dp.Pool]++
		}
	}
	former := Former{Host: string(p.seed)}
	for _, pool := range p.Layout.Pools {
		if n := kept[pool.Name]; n > 0 {
			former.Pools = append(former.Pools, fmt.Sprintf("%s (%d disks)", pool.Name, n))
		}
	}
	if len(former.Pools) > 0 {
		p.plan.Former = &former
	}
}
