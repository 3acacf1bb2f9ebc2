package disk

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// luksSubsystem is the LUKS2 subsystem field of every volume that hvinstall
// makes (LUKS2 on-disk format, section 2.1).
const luksSubsystem = "hvinstall"

var poolLabel = regexp.MustCompile(`^crypt-(.+)-([0-9]{1,3})$`)

// Carried is the volume of a hvinstall host that a disk carries, as its LUKS2
// header says without a key. Anybody can write such a header: it is reason
// enough never to call the disk's content foreign data, and no reason to write.
type Carried struct {
	Role    Role
	Pool    string // of RolePool
	Number  int    // of RolePool
	Mapping string
	UUID    string // of the LUKS volume
	Open    bool   // the running system has it open under this very name
}

// String names the volume, and the pool that it is of.
func (c Carried) String() string {
	if c.Role == RoleOS {
		return "the system volume cryptroot"
	}
	return fmt.Sprintf("the volume %s, number %d of the pool %s", c.Mapping, c.Number, c.Pool)
}

// Carried is the volume of a hvinstall host on the disk.
func (d Disk) Carried() (Carried, bool) {
	for _, part := range d.Partitions {
		luks, found := find(part.Signatures, "luks2")
		if !found || luks.Subsystem != luksSubsystem {
			continue
		}
		c := Carried{Role: RoleOS, Mapping: luks.Label, UUID: luks.UUID}
		if match := poolLabel.FindStringSubmatch(luks.Label); match != nil {
			c.Role, c.Pool = RolePool, match[1]
			c.Number, _ = strconv.Atoi(match[2])
		} else if luks.Label != "cryptroot" {
			continue
		}
		c.Open = slices.ContainsFunc(part.Holders, func(h Holder) bool { return h.Kind == "dm" && h.Name == c.Mapping })
		return c, true
	}
	return Carried{}, false
}

var keyPartition = regexp.MustCompile(`^disk-key-[0-9]+-key$`)

// keyStick is the FAT volume ID of a stick that hvinstall formatted for the
// keys of some host, as its partition's and its file system's label say.
func (d Disk) keyStick() (uuid string, found bool) {
	for _, part := range d.Partitions {
		if fat, found := find(part.Signatures, "vfat"); found && fat.Label == keyLabel && keyPartition.MatchString(part.Label) {
			return fat.UUID, true
		}
	}
	return "", false
}

// isOwn reports whether the disk carries a volume of this pool that the running
// host has open. Its model, serial and by-id name may have changed since it was
// made (firmware, another enclosure or controller), and the identities derived
// from them; the volume has not. Two disks with one volume are never its own:
// which of them is the copy cannot be told.
func (p *planner) isOwn(d Disk, pool string) bool {
	c, found := d.Carried()
	if !found || c.Role != RolePool || c.Pool != pool || !c.Open || d.Begun {
		return false
	}
	alike := 0
	for _, other := range p.Facts.Disks {
		if have, found := other.Carried(); found && strings.EqualFold(have.UUID, c.UUID) {
			alike++
		}
	}
	return alike == 1
}

// formerName recognises a host whose layout has another hostname than its
// disks were made under, and plans with the name they were made under. What
// keeps the identities for good is the layout's seed, so it is asked for.
func (p *planner) formerName() {
	former := p.Hostname
	if former == "" || former == p.Layout.Seed || p.madeUnder(p.Layout.Seed) > 0 || p.madeUnder(former) == 0 {
		return
	}
	p.refuse("host-renamed", p.Layout.Hostname,
		fmt.Sprintf("to rename the host and leave its disks as they are, add 'seed: %s' to the layout, "+
			"and 'key_filename: %s' to its encryption: unless that is there", former, p.formerKey(former)),
		"this host's disks were made under the name %s, and the layout calls it %s", former, p.Layout.Hostname)
	renamed := *p.Layout
	renamed.Seed = former
	p.Layout = &renamed
}

// formerKey is the name of the key file on the sticks: the layout's, where it
// gives one, else the former hostname.
func (p *planner) formerKey(former string) string {
	if name := p.Layout.Encryption.KeyFilename; name != p.Layout.Hostname {
		return name
	}
	return former
}

// leftOut refuses a layout that no longer names a disk whose volume is a
// mounted member of one of its pools: the pool cannot do without it, and what
// takes a member out is not in the plan.
func (p *planner) leftOut() {
	for _, d := range p.Facts.Disks {
		c, found := d.Carried()
		if !found || c.Role != RolePool || !c.Open || p.usedBy[d.Name] != "" {
			continue
		}
		pool := slices.IndexFunc(p.Layout.Pools, func(pool configs.Pool) bool { return pool.Name == c.Pool })
		mounted := slices.ContainsFunc(d.AllHolders(), func(h Holder) bool { return h.Kind == "mount" })
		renamed := slices.ContainsFunc(p.refusals, func(r step.Refusal) bool { return r.Code == "disk-missing" })
		if pool < 0 || !mounted || renamed {
			continue
		}
		p.refuse("pool-member", c.Pool, fmt.Sprintf("add %s%s to pools.%s.disks again; the pool needs it until 'btrfs device remove' "+
			"has moved its data to the others, which hvinstall does not do yet", ByIDFolder, d.Called(), c.Pool),
			"the layout leaves out %s, which carries %s and is mounted", d.Called(), c)
	}
}

