package disk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// want is one disk as the layout asks for it.
type want struct {
	ref   configs.DiskRef
	role  Role
	pool  string
	name  string
	media string
	adopt bool
	least uint64

	found []Disk // the disks that have the name; else the one that carries the place's volume
	moved bool   // the disk has another name now
}

// wants are the places of the layout, in its order.
func (p *planner) wants() []want {
	var wants []want
	l := p.Layout
	if l.OS != nil {
		wants = append(wants, want{ref: l.OS.Disk, role: RoleOS, name: "os", media: l.OS.StorageMedia, adopt: l.OS.Adopt, least: p.leastOS()})
	}
	for _, pool := range l.Pools {
		for _, ref := range pool.Disks {
			wants = append(wants, want{ref: ref, role: RolePool, pool: pool.Name, media: pool.StorageMedia, adopt: pool.Adopt, least: smallestHDD})
		}
	}
	for i, key := range l.Encryption.USBKeys {
		if key.Disk != "" {
			wants = append(wants, want{ref: configs.DiskRef{ID: key.Disk}, role: RoleKey, name: fmt.Sprintf("key-%d", i+1), least: smallestKey})
		}
	}
	return wants
}

func (p *planner) leastOS() uint64 {
	return uint64(p.Layout.OS.ESPSize) + uint64(p.Layout.OS.SwapSize) + smallestOS
}

// match finds each place's disk: by its name, else, where no disk has that
// name, by what the disks that no place names carry. That must be unambiguous:
// as many places without a disk as disks without a place, or more.
func (p *planner) match(wants []want) {
	for i := range wants {
		wants[i].found = p.Facts.ByName(wants[i].ref.ID)
	}
	for i, w := range wants {
		if len(w.found) > 0 || w.moved {
			continue
		}
		var places []*want
		for j := range wants[i:] {
			if other := &wants[i+j]; len(other.found) == 0 && other.role == w.role && other.pool == w.pool {
				places = append(places, other)
			}
		}
		if carriers := p.moved(w); len(carriers) <= len(places) {
			for _, d := range carriers {
				at := nearestPlace(places, d)
				places[at].found, places[at].moved = []Disk{d}, true
				places = slices.Delete(places, at, at+1)
			}
		}
	}
}

// moved are the disks that no place names and that carry a volume of this
// host for this place, or are its key stick.
func (p *planner) moved(w want) []Disk {
	var disks []Disk
	for _, d := range p.Facts.Disks {
		if len(d.ByID) == 0 || d.Begun || slices.ContainsFunc(p.named(), d.has) {
			continue
		}
		c, carries := d.Carried()
		is := carries && c.Role == w.role && c.Pool == w.pool && p.own(d, c) && len(p.twins(c)) == 1
		if w.role == RoleKey {
			is = p.ownStick(d)
		}
		if is {
			disks = append(disks, d)
		}
	}
	return disks
}

// nearestPlace is the place whose name is most like the disk's.
func nearestPlace(places []*want, d Disk) int {
	alike := func(w *want) int {
		n := 0
		for _, name := range d.ByID {
			n = max(n, commonPrefix(name, w.ref.ID))
		}
		if d.Serial != "" && strings.Contains(w.ref.ID, d.Serial) {
			n += 1000
		}
		if size := uint64(w.ref.Size); size != 0 && !near(d.Size, size) {
			n -= 2000
		}
		return n
	}
	best := 0
	for i := range places {
		if alike(places[i]) > alike(places[best]) {
			best = i
		}
	}
	return best
}

// near reports whether a size is what the layout expects.
func near(size, expected uint64) bool {
	return max(size, expected)-min(size, expected) <= expected/100*tolerance
}

// number names the pools' places. A disk that has its volume already keeps the
// number in the volume's label, whatever its place in the list is now: an
// opened mapping and other files refer to it.
func (p *planner) number(wants []want) {
	for _, pool := range p.Layout.Pools {
		taken := map[int]bool{}
		var fresh []*want
		for i := range wants {
			w := &wants[i]
			if w.role != RolePool || w.pool != pool.Name {
				continue
			}
			n := -1
			for _, d := range w.found {
				n = max(n, p.numberOnDisk(d, pool), d.lostNumber(pool.Name))
			}
			if n < 0 || taken[n] {
				fresh = append(fresh, w)
				continue
			}
			w.name, taken[n] = fmt.Sprintf("%s-%d", pool.Name, n), true
		}
		// A disk that was taken out of the layout and is still plugged in has its
		// mapping's name, too, and the backup of a lost header has its volume's.
		lost := map[int]bool{}
		for _, d := range p.Facts.Disks {
			lost[d.lostNumber(pool.Name)] = true
			if n := p.numberOnDisk(d, pool); n >= 0 {
				taken[n] = true
			}
		}
		next := 1
		for _, w := range fresh {
			for taken[next] || lost[next] && len(w.found) > 0 {
				next++
			}
			w.name, taken[next] = fmt.Sprintf("%s-%d", pool.Name, next), true
		}
	}
}

