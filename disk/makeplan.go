package disk

import (
	"fmt"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// Sizes that decide, in bytes.
const (
	alignment   = 1 << 20  // partitions start and end on it
	luksHeader  = 16 << 20 // cryptsetup's default data offset of LUKS2
	smallestOS  = 8 << 30  // what an OS volume needs beside ESP and swap
	smallestHDD = 1 << 30  // less is no use in a pool
	smallestKey = 64 << 20 // FAT32 needs 65,525 clusters
	tolerance   = 3        // percent that a disk's size may differ from the layout's
	rootLabel   = "root"   // btrfs label of the OS
	keyLabel    = "HVKEY"  // FAT label of a key stick
	swapMount   = "/swap"
	swapPath    = swapMount + "/swapfile"
)

// Input is what MakePlan decides from.
type Input struct {
	Layout *configs.Layout
	Facts  Facts
	Erase  []string // by-id names that may be erased although they hold data

	Target   string // where a host is mounted while it is installed
	Hostname string // of the running system
	Seed     string // that the running host keeps; empty where it keeps none
}

// planner collects a plan and everything that speaks against it.
type planner struct {
	Input
	seed     seed
	plan     Plan
	refusals []step.Refusal
	usedBy   map[string]string // kernel name → role that has it
	identity map[string]string // Disk.Identity → kernel name
}

// MakePlan decides what becomes of each disk that the layout names, and of no
// other. It is pure. A refusal does not stop it: everything that is wrong is
// found at once.
func MakePlan(in Input) (Plan, []step.Refusal) {
	p := &planner{Input: in, usedBy: map[string]string{}, identity: map[string]string{}}
	p.identify()
	wants := p.wants()
	p.match(wants)
	p.number(wants)
	for _, w := range wants {
		p.disk(w)
	}
	p.withoutDisk(wants)
	p.oneDrive()
	p.eraseIsNamed()
	p.leftOut()
	p.filesystems()
	p.membersAgree()
	p.standing(wants)
	p.dropped()
	p.takesOver()
	p.marks()
	p.plan.Seed = string(p.seed)
	return p.plan, p.refusals
}

// refuse records a refusal about one disk.
func (p *planner) refuse(code, where, hint, format string, args ...any) {
	p.refusals = append(p.refusals, step.Refusal{Code: code, Where: where, What: fmt.Sprintf(format, args...), Hint: hint})
}

// disk decides one disk's fate.
func (p *planner) disk(w want) {
	dp := DiskPlan{ID: w.ref.ID, Role: w.role, Pool: w.pool, Name: w.name, Fate: Refuse}
	if w.role != RoleKey {
		dp.Mapping = "crypt-" + w.name
		if w.role == RoleOS {
			dp.Mapping = "cryptroot"
		}
	}
	found := w.found
	switch {
	case len(found) == 0: // withoutDisk says so, when all other disks are known
		p.plan.Disks = append(p.plan.Disks, dp)
		return
	case len(found) > 1:
		p.refuse("disk-ambiguous", w.ref.ID, "name them by other aliases, which 'hvinstall discover' lists, and never by this one",
			"%d disks answer to this name: %s", len(found), called(found))
		p.plan.Disks = append(p.plan.Disks, dp)
		return
	}
	d := found[0]
	if w.moved {
		dp.ID, dp.Was = ByIDFolder+d.Called(), w.ref.ID
	}
	dp.Disk, dp.Holds = d, d.Content()
	if w.ref.Media != "" && (w.ref.Media == "hdd") != d.Rotational {
		dp.Media = w.ref.Media
	}
	before := len(p.refusals)
	if other, used := p.usedBy[d.Name]; used {
		p.refuse("disk-twice", w.ref.ID, "give each place in the layout a disk of its own",
			"this is the same disk as %s's, under another of its names", other)
	}
	p.usedBy[d.Name] = w.name
	if other, used := p.identity[d.Identity()]; used && other != d.Name {
		p.refuse("disk-identity", w.ref.ID, "connect one of them otherwise: later, hvinstall could not tell which is which",
			"it calls itself the same as %s (%s)", other, d.Identity())
	}
	p.identity[d.Identity()] = d.Name
	p.expectations(w, d)

	dp.Table, dp.VolumeUUID = p.table(w, d), ""
	if w.role != RoleKey {
		dp.VolumeUUID = p.seed.volume(w.role, w.pool, d)
		volume := dp.Table.Partitions[len(dp.Table.Partitions)-1]
		dp.VolumeDevice, dp.VolumeSize = volume.Device(), volume.Size-min(volume.Size, luksHeader)
	}
	decided := len(p.refusals)
	fate := p.fate(w, &dp)
	if other, is := p.namespaces(w, d); is && fate != Keep && fate != Resume && fate != Adopt {
		// What the name leads to now is no reason to say more of it.
		p.refusals = p.refusals[:decided]
		p.refuse("disk-ambiguous", w.ref.ID, "name the namespace that you mean: "+strings.Join(numbered(d, other), ", "),
			"the drive has several namespaces, and this name leads to whichever the kernel found last")
		fate = Refuse
	}
	if fate == Create || fate == Erase {
		p.mayBeWritten(w, d)
	}
	if len(p.refusals) == before {
		dp.Fate = fate
	}
	p.plan.Disks = append(p.plan.Disks, dp)
}

// expectations are what the layout says of the disk.
func (p *planner) expectations(w want, d Disk) {
	if c, carries := d.Carried(); carries && (c.Role != w.role || c.Pool != w.pool) {
		return // the wrong disk for the place, which is said
	}
	hint := "check that this is the disk you mean, with 'hvinstall discover', and mend the layout"
	if w.ref.Size != 0 {
		if !near(d.Size, uint64(w.ref.Size)) {
			p.refuse("disk-size", w.ref.ID, hint, "the layout expects %s, the disk has %s", w.ref.Size, DecimalSize(d.Size))
		}
	}
	if w.ref.Model != "" && !strings.EqualFold(normal(w.ref.Model), normal(d.Model)) {
		p.refuse("disk-model", w.ref.ID, hint, "the layout expects model %q, the disk says %q", w.ref.Model, d.Model)
	}
	if w.ref.Serial != "" && w.ref.Serial != d.Serial {
		p.refuse("disk-serial", w.ref.ID, hint, "the layout expects serial %q, the disk says %q", w.ref.Serial, d.Serial)
	}
	if d.Size < w.least {
		p.refuse("disk-small", w.ref.ID, "take a larger disk", "%s is smaller than the %s that must fit on it", DecimalSize(d.Size), BinarySize(w.least))
	}
	switch {
	case w.ref.Media != "" && w.media != "" && w.ref.Media != w.media:
		p.refuse("media-"+w.media, w.ref.ID, "say media: "+w.media+" or leave it out, or take another disk", "the layout says media: %s of the disk, and storage_media: %s of its place", w.ref.Media, w.media)
	case w.ref.Media != "": // the layout knows better than a bridge or a controller
	case w.media == "ssd" && d.Rotational:
		p.refuse("media-ssd", w.ref.ID, "say storage_media: hdd, or take an SSD; if it is one (USB bridges and RAID controllers can be wrong), insist: {id: "+w.ref.ID+", media: ssd}", "declared ssd, and the kernel says that it rotates")
	case w.media == "hdd" && !d.Rotational:
		p.refuse("media-hdd", w.ref.ID, "say storage_media: ssd, or take a hard disk; if it is one (controllers can be wrong), insist: {id: "+w.ref.ID+", media: hdd}", "declared hdd, and the kernel says that it does not rotate")
	}
}

// withoutDisk says what becomes of the places that no disk was found for.
func (p *planner) withoutDisk(wants []want) {
	for i, w := range wants {
		if len(w.found) > 0 {
			continue
		}
		r := p.missing(w)
		if !p.canWait(w, wants) {
			p.refusals = append(p.refusals, r)
			continue
		}
		dp := &p.plan.Disks[i]
		dp.Fate = Away
		if w.role == RoleKey {
			dp.Table.Partitions = []PartitionPlan{{Format: "vfat", FSUUID: p.awayStick(), FSLabel: keyLabel}}
			r.What = "the stick is not plugged in; every boot without it asks for the passphrase"
			r.Hint = "plug it in before the next boot"
		} else {
			r.What += "; the pool " + w.pool + " is left as it is, and what does not need it goes on"
		}
		p.plan.Waits = append(p.plan.Waits, r)
	}
}

// canWait reports whether the running host can do without the disk: it is the
// only one missing of a pool that is there, or a stick that opens its volumes.
func (p *planner) canWait(w want, wants []want) bool {
	if carriers, unbelieved := p.perhapsOwn(w); !p.hosted(wants) || w.role == RoleOS || len(carriers)+len(unbelieved) > 0 {
		return false
	}
	missing := 0
	for i, other := range wants {
		if other.role != w.role || other.pool != w.pool {
			continue
		}
		if len(other.found) == 0 {
			missing++
		} else if w.role == RolePool && p.plan.Disks[i].Fate != Keep {
			return false
		}
	}
	return missing == 1 && (w.role == RolePool || p.awayStick() != "")
}

// hosted reports whether the running system is the layout's own.
func (p *planner) hosted(wants []want) bool {
	if p.Layout.OS == nil {
		return true
	}
	return len(wants) > 0 && len(wants[0].found) == 1 &&
		slices.ContainsFunc(wants[0].found[0].AllHolders(), func(h Holder) bool { return h.Kind == "mount" && h.Name == "/" })
}

// awayStick is the serial of the one stick that opens the system's or a pool's
// volumes, that the layout does not name by it, and that is not plugged in.
func (p *planner) awayStick() string {
	var away []string
	for _, dp := range p.plan.Disks {
		for _, stick := range dp.Disk.sticks() {
			named := slices.ContainsFunc(p.Layout.Encryption.USBKeys, func(k configs.USBKey) bool { return strings.EqualFold(k.UUID, stick) })
			there := slices.ContainsFunc(p.Facts.Disks, func(d Disk) bool {
				return slices.ContainsFunc(d.Partitions, func(part Partition) bool {
					fat, found := find(part.Signatures, "vfat")
					return found && strings.EqualFold(fat.UUID, stick)
				})
			})
			if dp.Fate == Keep && !named && !there && !slices.Contains(away, stick) {
				away = append(away, stick)
			}
		}
	}
	if len(away) != 1 {
		return ""
	}
	return away[0]
}

// mayBeWritten refuses what must not be written to even with consent.
func (p *planner) mayBeWritten(w want, d Disk) {
	switch holders := d.AllHolders(); {
	case d.Live:
		p.refuse("disk-live", w.ref.ID, "name another disk", "the running system runs from this disk")
	case len(holders) > 0:
		var words []string
		for _, h := range holders {
			words = append(words, h.String())
		}
		p.refuse("disk-held", w.ref.ID, "release it first (umount, swapoff, cryptsetup close, mdadm --stop) and run again",
			"the disk is in use: %s", strings.Join(words, ", "))
	}
	if d.ReadOnly {
		p.refuse("disk-read-only", w.ref.ID, "look for a write-protect switch", "the disk is read-only")
	}
}

// namespaces is another namespace of the disk's drive, where the layout's name
// has no namespace's number.
func (p *planner) namespaces(w want, d Disk) (other Disk, ambiguous bool) {
	plain := strings.TrimPrefix(w.ref.ID, ByIDFolder) + "_"
	at := slices.IndexFunc(p.Facts.Disks, func(other Disk) bool {
		return d.sameDrive(other) && slices.ContainsFunc(other.ByID, func(name string) bool { return strings.HasPrefix(name, plain) })
	})
	if at < 0 {
		return Disk{}, false
	}
	return p.Facts.Disks[at], true
}

// numbered are the by-id names of namespaces that end in their number.
func numbered(disks ...Disk) []string {
	var names []string
	for _, d := range disks {
		for _, name := range d.ByID {
			if d.Serial != "" && strings.HasPrefix(name, "nvme-") && !strings.HasPrefix(name, "nvme-nvme.") && strings.Contains(name, d.Serial+"_") {
				names = append(names, name)
			}
		}
	}
	return names
}

// oneDrive refuses a pool that has both copies of its data on one drive.
func (p *planner) oneDrive() {
	for i, dp := range p.plan.Disks {
		for _, other := range p.plan.Disks[:i] {
			if dp.Role == RolePool && other.Role == RolePool && dp.Pool == other.Pool && dp.Disk.sameDrive(other.Disk) {
				p.refuse("one-drive", dp.ID, "take a namespace of another drive, or another disk", "is a namespace of the same physical drive as %s: "+
					"RAID1 over one drive loses both copies with it", other.ID)
				p.plan.Disks[i].Fate = Refuse
			}
		}
	}
}

// eraseIsNamed refuses an --erase that names no disk of the layout: a slip of
// the finger there must not go unnoticed.
func (p *planner) eraseIsNamed() {
	for _, id := range p.Erase {
		named := slices.ContainsFunc(p.plan.Disks, func(dp DiskPlan) bool { return dp.isCalled(id) })
		if !named {
			p.refuse("erase-unknown", id, "name it in the layout first, or leave the flag out", "--erase names a disk that is not in the layout")
		}
	}
}

// isCalled reports whether id is one of the disk's names.
func (dp DiskPlan) isCalled(id string) bool {
	return strings.TrimPrefix(dp.ID, ByIDFolder) == strings.TrimPrefix(id, ByIDFolder) || dp.Disk.has(id)
}

// nameless lists the disks that no layout can name.
func (p *planner) nameless() string {
	var names []string
	for _, d := range p.Facts.Disks {
		if len(d.ByID) == 0 && !d.Live {
			names = append(names, d.Name)
		}
	}
	return strings.Join(names, ", ")
}

// named lists every disk that the layout names.
func (p *planner) named() []string {
	var ids []string
	if p.Layout.OS != nil {
		ids = append(ids, p.Layout.OS.Disk.ID)
	}
	for _, pool := range p.Layout.Pools {
		for _, ref := range pool.Disks {
			ids = append(ids, ref.ID)
		}
	}
	for _, key := range p.Layout.Encryption.USBKeys {
		if key.Disk != "" {
			ids = append(ids, key.Disk)
		}
	}
	return ids
}

func commonPrefix(alias, id string) int {
	id = strings.TrimPrefix(id, ByIDFolder)
	n := 0
	for n < len(alias) && n < len(id) && alias[n] == id[n] {
		n++
	}
	return n
}

func called(disks []Disk) string {
	var names []string
	for _, d := range disks {
		names = append(names, d.Name+" (serial "+d.Serial+")")
	}
	return strings.Join(names, ", ")
}

// normal makes "Samsung SSD 970" and "Samsung_SSD_970" the same: udev writes
// spaces as underscores in by-id names.
func normal(model string) string { return strings.ReplaceAll(strings.TrimSpace(model), " ", "_") }
