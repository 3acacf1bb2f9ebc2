package disk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// fate decides what becomes of the disk's content. Nothing that looks like
// somebody's data is touched without --erase naming the disk.
func (p *planner) fate(w want, dp *DiskPlan) Fate {
	d := dp.Disk
	if d.Blank() {
		return Create
	}
	carried, carries := d.Carried()
	if carries && carried.Problem != "" {
		p.refuseCarried(w, d, carried)
		return Refuse
	}
	if twins := p.twins(carried); carries && len(twins) > 1 {
		p.refuseTwins(w, carried, twins)
		return Refuse
	}
	if mapping, part, lost := d.lostVolume(); lost && !carries && !d.isOurs(dp.Table) {
		p.refuseLost(w.ref.ID, mapping, part)
		return Refuse
	}
	if w.adopt {
		if reason := p.adopt(w, dp); reason == "" {
			return Adopt
		} else if !d.isOurs(dp.Table) {
			p.refuse("adopt", w.ref.ID, "leave adopt out to have the disk made anew, or put right what is missing", "adopt is set, but %s", reason)
			return Refuse
		}
	}
	if d.isOurs(dp.Table) {
		return p.ours(dp)
	}
	own := carries && p.own(d, carried)
	if own && carried.Role == w.role && carried.Pool == w.pool {
		reason := p.adopt(w, dp)
		if reason == "" && dp.Table.GUID == "" {
			reason = "not in a partition table that hvinstall writes: it looks like a byte copy of its partition, which belongs on a partition again"
		}
		if reason == "" && d.Begun {
			reason = "its disk has the mark of one that is being made, under another identity"
		}
		if reason == "" {
			return Keep
		}
		p.refuse("volume-incomplete", w.ref.ID, "nothing is written to it; docs/recovery.md says how a damaged disk of this host is mended",
			"carries %s, of this host, but %s", carried, reason)
		return Refuse
	}
	switch {
	case w.role == RoleKey && p.ownStick(d):
		return p.keepStick(dp)
	case w.role != RoleKey && (p.ownStick(d) || p.opens(d)):
		p.refuse("stick-of-host", w.ref.ID, "name another disk here, and leave the stick's line below encryption.usb_keys; "+
			"a stick that is to be something else is first made blank by hand, once another one opens the host",
			"it is a key stick of this host, and opens its volumes")
		return Refuse
	}
	switch {
	case own && p.formerMember(d, carried) && slices.ContainsFunc(p.Erase, dp.isCalled):
		return Erase
	case own, carries && carried.Open: // no consent erases a volume of this host, or one that it has open
		p.refuseCarried(w, d, carried)
		return Refuse
	case slices.ContainsFunc(p.Erase, dp.isCalled):
		return Erase
	case carries:
		p.refuseCarried(w, d, carried)
		return Refuse
	}
	if fat, found := d.keyStick(); found {
		p.refuse("stick-of-host", w.ref.ID, "to put this host's key beside what is there, name it by {uuid: "+fat.UUID+"} in encryption.usb_keys; "+
			"docs/safety.md, 'A disk of a hvinstall host', says how to give it up",
			"it is a key stick that hvinstall made for a host whose identity is not this layout's")
		return Refuse
	}
	if holders := d.AllHolders(); len(d.Signatures) == 0 && len(d.Partitions) == 0 && len(holders) > 0 {
		return Create // mayBeWritten names who holds it
	}
	if name := d.unreadVolume(); name != "" {
		p.refuse("disk-unread", w.ref.ID, "run where it can be read: as root, and not in a container that keeps the device away; then its header says whose it is",
			"carries the volume %s, perhaps a hvinstall host's, and its header could not be read", name)
		return Refuse
	}
	hint := "if nothing of it is needed, run again with --erase " + w.ref.ID
	if w.role != RoleKey && p.looksAdoptable(w, d) {
		hint += "; to keep it as it is, set adopt: true"
	}
	p.refuse("disk-data", w.ref.ID, hint, "holds data: %s", d.Content())
	return Refuse
}

// keepStick takes a stick of this host as it is.
func (p *planner) keepStick(dp *DiskPlan) Fate {
	gpt, _ := find(dp.Disk.Signatures, "gpt")
	table := TablePlan{GUID: gpt.UUID}
	for _, part := range dp.Disk.Partitions {
		if fat, found := find(part.Signatures, "vfat"); found && fat.Label == keyLabel {
			table.Partitions = append(table.Partitions, PartitionPlan{
				Number: part.Number, Label: part.Label, Type: part.Type, GUID: part.GUID, Start: part.Start, Size: part.Size,
				Format: "vfat", FSUUID: fat.UUID, FSLabel: fat.Label,
			})
		}
	}
	dp.Table = table
	return Keep
}

// unreadVolume is a LUKS volume that has the name of a hvinstall host's, as udev
// or the partition's name says, and whose header could not be read.
func (d Disk) unreadVolume() string {
	if !d.unread() {
		return ""
	}
	name := ""
	for _, part := range d.Partitions {
		name = cmp.Or(name, part.volume())
	}
	for _, signatures := range append(partitionSignatures(d), d.Signatures) {
		for _, s := range signatures {
			if _, labelled := markOfLabel(s.Label); labelled && s.Type == "luks2" && s.Subsystem == "" {
				name = s.Label
			}
		}
	}
	return name
}

// unread reports whether some of the disk's content could not be read.
func (d Disk) unread() bool {
	return slices.ContainsFunc(append(partitionSignatures(d), d.Signatures), func(signatures []Signature) bool {
		_, unread := find(signatures, Unread)
		return unread
	})
}

func partitionSignatures(d Disk) [][]Signature {
	var all [][]Signature
	for _, part := range d.Partitions {
		all = append(all, part.Signatures)
	}
	return all
}