// numberOnDisk is the <n> of crypt-<pool>-<n> on a disk that has this pool's
// volume already, else -1. An adopted pool may count from 0, as disko layouts
// do: the name by which it is opened stays.
func (p *planner) numberOnDisk(d Disk, pool configs.Pool) int {
	if c, carries := d.Carried(); carries && c.Pool == pool.Name && p.own(d, c) {
		return c.Number
	}
	for _, part := range d.Partitions {
		luks, found := find(part.Signatures, "luks2", "luks1")
		if !found || !pool.Adopt {
			continue
		}
		names := []string{luks.Label}
		for _, h := range part.Holders {
			names = append(names, h.Name)
		}
		for _, name := range names {
			var n int
			if _, err := fmt.Sscanf(name, "crypt-"+pool.Name+"-%d", &n); err == nil && n >= 0 && n < 1000 {
				return n
			}
		}
	}
	return -1
}

// lostNumber is the number of this pool's volume that the disk held and whose
// header is gone, else -1.
func (d Disk) lostNumber(pool string) int {
	mapping, _, _ := d.lostVolume()
	if m, lost := markOfLabel(mapping); lost && m.Pool == pool {
		return m.Number
	}
	return -1
}

// missing is the refusal of a disk that is not there.
func (p *planner) missing(w want) step.Refusal {
	r := step.Refusal{Code: "disk-missing", Where: w.ref.ID, What: "the disk is not there"}
	carriers, unbelieved := p.perhapsOwn(w)
	var names []string
	for _, d := range carriers {
		c, _ := d.Carried()
		names = append(names, fmt.Sprintf("%s (%s)", d.Called(), c.Mapping))
	}
	switch {
	case len(carriers) == 1:
		c, _ := carriers[0].Carried()
		r.What = fmt.Sprintf("no disk has this name; %s carries %s", carriers[0].Called(), c)
		r.Hint = "if it is the same disk under another name (firmware, cable, enclosure or controller changed), change this line to " +
			ByIDFolder + carriers[0].Called()
	case len(carriers) > 1:
		r.What = "no disk has this name; disks that the layout does not name carry volumes of this place: " + strings.Join(names, ", ")
		r.Hint = "if one of them is this disk under another name, change this line to it"
	default:
		r.Hint = p.nearest(w)
		if pool, disks := p.orphans(w); len(disks) > 0 {
			r.What = fmt.Sprintf("no disk has this name; of this host's pool %s, which the layout does not have, these are here: %s", pool, strings.Join(disks, ", "))
			r.Hint = fmt.Sprintf("if %s is the pool %s with a new name, give it its name back (a pool keeps its name for good), and its disks are known by what they carry; else %s", w.pool, pool, r.Hint)
		}
	}
	for _, d := range unbelieved {
		c, _ := d.Carried()
		r.What += fmt.Sprintf("; %s carries %s, and its mark is not believed: %s", d.Called(), c, c.Problem)
		r.Hint = fmt.Sprintf("if %s is this disk under another name, change this line to it, and the next run says how the mark is put right; else %s", d.Called(), r.Hint)
	}
	for _, d := range p.Facts.Disks {
		mapping, part, lost := d.lostVolume()
		if m, _ := markOfLabel(mapping); !lost || m.Role != w.role || m.Pool != w.pool || slices.ContainsFunc(p.named(), d.has) {
			continue
		}
		r.What += fmt.Sprintf("; %s held %s once, and its LUKS header is gone", d.Called(), mapping)
		if part.empty() {
			r.Hint = fmt.Sprintf("if %s is this disk under another name, bring the header back from its backup (docs/recovery.md) and change this line; else %s", d.Called(), r.Hint)
		}
	}
	return r
}

// perhapsOwn are the carriers that may be this host's: those that another host's
// mark speaks against are not. A mark that is not believed says nothing of it.
func (p *planner) perhapsOwn(w want) (carriers, unbelieved []Disk) {
	for _, d := range p.carriers(w) {
		switch c, _ := d.Carried(); {
		case c.Problem != "":
			unbelieved = append(unbelieved, d)
		case c.Host == "" || p.own(d, c):
			carriers = append(carriers, d)
		}
	}
	return carriers, unbelieved
}

