package disk

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hvinstall/step"
)

// luksSubsystem is the LUKS2 subsystem field of every volume that hvinstall
// makes (LUKS2 on-disk format, section 2.1).
const luksSubsystem = "hvinstall"

var poolLabel = regexp.MustCompile(`^crypt-(.+)-([0-9]{1,3})$`)

// Carried is the volume of a hvinstall host that a disk carries, as its LUKS2
// header says without a key. Anybody can write such a header: it is reason
// enough never to call the disk's content foreign data, and no reason to format
// anything.
type Carried struct {
	Role       Role
	Pool       string // of RolePool
	Number     int    // of RolePool
	Mapping    string
	UUID       string // of the LUKS volume
	Open       bool   // the running system has it open under this very name
	Host       string // seed in the mark; empty without one
	Of         int    // members of the pool, as the mark says; 0: not known
	Filesystem string // UUID of the btrfs on it, as the mark says
	Problem    string // why the mark is not believed
}

// String names the volume, and the pool that it is of.
func (c Carried) String() string {
	switch c.Role {
	case RoleOS:
		return "the system volume cryptroot"
	case RolePool:
	default:
		return "a volume that hvinstall made"
	}
	of := ""
	if c.Of > 0 {
		of = fmt.Sprintf(" of %d", c.Of)
	}
	return fmt.Sprintf("the volume %s, number %d%s of the pool %s", c.Mapping, c.Number, of, c.Pool)
}

// Carried is the volume of a hvinstall host on the disk: in a partition, else, as
// a byte copy of one leaves it, on the whole disk.
func (d Disk) Carried() (Carried, bool) {
	for i := range len(d.Partitions) + 1 {
		part := Partition{Signatures: d.Signatures, Holders: d.Holders}
		if i < len(d.Partitions) {
			part = d.Partitions[i]
		}
		luks, found := find(part.Signatures, "luks2")
		if !found || luks.Subsystem != luksSubsystem && luks.Mark == nil {
			continue
		}
		c := Carried{Mapping: luks.Label, UUID: luks.UUID}
		if m, labelled := markOfLabel(luks.Label); labelled {
			c.Role, c.Pool, c.Number = m.Role, m.Pool, m.Number
		} else {
			c.Problem = fmt.Sprintf("its label %q is none that hvinstall gives", luks.Label)
		}
		c.read(luks.Mark)
		c.Open = slices.ContainsFunc(part.Holders, func(h Holder) bool { return h.Kind == "dm" && h.Name == c.Mapping })
		return c, true
	}
	return Carried{}, false
}

// markOfLabel is what a volume's label says of it.
func markOfLabel(label string) (m Mark, known bool) {
	if label == "cryptroot" {
		return Mark{Role: RoleOS}, true
	}
	match := poolLabel.FindStringSubmatch(label)
	if match == nil {
		return Mark{}, false
	}
	number, err := strconv.Atoi(match[2])
	return Mark{Role: RolePool, Pool: match[1], Number: number}, err == nil
}

// read takes over what the mark says. One that disagrees with the volume's label
// still says which volume it is, and is not believed.
func (c *Carried) read(m *Mark) {
	switch {
	case m == nil:
		return
	case m.Version > markVersion:
		c.Problem = fmt.Sprintf("its mark is of version %d, which a newer hvinstall wrote", m.Version)
		return
	case m.Version < markVersion:
		c.Problem = "its mark is damaged"
		return
	case c.Mapping == "":
		c.Problem = fmt.Sprintf("its mark says %s, and it has no label", m.name())
	case m.Role != c.Role || m.Pool != c.Pool || c.Role == RolePool && m.Number != c.Number:
		c.Problem = fmt.Sprintf("its mark says %s and its label %s", m.name(), c.Mapping)
	default:
		c.Host, c.Of, c.Filesystem = m.Host, m.Of, m.Filesystem
		return
	}
	c.Role, c.Pool, c.Number, c.Mapping = m.Role, m.Pool, m.Number, m.name()
}

// name is the mapping that the mark's volume has.
func (m Mark) name() string {
	if m.Role == RoleOS {
		return "cryptroot"
	}
	return fmt.Sprintf("crypt-%s-%d", m.Pool, m.Number)
}

var volumePartition = regexp.MustCompile(`^disk-(os|.+-[0-9]{1,3})-luks$`)

// lostVolume is the mapping of a hvinstall host's volume that the disk held, as
// its partition's name in the table says, and of whose LUKS header nothing is
// left. With the header back from its backup, the data behind it is there again.
// While the disk is being made there is no header yet, and while it is being erased
// none any more.
func (d Disk) lostVolume() (mapping string, part Partition, lost bool) {
	if d.Begun || d.Erasing || d.unread() {
		return "", Partition{}, false
	}
	for _, part := range d.Partitions {
		if _, found := find(part.Signatures, "luks2", "luks1"); part.volume() != "" && !found {
			return part.volume(), part, true
		}
	}
	return "", Partition{}, false
}