// isOurs reports whether the table on the disk is the one that this plan would
// write: an identity that nobody else derives.
func (d Disk) isOurs(t TablePlan) bool {
	gpt, found := find(d.Signatures, "gpt")
	return found && strings.EqualFold(gpt.UUID, t.GUID)
}

// ours tells work that is complete from work that was interrupted, and refuses
// a table of ours whose partitions have since become something else.
func (p *planner) ours(dp *DiskPlan) Fate {
	complete := true
	for i, want := range dp.Table.Partitions {
		at := slices.IndexFunc(dp.Disk.Partitions, func(have Partition) bool { return strings.EqualFold(have.GUID, want.GUID) })
		if at < 0 {
			complete = false
			continue
		}
		have := dp.Disk.Partitions[at]
		if have.Start != want.Start || have.Size != want.Size {
			if want.Format == "vfat" && have.Start == want.Start || want.Format == "luks" && have.Size > 0 {
				// The layout's sizes changed after the disk was made: what is
				// there stays, and sizes are never changed in place.
				dp.Table.Partitions[i].Start, dp.Table.Partitions[i].Size = have.Start, have.Size
				if want.Format == "luks" {
					dp.VolumeSize = have.Size - min(have.Size, luksHeader)
				}
			}
		}
		dp.Table.Partitions[i].Number = have.Number
		switch want.Format {
		case "luks":
			luks, found := find(have.Signatures, "luks2", "luks1")
			switch {
			case !found && dp.Disk.Begun:
				complete = false
			case !found && have.empty():
				p.refuseLost(dp.ID, dp.Mapping, have)
				return Refuse
			case found && luks.UUID == dp.VolumeUUID:
				dp.VolumeExists = true
			default:
				p.refuse("volume-foreign", dp.ID, "find out what put it there before anything else; docs/safety.md says how a disk of this host is given up",
					"the partition table is hvinstall's, but partition %d holds %s instead of the volume %s",
					have.Number, have.content(), dp.Mapping)
				return Refuse
			}
		case "vfat":
			if _, found := find(have.Signatures, "vfat"); !found {
				complete = false
			}
		}
	}
	if complete && !dp.Disk.Begun {
		return Keep
	}
	return Resume
}

// empty reports whether nothing in the partition is known.
func (p Partition) empty() bool {
	return !slices.ContainsFunc(p.Signatures, func(s Signature) bool { return s.Type != UnknownData })
}

// refuseLost refuses a disk whose volume's LUKS header is gone: whoever formats
// it anew loses what is behind the header for good. Where something else is in its
// place by now, the header's backup would overwrite that.
func (p *planner) refuseLost(id, mapping string, part Partition) {
	now, hint := "", "bring the header back from its backup on another volume of the host (cryptsetup luksHeaderRestore; docs/recovery.md)"
	if !part.empty() {
		now = "; it holds " + part.content() + " now"
		hint = "name another disk here; a header that is brought back (docs/recovery.md) overwrites what the partition holds now"
	}
	p.refuse("header-lost", id, hint, "partition %d held the volume %s once, and its LUKS header is gone%s", part.Number, mapping, now)
}

// looksAdoptable reports whether adopt would find what it needs.
func (p *planner) looksAdoptable(w want, d Disk) bool {
	probe := DiskPlan{Disk: d, Table: p.table(w, d)}
	return p.adopt(w, &probe) == ""
}

// adopt takes the disk's own layout as the plan: its LUKS volume, and the ESP
// of a system disk. It returns what is missing, or "".
func (p *planner) adopt(w want, dp *DiskPlan) (missing string) {
	var table TablePlan
	if gpt, found := find(dp.Disk.Signatures, "gpt"); found {
		table.GUID = gpt.UUID
	}
	var volumes, esps int
	var volume Signature
	for _, part := range dp.Disk.Partitions {
		have := PartitionPlan{
			Number: part.Number, Label: part.Label, Type: part.Type, GUID: part.GUID, Start: part.Start, Size: part.Size,
		}
		if luks, found := find(part.Signatures, "luks2", "luks1"); found {
			volumes, volume = volumes+1, luks
			have.Format = "luks"
			dp.VolumeUUID, dp.VolumeExists, dp.VolumeDevice = luks.UUID, true, have.Device()
			dp.VolumeSize = part.Size - min(part.Size, luksHeader)
		} else if fat, found := find(part.Signatures, "vfat"); found && strings.EqualFold(part.Type, TypeESP) {
			esps++
			have.Format, have.FSUUID, have.FSLabel = "vfat", fat.UUID, fat.Label
		}
		table.Partitions = append(table.Partitions, have)
	}
	if luks, found := find(dp.Disk.Signatures, "luks2", "luks1"); found && volumes == 0 && w.role == RolePool {
		volumes, volume = 1, luks // LUKS on the whole disk, without a table
		dp.VolumeUUID, dp.VolumeExists, dp.VolumeDevice = luks.UUID, true, dp.ID
		dp.VolumeSize = dp.Disk.Size - min(dp.Disk.Size, luksHeader)
	}
	switch {
	case volumes == 0:
		return "no LUKS volume is on the disk"
	case volumes > 1:
		return fmt.Sprintf("%d LUKS volumes are on the disk, and one is expected", volumes)
	case volume.Cipher != "" && !strings.HasSuffix(volume.Cipher, "-xts-plain64"):
		return "its LUKS1 volume is encrypted by " + volume.Cipher + ", and hvinstall opens only those of xts-plain64: cryptsetup reencrypt changes that"
	case w.role == RoleOS && esps != 1:
		return fmt.Sprintf("%d EFI system partitions are on the disk, and one is expected", esps)
	}
	dp.Table = table
	return ""
}
