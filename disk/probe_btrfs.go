package disk

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// filesystems are the mounted btrfs: from sysfs, which everybody may read, and,
// on the machine itself, from the kernel's ioctls.
func (m *machine) filesystems() []Btrfs {
	var all []Btrfs
	for fsid, members := range m.btrfsMembers() {
		dir := "/sys/fs/btrfs/" + fsid
		fs := Btrfs{UUID: fsid, Label: printable(m.text(dir + "/label"))}
		for _, one := range m.mounts {
			if one.FSType == "btrfs" && one.own && len(one.devices) > 0 && slices.Contains(members, one.devices[0]) && !slices.Contains(fs.Mounts, one.Target) {
				fs.Mounts = append(fs.Mounts, one.Target)
				fs.Places = append(fs.Places, Place{Mountpoint: one.Target, Subvolume: strings.TrimPrefix(one.Root, "/")})
			}
		}
		slices.Sort(fs.Mounts)
		slices.SortFunc(fs.Places, func(a, b Place) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
		fs.Devices = m.btrfsDevices(dir, members, fs.Mounts)
		all = append(all, fs)
	}
	slices.SortFunc(all, func(a, b Btrfs) int { return compareNames(a.UUID, b.UUID) })
	return all
}

func (m *machine) btrfsDevices(dir string, members, mounts []string) []BtrfsDevice {
	mapping := func(name string) string {
		if b := m.blocks[name]; b != nil {
			return b.dmName
		}
		return ""
	}
	if m.root == "/" && len(mounts) > 0 {
		if devices, err := btrfsDevices(mounts[0]); err == nil {
			var all []BtrfsDevice
			for _, d := range devices {
				if d.id == 0 { // the target of a replace that is under way
					continue
				}
				one := BtrfsDevice{ID: d.id, UUID: d.uuid, Size: d.size, Used: d.used, Missing: d.missing}
				if real, err := filepath.EvalSymlinks(d.path); err == nil && !d.missing {
					one.Mapping = mapping(filepath.Base(real))
				}
				all = append(all, one)
			}
			return all
		}
	}
	var all []BtrfsDevice
	for _, name := range members {
		all = append(all, BtrfsDevice{Mapping: mapping(name), Size: m.sizeOf(name)})
	}
	ids, _ := m.list(dir + "/devinfo")
	for _, text := range ids {
		if id, err := strconv.ParseUint(text, 10, 64); err == nil && m.text(dir+"/devinfo/"+text+"/missing") == "1" {
			all = append(all, BtrfsDevice{ID: id, Missing: true})
		}
	}
	return all
}

func (m *machine) sizeOf(name string) uint64 {
	if b := m.blocks[name]; b != nil {
		return b.size
	}
	return 0
}
