package disk

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// readHolders finds what uses each block device now: what the kernel stacked
// on it, mounts, swap, and processes that have it open for writing.
func (m *machine) readHolders() {
	m.holders = map[string][]Holder{}
	m.readMounts()
	m.pools, _ = m.list("/proc/spl/kstat/zfs")
	uses := map[string][]Holder{} // of the device itself
	use := func(device string, h Holder) {
		if device != "" && !slices.Contains(uses[device], h) {
			uses[device] = append(uses[device], h)
		}
	}
	for _, one := range m.mounts {
		for _, device := range one.devices {
			use(device, Holder{Kind: "mount", Name: one.Target})
		}
	}
	for line := range strings.SplitSeq(m.text("/proc/swaps"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "partition" {
			use(m.deviceOf(fields[0]), Holder{Kind: "swap", Name: fields[0]})
		}
	}
	for name, b := range m.blocks {
		if file := m.text(b.folder + "/loop/backing_file"); file != "" {
			use(m.deviceOf(file), Holder{Kind: "loop", Name: name})
		}
		if m.link(b.folder+"/bcache/set") != "" || m.text(b.folder+"/bcache/state") != "" {
			use(name, Holder{Kind: "bcache", Name: name})
		}
	}
	m.readProcesses(use)
	for name := range m.blocks {
		m.holders[name] = m.usesThrough(name, uses, nil)
	}
}

// swapfiles are those that the kernel uses, see proc_swaps(5). The kernel does
// not count the first page, which is the header.
func (m *machine) swapfiles() []Swapfile {
	var all []Swapfile
	for line := range strings.SplitSeq(m.text("/proc/swaps"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != "file" {
			continue
		}
		if kib, err := strconv.ParseUint(fields[2], 10, 40); err == nil {
			all = append(all, Swapfile{Path: fields[0], Size: kib<<10 + uint64(os.Getpagesize())})
		}
	}
	return all
}

// usesThrough collects the uses of a device and of everything that stands on
// it, with the chain in between.
func (m *machine) usesThrough(name string, uses map[string][]Holder, chain []string) []Holder {
	var found []Holder
	for _, h := range uses[name] {
		// The chain reads from the use down: a mount through md0 on dm-3.
		slices.Reverse(chain)
		h.Through = strings.Join(chain, " on ")
		slices.Reverse(chain)
		found = append(found, h)
	}
	b := m.blocks[name]
	if b == nil || len(chain) > 16 {
		return found
	}
	for _, above := range b.holder {
		h := Holder{Kind: "dm", Name: above}
		stacked := m.blocks[above]
		switch {
		case stacked != nil && stacked.dmName != "":
			h.Name = stacked.dmName
		case strings.HasPrefix(above, "md"):
			h.Kind = "md"
		case strings.HasPrefix(above, "bcache"):
			h.Kind = "bcache"
		}
		reversed := slices.Clone(chain)
		slices.Reverse(reversed)
		h.Through = strings.Join(reversed, " on ")
		if !slices.Contains(found, h) {
			found = append(found, h)
		}
		found = append(found, m.usesThrough(above, uses, append(slices.Clone(chain), above))...)
	}
	slices.SortFunc(found, compareHolders)
	return slices.Compact(found)
}

// compareHolders gives an order that does not depend on how the kernel listed
// things: what is nearest to the disk first.
func compareHolders(a, b Holder) int {
	depth := func(h Holder) int {
		if h.Through == "" {
			return 0
		}
		return 1 + strings.Count(h.Through, " on ")
	}
	if d := depth(a) - depth(b); d != 0 {
		return d
	}
	if c := strings.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// addHolders writes what uses the disk into it, and into its partitions.
func (m *machine) addHolders(d *Disk) {
	d.Holders = m.holders[d.Name]
	d.Holders = append(d.Holders, m.poolHolders(d.Signatures)...)
	for i := range d.Partitions {
		p := &d.Partitions[i]
		if p.Name != "" {
			p.Holders = m.holders[p.Name]
		}
		p.Holders = append(p.Holders, m.poolHolders(p.Signatures)...)
	}
}

// poolHolders tells an imported ZFS pool, which the kernel's lists of holders
// do not show, by its name.
func (m *machine) poolHolders(signatures []Signature) []Holder {
	for _, s := range signatures {
		if s.Type == "zfs" && s.Label != "" && slices.Contains(m.pools, s.Label) {
			return []Holder{{Kind: "zfs", Name: s.Label}}
		}
	}
	return nil
}
