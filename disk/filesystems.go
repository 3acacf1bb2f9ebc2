package disk

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hvinstall/step"
)

// filesystems plans the btrfs of the OS and of each pool over the volumes that
// were decided before.
func (p *planner) filesystems() {
	l := p.Layout
	if l.OS != nil {
		fs := FilesystemPlan{Label: rootLabel, UUID: p.filesystemUUID(RoleOS, ""), Role: RoleOS, Discard: l.OS.StorageMedia != "hdd"}
		for _, s := range l.OS.Subvolumes {
			fs.Subvols = append(fs.Subvols, SubvolumePlan{Name: s.Name, Mountpoint: s.Mountpoint, Options: mountOptions(l.OS.MountOptions, fs.Discard)})
		}
		if l.OS.SwapSize > 0 {
			fs.Swap = &SwapPlan{Subvolume: "swap", Path: swapPath, Size: uint64(l.OS.SwapSize), Now: p.swapNow()}
		}
		p.over(&fs, l.OS.Adopt)
	}
	for _, pool := range l.Pools {
		fs := FilesystemPlan{Label: pool.Name, UUID: p.filesystemUUID(RolePool, pool.Name), Role: RolePool, RAID1: true, Discard: pool.StorageMedia == "ssd"}
		fs.Subvols = []SubvolumePlan{{Name: pool.Name, Mountpoint: pool.Mountpoint, Options: mountOptions(pool.MountOptions, fs.Discard)}}
		p.over(&fs, pool.Adopt)
	}
}

// swapNow is the size of the swapfile that the running host uses.
func (p *planner) swapNow() uint64 {
	for _, file := range p.Facts.Swapfiles {
		if file.Path == swapPath {
			return file.Size
		}
	}
	return 0
}

// filesystemUUID is the UUID of the file system on these disks: what the kernel
// says of them, else what their marks say, else what a new one gets. Empty: known
// once the volumes are open.
func (p *planner) filesystemUUID(role Role, pool string) string {
	var disks []Disk
	var have []DiskPlan // those that are made
	derived := true
	for _, dp := range p.plan.Disks {
		if dp.Role != role || dp.Pool != pool {
			continue
		}
		disks = append(disks, dp.Disk)
		if dp.Fate == Keep || dp.Fate == Resume || dp.Fate == Adopt {
			have = append(have, dp)
			derived = derived && dp.VolumeUUID == p.seed.volume(role, pool, dp.Disk)
		}
	}
	if mounted := p.openFilesystem(have); mounted != "" {
		return mounted
	}
	if marked := p.markedFilesystem(pool, have); marked != "" {
		return marked
	}
	if !derived && (role == RoleOS || slices.ContainsFunc(have, func(dp DiskPlan) bool { return dp.Fate == Adopt })) {
		return ""
	}
	return p.seed.filesystem(role, pool, disks)
}

// openFilesystem is the btrfs that the kernel knows on the disks' mappings.
func (p *planner) openFilesystem(disks []DiskPlan) string {
	for _, fs := range p.Facts.Filesystems {
		for _, dp := range disks {
			if slices.ContainsFunc(fs.Devices, func(d BtrfsDevice) bool { return d.Mapping == dp.Mapping }) {
				return fs.UUID
			}
		}
	}
	return ""
}

// markedFilesystem is what the disks' marks agree on. Anybody who has had a disk
// in hand can write a mark: where two differ, none is believed.
func (p *planner) markedFilesystem(pool string, disks []DiskPlan) string {
	said := map[string][]string{}
	for _, dp := range disks {
		if c, carries := dp.Disk.Carried(); carries && c.Problem == "" && c.Filesystem != "" {
			said[c.Filesystem] = append(said[c.Filesystem], dp.Disk.Called())
		}
	}
	if len(said) > 1 {
		var each []string
		for _, uuid := range slices.Sorted(maps.Keys(said)) {
			each = append(each, strings.Join(said[uuid], ", ")+": "+printable(uuid))
		}
		p.refuse("marks-disagree", cmp.Or(pool, "os"), "open the volumes (boot the host, or 'cryptsetup open DEVICE MAPPING') and mount the file system: "+
			"then the kernel says which is right, and the next run writes it into the marks",
			"the marks on its disks name different file systems (%s)", strings.Join(each, "; "))
		return ""
	}
	for uuid := range said {
		return uuid
	}
	return ""
}

