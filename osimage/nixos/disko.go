package nixos

import (
	"fmt"
	"slices"
	"strings"
)

// diskoNix describes the disks as they are in disko's terms, partition labels
// included: a disko module that expects them finds the machine as if disko had
// made it. It is documentation: enableConfig is off, so that importing it
// defines nothing twice.
func diskoNix(in Input) string {
	disks := attrs{}
	for i, d := range in.Disks {
		partitions := attrs{}
		for _, p := range d.Partitions {
			partitions = append(partitions, binding{path: []string{partitionName(d, p)}, value: diskoPartition(in, d, p)})
		}
		b := binding{path: []string{d.Name}, value: attrs{
			set("type", "disk"),
			set("device", d.ID),
			set("content", attrs{set("type", "gpt"), set("partitions", partitions)}),
		}}
		b.gap = i > 0
		disks = append(disks, b)
	}
	return module{
		header: []string{
			"The disks in disko's terms (https://github.com/nix-community/disko), for who keeps that as",
			"documentation. Nothing imports this file. With disko's module and this one imported, set",
			"enableConfig to true and leave luks.nix and the fileSystems out: both define the same.",
			"Never run disko itself with it on a host that holds data: it formats.",
		},
		args: nil,
		body: attrs{
			set("disko.enableConfig", false),
			after(set("disko.devices.disk", disks)),
		},
	}.String()
}

// partitionName is the name under which disko would give the partition its
// label, disk-<disk>-<name>; the label is written all the same, as it is what
// is on the disk.
func partitionName(d Disk, p Partition) string {
	if name, found := strings.CutPrefix(p.Label, "disk-"+d.Name+"-"); found && name != "" {
		return name
	}
	if p.Mapping == "" {
		return "ESP"
	}
	return "luks"
}

func diskoPartition(in Input, d Disk, p Partition) attrs {
	size := any("100%")
	if !p.Last {
		size = fmt.Sprintf("%dM", p.Size>>20)
	}
	kind := strings.ToUpper(p.Type)
	if p.Mapping == "" && strings.EqualFold(p.Type, espType) {
		kind = "EF00"
	}
	a := attrs{set("label", p.Label), set("size", size)}
	if kind != "" {
		a = append(a, set("type", kind))
	}
	if p.Mapping == "" {
		return append(a, set("content", attrs{
			set("type", "filesystem"), set("format", "vfat"), set("mountpoint", in.ESP.Mountpoint), set("mountOptions", texts("umask=0077")),
		}))
	}
	content := attrs{
		set("type", "luks"),
		set("name", p.Mapping),
		set("settings", diskoLUKS(in, p.Mapping)),
	}
	if fs, holds := holder(in, p.Mapping); holds {
		content = append(content, set("content", diskoBtrfs(in, fs)))
	}
	return append(a, set("content", content))
}

const espType = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"

func diskoLUKS(in Input, mapping string) attrs {
	var a attrs
	for _, v := range in.Volumes {
		if v.Mapping == mapping {
			a = append(a, set("allowDiscards", v.Discards))
		}
	}
	if len(in.Sticks) > 0 {
		a = append(a, set("keyFile", "/key/"+keyName(in)))
	}
	return a
}

// holder gives the file system that disko would make on the mapping: that of
// the system, and a pool's on the disk whose name sorts last, since disko
// works through the disks by name and RAID1 needs all of them open.
func holder(in Input, mapping string) (Filesystem, bool) {
	device := "/dev/mapper/" + mapping
	for _, fs := range append([]Filesystem{in.System}, in.Pools...) {
		if !slices.Contains(fs.Devices, device) {
			continue
		}
		last := ""
		for _, d := range in.Disks {
			for _, p := range d.Partitions {
				if slices.Contains(fs.Devices, "/dev/mapper/"+p.Mapping) && d.Name > last {
					last = d.Name
				}
			}
		}
		for _, d := range in.Disks {
			for _, p := range d.Partitions {
				if d.Name == last && p.Mapping == mapping {
					return fs, true
				}
			}
		}
		return Filesystem{}, false
	}
	return Filesystem{}, false
}

func diskoBtrfs(in Input, fs Filesystem) attrs {
	arguments := texts("-L", fs.Label)
	if fs.RAID1 {
		arguments = append(arguments, "-d", "raid1", "-m", "raid1")
		for _, d := range fs.Devices {
			if _, last := holder(in, strings.TrimPrefix(d, "/dev/mapper/")); !last {
				arguments = append(arguments, d)
			}
		}
	}
	subvolumes := attrs{}
	for _, s := range fs.Subvolumes {
		sub := attrs{set("mountpoint", s.Mountpoint)}
		if len(s.Options) > 0 {
			sub = append(sub, set("mountOptions", texts(s.Options...)))
		}
		if in.Swap != nil && fs.Label == in.System.Label && strings.HasPrefix(in.Swap.Path, s.Mountpoint+"/") && s.Mountpoint != "/" {
			sub = append(sub, set("swap."+strings.TrimPrefix(in.Swap.Path, s.Mountpoint+"/")+".size", fmt.Sprintf("%dM", in.Swap.Size>>20)))
		}
		subvolumes = append(subvolumes, binding{path: []string{"/" + strings.TrimPrefix(s.Name, "/")}, value: sub})
	}
	return attrs{set("type", "btrfs"), set("extraArgs", arguments), set("subvolumes", subvolumes)}
}