// orphans are this host's disks of a pool that the layout does not have, and that
// no place of it names.
func (p *planner) orphans(w want) (pool string, disks []string) {
	if w.role != RolePool {
		return "", nil
	}
	for _, d := range p.Facts.Disks {
		c, carries := d.Carried()
		if !carries || c.Role != RolePool || p.usedBy[d.Name] != "" || p.poolNamed(c.Pool) >= 0 || !p.own(d, c) {
			continue
		}
		if pool = cmp.Or(pool, c.Pool); pool == c.Pool {
			disks = append(disks, fmt.Sprintf("%s (%s)", d.Called(), c.Mapping))
		}
	}
	return pool, disks
}

// carriers are the disks that no place names and that carry a volume for this
// place, of whatever host.
func (p *planner) carriers(w want) []Disk {
	var disks []Disk
	for _, d := range p.Facts.Disks {
		if c, found := d.Carried(); found && len(d.ByID) > 0 && p.usedBy[d.Name] == "" && c.Role == w.role && c.Pool == w.pool && !slices.ContainsFunc(p.named(), d.has) {
			disks = append(disks, d)
		}
	}
	return disks
}

// nearest is the way out of a missing disk: the disks that no one has named and
// that would do.
func (p *planner) nearest(w want) string {
	var unnamed []Disk
	for _, d := range p.Facts.Disks {
		if !d.Live && len(d.ByID) > 0 && !slices.ContainsFunc(p.named(), d.has) {
			unnamed = append(unnamed, d)
		}
	}
	var free []string
	for _, d := range p.suits(w, unnamed) {
		name := d.Called()
		if !d.Blank() {
			name += " (holds data)"
		}
		free = append(free, name)
	}
	if len(free) == 0 {
		hint := "plug it in, and check cables and power: no other disk that would do is there and not named by the layout already"
		if nameless := p.nameless(); nameless != "" {
			hint += "; " + nameless + " has no by-id name: a USB bridge that shares its serial number with another one hides its disk; plug it in alone, or connect it otherwise"
		}
		return hint
	}
	hint := "plug it in, or name one that is there: " + strings.Join(free[:min(3, len(free))], ", ")
	if more := len(free) - 3; more > 0 {
		hint += fmt.Sprintf(", or one of %d more ('hvinstall discover' lists them)", more)
	}
	return hint
}

// suits orders the disks that might take a missing one's place: nearest by use,
// kind and size. What is too small, of another kind, a stick, or carries a
// hvinstall host's volume or keys, or carried one, does not suit.
func (p *planner) suits(w want, disks []Disk) []Disk {
	expected := p.expectedSize(w)
	least := max(w.least, expected/100*(100-tolerance))
	usb := strings.HasPrefix(strings.TrimPrefix(w.ref.ID, ByIDFolder), "usb-")
	disks = slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool {
		_, carries := d.Carried()
		_, stick := d.keyStick()
		_, _, lost := d.lostVolume()
		switch {
		case carries || lost || stick || p.opens(d) || d.Size < least:
			return true
		case w.role == RoleKey:
			return d.Transport != "usb" && !d.Removable
		case w.media == "ssd" && d.Rotational && d.Transport != "usb", w.media == "hdd" && !d.Rotational && d.Transport != "virtio":
			return true
		}
		return d.Transport == "usb" && !usb || d.Removable
	})
	distance := func(d Disk) uint64 { return max(d.Size, expected) - min(d.Size, expected) }
	slices.SortStableFunc(disks, func(a, b Disk) int {
		blank := func(d Disk) int {
			if d.Blank() {
				return 0
			}
			return 1
		}
		by := cmp.Compare(blank(a), blank(b))
		if by == 0 && expected != 0 {
			by = cmp.Compare(distance(a), distance(b))
		}
		return cmp.Or(by, cmp.Compare(commonPrefix(b.Called(), w.ref.ID), commonPrefix(a.Called(), w.ref.ID)))
	})
	return disks
}

// expectedSize is how large the missing disk was: what the layout says, else
// what the pool's file system or its other members are.
func (p *planner) expectedSize(w want) uint64 {
	if w.ref.Size != 0 {
		return uint64(w.ref.Size)
	}
	if w.role != RolePool {
		return 0
	}
	for _, fs := range p.Facts.Filesystems {
		for _, device := range fs.Devices {
			if fs.Label == w.pool && device.Missing {
				return device.Size
			}
		}
	}
	var smallest uint64
	for _, pool := range p.Layout.Pools {
		for _, ref := range pool.Disks {
			for _, d := range p.Facts.ByName(ref.ID) {
				if pool.Name == w.pool && (smallest == 0 || d.Size < smallest) {
					smallest = d.Size
				}
			}
		}
	}
	return smallest
}