// volume is the mapping of the volume that the partition is for, as its name in
// the table says.
func (p Partition) volume() string {
	match := volumePartition.FindStringSubmatch(p.Label)
	switch {
	case match == nil:
		return ""
	case match[1] == string(RoleOS):
		return "cryptroot"
	}
	return "crypt-" + match[1]
}

var keyPartition = regexp.MustCompile(`^disk-key-[0-9]+-key$`)

// keyStick is the VFAT of a stick that hvinstall formatted for the keys of some
// host, as its partition's and its file system's label say.
func (d Disk) keyStick() (fat Signature, found bool) {
	for _, part := range d.Partitions {
		if fat, found := find(part.Signatures, "vfat"); found && fat.Label == keyLabel && keyPartition.MatchString(part.Label) {
			return fat, true
		}
	}
	return Signature{}, false
}

// identify finds out which host this is: the seed that its disks were made
// from. What the host and its disks say comes before what the layout would
// give a new one.
func (p *planner) identify() {
	known, given := p.knownSeed(), p.Layout.Seed
	switch {
	case known == "" && given == "":
		p.seed = draw(p.Layout.Hostname, p.firstIdentity())
	case known == "" || known == given:
		p.seed = seed(given)
	case given == "":
		p.seed = seed(known)
	case p.Seed == "" && !p.running():
		p.seed = seed(given) // made anew: what is on the disks is another host's
	default:
		p.seed = seed(known)
		p.refuse("seed-changed", p.Layout.Hostname, "take the line seed: out of the layout, or make it 'seed: "+known+"'; "+
			"a host gets a new seed only when it is installed anew",
			"this host's disks were made from the seed %s, and the layout says %s", known, given)
	}
}

// knownSeed is what the host and the disks that the layout names say; empty
// where they say nothing.
func (p *planner) knownSeed() string {
	if p.Seed != "" {
		return p.Seed
	}
	// A disk that is to be erased has a say only where nothing else has: consent
	// to erase another host's disk does not make it this host's, and consent to erase
	// all of this host's does not make them another's.
	if host := p.marksSay(p.kept); host != "" {
		return host
	}
	if host := p.marksSay(p.Facts.ByName); host != "" {
		return host
	}
	// Disks made before there were marks, from the layout's seed, else the
	// hostname of then.
	for _, former := range []string{p.Layout.Seed, p.Hostname, p.Layout.Hostname} {
		if former != "" && p.madeFrom(seed(former)) {
			return former
		}
	}
	return ""
}

// marksSay is which host the disks' marks name. A mark counts where the layout has
// its place for it: another host's disk in some place does not say which host this is.
func (p *planner) marksSay(byName func(id string) []Disk) string {
	if p.Layout.OS != nil {
		for _, d := range byName(p.Layout.OS.Disk.ID) {
			if c, carries := d.Carried(); carries && c.Host != "" && c.Role == RoleOS {
				return c.Host
			}
		}
	}
	inPlace, misplaced := map[string]int{}, map[string]int{}
	for _, pool := range p.Layout.Pools {
		for _, ref := range pool.Disks {
			for _, d := range byName(ref.ID) {
				c, carries := d.Carried()
				switch {
				case !carries || c.Host == "" || c.Role != RolePool:
				case c.Pool == pool.Name:
					inPlace[c.Host]++
				default:
					misplaced[c.Host]++
				}
			}
		}
	}
	for _, id := range p.named() {
		for _, d := range byName(id) {
			if _, carries := d.Carried(); !carries && d.Begun && d.BegunBy != "" {
				inPlace[d.BegunBy]++
			}
		}
	}
	// The most; of as many, the first in order, so that it is always the same.
	hosts := slices.SortedFunc(maps.Keys(inPlace), func(a, b string) int {
		return cmp.Or(cmp.Compare(inPlace[b], inPlace[a]), strings.Compare(a, b))
	})
	if len(hosts) > 0 {
		return hosts[0]
	}
	// None in its place, and several of one host alone: its pool has another name.
	for host, n := range misplaced {
		if len(misplaced) == 1 && n > 1 {
			return host
		}
	}
	return ""
}

// kept are the disks of this name without those that are to be erased.
func (p *planner) kept(id string) []Disk {
	return slices.DeleteFunc(p.Facts.ByName(id), func(d Disk) bool {
		return slices.ContainsFunc(p.Erase, d.has)
	})
}

