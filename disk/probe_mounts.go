package disk

import (
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"
)

// mount is a mount and the block devices below it, by kernel name; btrfs can
// have several.
type mount struct {
	host.Mount
	devices []string
	own     bool // of this process's view, or PID 1's; others' roots are not the system's
}

// readMounts reads the mounts of this process, of PID 1, and of every other
// mount namespace that may be looked at.
func (m *machine) readMounts() {
	var all []host.Mount
	own := 0 // how many of them are this process's, or PID 1's
	parse := func(p string) {
		list, err := host.ParseMountinfo(strings.NewReader(m.text(p)))
		if err != nil {
			m.cannotSee("mounts in %s: %s", p, err)
		}
		for _, one := range list {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	parse("/proc/self/mountinfo")
	parse("/proc/1/mountinfo")
	own = len(all)
	for _, pid := range m.otherNamespaces() {
		parse("/proc/" + pid + "/mountinfo")
	}
	btrfs := m.btrfsMembers()
	claimed := map[string]bool{}
	for i, one := range all {
		entry := mount{Mount: one, own: i < own}
		name := m.byDev[one.Device]
		if name == "" {
			name = m.deviceOf(one.Source)
		}
		if name != "" {
			entry.devices = []string{name}
		}
		if one.FSType == "btrfs" {
			for fsid, members := range btrfs {
				if slices.Contains(members, name) {
					entry.devices, claimed[fsid] = members, true
				}
			}
		}
		m.mounts = append(m.mounts, entry)
	}
	// The folder of a btrfs exists in sysfs while it is mounted, also where no
	// namespace that we can read shows it.
	for fsid, members := range btrfs {
		if !claimed[fsid] {
			m.mounts = append(m.mounts, mount{
				Mount:   host.Mount{Target: "btrfs " + fsid + ", out of sight", FSType: "btrfs"},
				devices: members,
			})
		}
	}
}

// otherNamespaces names one process of each mount namespace but ours.
func (m *machine) otherNamespaces() []string {
	seen := map[string]bool{m.link("/proc/self/ns/mnt"): true}
	var pids []string
	for _, pid := range m.processes() {
		if ns := m.link("/proc/" + pid + "/ns/mnt"); ns != "" && !seen[ns] {
			seen[ns] = true
			pids = append(pids, pid)
		}
	}
	return pids
}

// btrfsMembers are the devices of each mounted btrfs, by its UUID.
func (m *machine) btrfsMembers() map[string][]string {
	members := map[string][]string{}
	fsids, _ := m.list("/sys/fs/btrfs")
	for _, fsid := range fsids {
		if devices, err := m.list("/sys/fs/btrfs/" + fsid + "/devices"); err == nil && len(devices) > 0 {
			members[fsid] = devices
		}
	}
	return members
}

// deviceOf is the kernel name of a device path such as /dev/mapper/cryptroot,
// or "".
func (m *machine) deviceOf(path string) string {
	if !strings.HasPrefix(path, "/dev/") {
		return ""
	}
	if rest, found := strings.CutPrefix(path, "/dev/mapper/"); found {
		for name, b := range m.blocks {
			if b.dmName == rest {
				return name
			}
		}
	}
	if real, err := filepath.EvalSymlinks(m.path(path)); err == nil {
		path = real
	}
	if name := filepath.Base(path); m.blocks[name] != nil {
		return name
	}
	return ""
}

// covering is the mount that a path is on: the longest target, the last of
// those mounted there.
func (m *machine) covering(path string) (mount, bool) {
	best := -1
	for i, one := range m.mounts {
		if !one.own {
			continue
		}
		target := strings.TrimSuffix(one.Target, "/")
		if path != one.Target && !strings.HasPrefix(path, target+"/") {
			continue
		}
		if best < 0 || len(one.Target) >= len(m.mounts[best].Target) {
			best = i
		}
	}
	if best < 0 {
		return mount{}, false
	}
	return m.mounts[best], true
}