// membersAgree refuses a pool whose file system has other members than the
// layout names, where no new disk is taken in: the step that opens it would
// stop at that.
func (p *planner) membersAgree() {
	for _, fs := range p.plan.Filesystems {
		if fs.Fate != Keep || fs.Role != RolePool || p.refusedPool(fs.Label) {
			continue
		}
		have := p.membersOf(fs)
		names := len(fs.Devices)
		former := slices.IndexFunc(p.plan.Disks, func(dp DiskPlan) bool {
			c, carries := dp.Disk.Carried()
			return carries && dp.Role == RolePool && dp.Pool == fs.Label && p.formerMember(dp.Disk, c)
		})
		switch {
		case former >= 0:
			p.refuse("pool-member", fs.Label, fmt.Sprintf("take the line of %s out of the layout, and name the pool's %d disks; "+
				"docs/safety.md, 'A disk of a hvinstall host', says how a former member is given up", p.plan.Disks[former].ID, have),
				"%s is no member of the pool any more: the pool is mounted, and complete without it", p.plan.Disks[former].ID)
		case have == 0:
			p.closedMembers(fs)
		case have > names:
			p.refuse("pool-member", fs.Label, fmt.Sprintf("name a new disk below pools.%s.disks in the missing one's place, and btrfs replace fills it; or put the line back. "+
				"With %d disks the pool could store %s, with all of them back what it could before", fs.Label, names, DecimalSize(fs.Usable)),
				"the pool has %d disks, and the layout names %d: a member that is missing or left out cannot be done without silently", have, names)
		case have > 0 && have < names:
			p.refuse("pool-member", fs.Label, "take the line of the disk that is no member any more out of the layout; docs/safety.md, 'A disk of a hvinstall host', says how it is given up",
				"the pool has %d disks, and the layout names %d that carry its volumes", have, names)
		}
	}
}

// closedMembers is membersAgree for a pool that is not mounted: how many disks it
// had at the last run, its volumes' headers say. Where they disagree, it is known
// once the volumes are open.
func (p *planner) closedMembers(fs FilesystemPlan) {
	had := 0
	for i, dp := range p.poolDisks(fs.Label) {
		c, _ := dp.Disk.Carried()
		if i > 0 && c.Of != had {
			return
		}
		had = c.Of
	}
	if had <= len(fs.Devices) {
		return
	}
	var out []string
	for _, d := range p.Facts.Disks {
		if c, carries := d.Carried(); carries && c.Role == RolePool && c.Pool == fs.Label && p.usedBy[d.Name] == "" && p.own(d, c) {
			out = append(out, ByIDFolder+d.Called())
		}
	}
	const removed = "; if it was taken out by 'btrfs device remove' since, open the pool's volumes and mount it: then hvinstall sees that"
	if len(out) > 0 {
		p.refuse("pool-member", fs.Label, fmt.Sprintf("add %s to pools.%s.disks again%s", strings.Join(out, ", "), fs.Label, removed),
			"the pool had %d disks at the last run, and the layout names %d of them", had, len(fs.Devices))
		return
	}
	p.refuse("pool-member", fs.Label, fmt.Sprintf("put the line of the disk that is not there back, or name a new disk below pools.%s.disks in its place, and btrfs replace fills it%s", fs.Label, removed),
		"the pool had %d disks at the last run, and the layout names %d", had, len(fs.Devices))
}

// poolDisks are the disks of a pool.
func (p *planner) poolDisks(pool string) []DiskPlan {
	return slices.DeleteFunc(slices.Clone(p.plan.Disks), func(dp DiskPlan) bool { return dp.Role != RolePool || dp.Pool != pool })
}

// membersOf is how many devices the file system has, as the kernel says; 0: not
// known before its volumes are open.
func (p *planner) membersOf(fs FilesystemPlan) int {
	return len(p.Facts.filesystem(fs.UUID).Devices)
}

// refusedPool reports whether something is refused of the pool already.
func (p *planner) refusedPool(pool string) bool {
	return slices.ContainsFunc(p.refusals, func(r step.Refusal) bool { return r.Where == pool && r.Code == "pool-member" })
}