// running reports whether the system runs from a volume of a hvinstall host.
func (p *planner) running() bool {
	return slices.ContainsFunc(p.Facts.Disks, func(d Disk) bool {
		c, carries := d.Carried()
		return carries && c.Open && slices.ContainsFunc(d.AllHolders(), func(h Holder) bool { return h.Kind == "mount" && h.Name == "/" })
	})
}

// firstIdentity is what tells this machine's first disk from others.
func (p *planner) firstIdentity() string {
	named := p.named()
	if len(named) == 0 {
		return ""
	}
	if found := p.Facts.ByName(named[0]); len(found) == 1 {
		return found[0].Identity()
	}
	return named[0]
}

// madeFrom reports whether some disk has an identity that this seed gives.
func (p *planner) madeFrom(s seed) bool {
	return slices.ContainsFunc(p.Facts.Disks, func(d Disk) bool {
		if c, carries := d.Carried(); carries && strings.EqualFold(c.UUID, s.volume(c.Role, c.Pool, d)) {
			return true
		}
		gpt, found := find(d.Signatures, "gpt")
		if !found {
			return false
		}
		roles := []want{{role: RoleOS}, {role: RoleKey}}
		for _, pool := range p.Layout.Pools {
			roles = append(roles, want{role: RolePool, pool: pool.Name})
		}
		return slices.ContainsFunc(roles, func(w want) bool { return strings.EqualFold(gpt.UUID, s.part("gpt", w.role, w.pool, d)) })
	})
}

// own reports whether the volume is this host's: its mark says so, or, without
// one, its identity is what the host's seed gives, or the running host has it
// open. The disk's model, serial and by-id name may have changed since it was
// made (firmware, another enclosure or controller).
func (p *planner) own(d Disk, c Carried) bool {
	switch {
	case c.Problem != "":
		return false
	case c.Host != "":
		return c.Host == string(p.seed)
	}
	return c.Open || strings.EqualFold(c.UUID, p.seed.volume(c.Role, c.Pool, d))
}

// formerMember reports whether the kernel has the volume's pool mounted, with
// every device of it there, and the volume is none of them: it was taken out or
// replaced.
func (p *planner) formerMember(d Disk, c Carried) bool {
	if c.Role != RolePool || c.Open || c.Filesystem == "" || !p.own(d, c) {
		return false
	}
	fs := p.Facts.filesystem(c.Filesystem)
	return len(fs.Mounts) > 0 && len(fs.Devices) > 0 && !slices.ContainsFunc(fs.Devices, func(member BtrfsDevice) bool {
		return member.Missing || member.Mapping == "" || member.Mapping == c.Mapping
	})
}

// ownStick reports whether hvinstall formatted the stick for this host's keys.
func (p *planner) ownStick(d Disk) bool {
	_, found := d.keyStick()
	gpt, _ := find(d.Signatures, "gpt")
	return found && (p.opens(d) || strings.EqualFold(gpt.UUID, p.seed.part("gpt", RoleKey, "", d)))
}

// opens reports whether the disk has a VFAT whose key opens a volume of this host.
func (p *planner) opens(d Disk) bool {
	for _, signatures := range append(partitionSignatures(d), d.Signatures) {
		fat, found := find(signatures, "vfat")
		if found && fat.UUID != "" && slices.ContainsFunc(p.Facts.Disks, func(other Disk) bool {
			c, carries := other.Carried()
			return carries && p.own(other, c) && slices.Contains(other.sticks(), fat.UUID)
		}) {
			return true
		}
	}
	return false
}

// sticks are the serials of the sticks that open the disk's volume.
func (d Disk) sticks() []string {
	for _, signatures := range append(partitionSignatures(d), d.Signatures) {
		if luks, found := find(signatures, "luks2"); found {
			return luks.Sticks
		}
	}
	return nil
}

// twins are the disks that carry this very volume: more than one is a disk and
// its copy.
func (p *planner) twins(c Carried) []Disk {
	return slices.DeleteFunc(slices.Clone(p.Facts.Disks), func(d Disk) bool {
		have, found := d.Carried()
		return !found || !strings.EqualFold(have.UUID, c.UUID)
	})
}

// refuseTwins refuses a disk that has a copy beside it, and names both.
func (p *planner) refuseTwins(w want, c Carried, twins []Disk) {
	var names []string
	open := ""
	for _, d := range twins {
		names = append(names, d.Called())
		if have, _ := d.Carried(); have.Open {
			open = "; the host has " + d.Called() + " open now"
		}
	}
	p.refuse("disk-copy", w.ref.ID, "take the copy out and run again"+open+". Which is the original, hvinstall cannot tell",
		"carries %s, and so does another disk: %s are copies of each other", c, strings.Join(names, " and "))
}

