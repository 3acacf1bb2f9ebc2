package disk

import (
	"fmt"
	"slices"
	"strings"
)

// filesystems plans the btrfs of the OS and of each pool over the volumes that
// were decided before.
func (p *planner) filesystems() {
	l := p.Layout
	if l.OS != nil {
		fs := FilesystemPlan{Label: rootLabel, UUID: l.UUID("btrfs/os/" + p.identities(RoleOS, "")), Role: RoleOS, Discard: l.OS.StorageMedia != "hdd"}
		for _, s := range l.OS.Subvolumes {
			fs.Subvols = append(fs.Subvols, SubvolumePlan{Name: s.Name, Mountpoint: s.Mountpoint, Options: mountOptions(l.OS.MountOptions, fs.Discard)})
		}
		if l.OS.SwapSize > 0 {
			fs.Swap = &SwapPlan{Subvolume: "swap", Path: swapPath, Size: uint64(l.OS.SwapSize)}
		}
		p.over(&fs, l.OS.Adopt)
	}
	for _, pool := range l.Pools {
		fs := FilesystemPlan{Label: pool.Name, UUID: l.UUID("btrfs/pool/" + pool.Name), Role: RolePool, RAID1: true, Discard: pool.StorageMedia == "ssd"}
		fs.Subvols = []SubvolumePlan{{Name: pool.Name, Mountpoint: pool.Mountpoint, Options: mountOptions(pool.MountOptions, fs.Discard)}}
		p.over(&fs, pool.Adopt)
	}
}

// identities joins what the disks of one file system are, so that its UUID is
// new where it is made on other disks: btrfs takes two file systems of one
// UUID for one.
func (p *planner) identities(role Role, pool string) string {
	var names []string
	for _, d := range p.plan.Disks {
		if d.Role == role && d.Pool == pool {
			names = append(names, d.Disk.Identity())
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
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
		if d.Fate == Create || d.Fate == Erase {
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
		}
	}
	if adopt && counts[Adopt] > 0 {
		fs.UUID = "" // its own is known once its volumes are open
	}
	p.plan.Filesystems = append(p.plan.Filesystems, *fs)
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