// marks says what each volume's header is to say of it.
func (p *planner) marks() {
	for _, fs := range p.plan.Filesystems {
		for i := range p.plan.Disks {
			dp := &p.plan.Disks[i]
			if dp.Mapping == "" || !dp.Writes() || !slices.Contains(fs.Devices, "/dev/mapper/"+dp.Mapping) {
				continue
			}
			m := Mark{Version: markVersion, Host: string(p.seed), Role: dp.Role, Pool: dp.Pool, Filesystem: fs.UUID}
			if dp.Role == RolePool {
				m.Of = len(fs.Devices)
				_, _ = fmt.Sscanf(strings.TrimPrefix(dp.Name, dp.Pool+"-"), "%d", &m.Number)
			}
			dp.Mark = &m
		}
	}
}

// over sums up the devices below a file system.
func (p *planner) over(fs *FilesystemPlan, adopt bool) {
	pool := ""
	if fs.Role == RolePool {
		pool = fs.Label
	}
	var sizes []uint64
	var fresh []string
	counts := map[Fate]int{}
	for _, d := range p.plan.Disks {
		if d.Role != fs.Role || d.Pool != pool {
			continue
		}
		fs.Devices = append(fs.Devices, "/dev/mapper/"+d.Mapping)
		sizes = append(sizes, d.VolumeSize)
		fs.Raw += d.VolumeSize
		counts[d.Fate]++
		if d.Fate == Create || d.Fate == Erase || d.Fate == Resume {
			fresh = append(fresh, d.Mapping)
		}
	}
	fs.Usable = fs.Raw
	if fs.RAID1 {
		fs.Usable = UsableRAID1(sizes...)
	}
	n := len(fs.Devices)
	switch {
	case counts[Refuse] > 0:
		fs.Fate = Refuse
	case counts[Away] > 0:
		fs.Fate = Away
	case counts[Create]+counts[Erase] == n:
		fs.Fate = Create
	case adopt && counts[Adopt] == n:
		fs.Fate = Adopt
	case counts[Keep]+counts[Adopt] == n:
		fs.Fate = Keep
	default:
		fs.Fate = Resume
		if counts[Keep]+counts[Adopt] > 0 {
			fs.Joins = fresh
			fs.Before, fs.Missing = p.usableNow(fs.UUID)
		}
	}
	if fs.UUID == "" && counts[Adopt] > 0 && p.Layout.OS != nil && p.Layout.OS.Image != nil {
		p.refuse("adopt-unknown", fs.Label, fmt.Sprintf("open its volumes (%s) by 'cryptsetup open DEVICE NAME', mount the file system, and run again: then its UUID, which the initramfs needs, is known",
			strings.Join(fs.Devices, ", ")), "which file system is on the volumes that are to be adopted is not known while they are closed")
	}
	p.roomFor(*fs)
	p.plan.Filesystems = append(p.plan.Filesystems, *fs)
}

// roomFor refuses new disks that are too small for what the missing ones held:
// btrfs would find that out when the disks are in already.
func (p *planner) roomFor(fs FilesystemPlan) {
	if len(fs.Joins) == 0 {
		return
	}
	var used uint64
	for _, d := range p.Facts.filesystem(fs.UUID).Devices {
		used += d.Used
	}
	if used /= 2; used > fs.Usable {
		p.refuse("pool-full", fs.Label, fmt.Sprintf("name a larger disk below pools.%s.disks", fs.Label),
			"the pool's data takes %s, and with the new disks it could store %s in two copies", DecimalSize(used), DecimalSize(fs.Usable))
	}
}

// usableNow is what a mounted RAID1 can store on the members that are there, and
// how many are not.
func (p *planner) usableNow(uuid string) (usable uint64, missing int) {
	var sizes []uint64
	for _, d := range p.Facts.filesystem(uuid).Devices {
		if d.Missing {
			missing++
		} else {
			sizes = append(sizes, d.Size)
		}
	}
	return UsableRAID1(sizes...), missing
}

// mountOptions adds what the media wants to what the layout says.
func mountOptions(layout []string, discard bool) []string {
	options := slices.Clone(layout)
	for _, o := range options {
		if strings.HasPrefix(o, "discard") || o == "nodiscard" {
			return options
		}
	}
	if discard {
		return append(options, "discard=async")
	}
	return append(options, "nodiscard")
}

// Words says what a file system is in one line: btrfs RAID1 over 3 volumes.
func (fs FilesystemPlan) Words() string {
	if fs.RAID1 {
		return fmt.Sprintf("btrfs RAID1 over %d volumes", len(fs.Devices))
	}
	return "btrfs"
}
