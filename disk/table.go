package disk

import "fmt"

// table lays out the disk's GPT. GUIDs are derived from the disk's identity,
// so that a table written by an interrupted run is known again.
func (p *planner) table(w want, d Disk) TablePlan {
	derive := func(part string) string { return p.seed.part(part, w.role, w.pool, d) }
	label := func(part string) string { return fmt.Sprintf("disk-%s-%s", w.name, part) }
	t := TablePlan{GUID: derive("gpt"), Host: string(p.seed)}
	next := uint64(alignment)
	add := func(part PartitionPlan) {
		part.Number, part.Start = len(t.Partitions)+1, next
		if part.Size == 0 {
			// The last MiB stays free: the backup GPT lies there.
			end := d.Size / alignment * alignment
			if d.Size-end < 34*uint64(max(d.LogicalSector, 512)) {
				end -= alignment
			}
			part.Size = max(end, next) - next
		}
		next += part.Size
		t.Partitions = append(t.Partitions, part)
	}
	switch w.role {
	case RoleOS:
		add(PartitionPlan{
			Label: label("ESP"), Type: TypeESP, GUID: derive("esp"), Size: uint64(p.Layout.OS.ESPSize) / alignment * alignment,
			Format: "vfat", FSLabel: "ESP", FSUUID: p.seed.volumeSerial("esp", d),
		})
		add(PartitionPlan{Label: label("luks"), Type: TypeLinuxLUKS, GUID: derive("volume"), Format: "luks"})
	case RolePool:
		add(PartitionPlan{Label: label("luks"), Type: TypeLinuxLUKS, GUID: derive("volume"), Format: "luks"})
	case RoleKey:
		add(PartitionPlan{
			Label: label("key"), Type: TypeBasicData, GUID: derive("stick"),
			Format: "vfat", FSLabel: keyLabel, FSUUID: p.seed.volumeSerial("key", d),
		})
	}
	return t
}