// madeUnder counts the disks whose volume has the identity that this seed gives.
func (p *planner) madeUnder(seed string) int {
	of := planner{Input: Input{Layout: &configs.Layout{Seed: seed}}}
	n := 0
	for _, d := range p.Facts.Disks {
		if c, found := d.Carried(); found && strings.EqualFold(c.UUID, of.volumeUUID(c.Role, c.Pool, d)) {
			n++
		}
	}
	return n
}

// refuseCarried refuses a disk that carries a hvinstall host's volume in a
// place that is not the volume's. It never advises --erase.
func (p *planner) refuseCarried(w want, c Carried) {
	same := c.Role == w.role && c.Pool == w.pool
	inLayout := c.Role == RoleOS && p.Layout.OS != nil ||
		slices.ContainsFunc(p.Layout.Pools, func(pool configs.Pool) bool { return c.Role == RolePool && pool.Name == c.Pool })
	hint := "name another disk here; docs/safety.md, 'A disk of a hvinstall host', says how to take such a pool over, and how to give the disk up"
	switch {
	case c.Open && !same && inLayout:
		hint = fmt.Sprintf("it is a member of this host: put it back below pools.%s.disks", c.Pool)
		if c.Role == RoleOS {
			hint = "it is this host's system disk: name it at os.disk"
		}
	case c.Open && !same:
		hint = fmt.Sprintf("it is open on this host: if the pool %s has been renamed in the layout, give it its name back; its data needs it", c.Pool)
	case same:
		hint = "if it is this host's (made under another hostname, or the disk's model or serial changed): give the layout the seed: it was made with " +
			"(the hostname of then, if none was given), or run on the host itself with its volumes open, or keep it as it is by adopt: true; " +
			"if it is another host's: name another disk here"
	}
	p.refuse("disk-of-host", w.ref.ID, hint, "carries %s, made by hvinstall for a host whose identity is not this layout's", c)
	if c.Open {
		last := &p.refusals[len(p.refusals)-1]
		last.What = fmt.Sprintf("carries %s, which is open on this host", c)
	}
}

// moved finds the disks that no place of the layout names and that carry a
// volume of the wanted place: the missing disk under a new name, perhaps.
func (p *planner) moved(w want) []Disk {
	var disks []Disk
	for _, d := range p.Facts.Disks {
		if c, found := d.Carried(); found && c.Role == w.role && c.Pool == w.pool && !slices.ContainsFunc(p.named(), d.has) {
			disks = append(disks, d)
		}
	}
	return disks
}

// missing is the refusal of a disk that is not there.
func (p *planner) missing(w want) step.Refusal {
	r := step.Refusal{Code: "disk-missing", Where: w.ref.ID, What: "the disk is not there"}
	switch moved := p.moved(w); {
	case len(moved) == 1:
		c, _ := moved[0].Carried()
		r.What = fmt.Sprintf("no disk has this name; %s carries %s", moved[0].Called(), c)
		r.Hint = "if it is the same disk under another name (firmware, cable, enclosure or controller changed), change this line to " +
			ByIDFolder + moved[0].Called()
	case len(moved) > 1:
		var names []string
		for _, d := range moved {
			c, _ := d.Carried()
			names = append(names, fmt.Sprintf("%s (%s)", d.Called(), c.Mapping))
		}
		r.What = "no disk has this name; disks that the layout does not name carry volumes of this place: " + strings.Join(names, ", ")
		r.Hint = "if one of them is this disk under another name, change this line to it"
	default:
		r.Hint = p.nearest(w)
	}
	return r
}

// suits orders the disks that might take a missing one's place: of its kind of
// connection first, then by how alike the names are. What is too small, and
// what carries a hvinstall host's volume, does not suit.
func (p *planner) suits(w want, disks []Disk) []Disk {
	least := w.least
	if expected := uint64(w.ref.Size); expected != 0 {
		least = max(least, expected/100*(100-tolerance))
	}
	usb := strings.HasPrefix(strings.TrimPrefix(w.ref.ID, ByIDFolder), "usb-")
	disks = slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool {
		_, carries := d.Carried()
		return d.Size < least || carries || w.role == RolePool && d.Transport == "usb" && !usb
	})
	slices.SortStableFunc(disks, func(a, b Disk) int {
		return cmp.Compare(commonPrefix(b.Called(), w.ref.ID), commonPrefix(a.Called(), w.ref.ID))
	})
	return disks
}