// refuseCarried refuses a disk that carries a hvinstall host's volume in a
// place that is not the volume's. It never advises --erase.
func (p *planner) refuseCarried(w want, d Disk, c Carried) {
	place := "os.disk"
	switch w.role {
	case RolePool:
		place = "pools." + w.pool + ".disks"
	case RoleKey:
		place = "encryption.usb_keys"
	case RoleOS:
	}
	inLayout := c.Role == RoleOS && p.Layout.OS != nil || p.poolNamed(c.Pool) >= 0
	home := "os.disk"
	if c.Role == RolePool {
		home = "pools." + c.Pool + ".disks"
	}
	what, hint := "", ""
	switch {
	case c.Problem != "":
		what = fmt.Sprintf("carries %s, and %s", c, c.Problem)
		hint = "nothing is written to it; look at it with 'cryptsetup luksDump', bring the header back from its backup (docs/recovery.md), or name another disk here"
		switch {
		case strings.Contains(c.Problem, "newer"):
			hint = "use that hvinstall, or a newer one"
		case strings.Contains(c.Problem, "label"):
			hint = "nothing is written to it; if the label was changed by hand, 'cryptsetup config --label " + cmp.Or(c.Mapping, "NAME") + " DEVICE' sets it back; " +
				"else find out with 'cryptsetup luksDump' what it is, or name another disk here"
		}
	case p.formerMember(d, c):
		what = fmt.Sprintf("carries %s, of this host, and is no member of that pool any more: the pool is mounted, and complete without it", c)
		hint = "name another disk here; docs/safety.md, 'A disk of a hvinstall host', says how a former member is given up"
	case p.own(d, c) && inLayout:
		what = fmt.Sprintf("carries %s, of this host", c)
		hint = fmt.Sprintf("put its line back below %s: it is not for %s", home, place)
	case p.own(d, c):
		what = fmt.Sprintf("carries %s, of this host, and the layout has no such pool", c)
		hint = fmt.Sprintf("if the pool %s has been renamed in the layout, give it its name back (a pool keeps its name for good); "+
			"if the pool was dropped, put it back, move its data away first, and only then give its disks up: docs/safety.md", c.Pool)
		if w.role == RolePool && p.poolNamed(w.pool) >= 0 {
			hint = fmt.Sprintf("if %s is the pool %s with a new name, give it its name back: a pool keeps its name for good, and its data needs it; "+
				"else name another disk here. docs/safety.md says how a disk of this host is given up", w.pool, c.Pool)
		}
	case c.Host == "" && c.Role == w.role && c.Pool == w.pool:
		what = fmt.Sprintf("carries %s, made by hvinstall for a host whose identity is not this layout's", c)
		hint = "if it is this host's (made under another hostname, or the disk's model or serial changed): give the layout the seed: it was made with " +
			"(the hostname of then, if none was given), or run on the host itself with its volumes open, or keep it as it is by adopt: true; " +
			"if it is another host's: name another disk here"
	default:
		host := "another hvinstall host"
		if c.Host != "" {
			host = "the host " + c.Host + " (this one is " + string(p.seed) + ")"
		}
		what = fmt.Sprintf("carries %s, of %s", c, host)
		hint = "put it back into that host, or name another disk here; to take the volume over as it is, name all its pool's disks with adopt: true; " +
			"docs/safety.md, 'A disk of a hvinstall host', says how such a disk is given up"
	}
	p.refusals = append(p.refusals, step.Refusal{Code: "disk-of-host", Where: w.ref.ID, What: what, Hint: hint})
}

// poolNamed is the layout's pool of this name, or -1.
func (p *planner) poolNamed(name string) int {
	for i, pool := range p.Layout.Pools {
		if pool.Name == name {
			return i
		}
	}
	return -1
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
		if slices.ContainsFunc(p.twins(c), func(twin Disk) bool { return p.usedBy[twin.Name] != "" }) {
			continue // the layout names its copy, which is refused with both names
		}
		mounted := slices.ContainsFunc(d.AllHolders(), func(h Holder) bool { return h.Kind == "mount" })
		renamed := slices.ContainsFunc(p.refusals, func(r step.Refusal) bool { return r.Code == "disk-missing" })
		if p.poolNamed(c.Pool) < 0 || !mounted || renamed {
			continue
		}
		p.refuse("pool-member", c.Pool, fmt.Sprintf("add %s%s to pools.%s.disks again; the pool needs it until 'btrfs device remove' "+
			"has moved its data to the others, which hvinstall does not do yet", ByIDFolder, d.Called(), c.Pool),
			"the layout leaves out %s, which carries %s and is mounted", d.Called(), c)
	}
}
