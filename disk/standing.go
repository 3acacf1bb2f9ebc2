package disk

import (
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
		return
	}
	for _, fs := range p.plan.Filesystems {
		if fs.Role != RolePool || fs.Fate == Refuse || fs.Fate == Create {
			continue
		}
		desired := fs.Subvols[0].Mountpoint
		for _, have := range p.Facts.Filesystems {
			if have.UUID == fs.UUID && len(have.Mounts) > 0 && !slices.Contains(have.Mounts, desired) {
				p.refuse("pool-moved", "pools."+fs.Label+".mountpoint", fmt.Sprintf("say mountpoint: %s again: VMs' disks and exports refer to that path, and hvinstall does not move them yet", have.Mounts[0]),
					"the pool %s is mounted at %s, and the layout says %s", fs.Label, strings.Join(have.Mounts, ", "), desired)
			}
		}
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
		p.plan.Left = append(p.plan.Left, fmt.Sprintf("the pool %s is not in the layout: its disks (%s) are left alone, nothing on them is erased; "+
			"from the next boot on it is neither opened nor mounted, and its exports are taken back", pool, strings.Join(pools[pool], ", ")))
	}
}
