package vmstore

import (
	"cmp"
	"slices"
	"strings"
)

// systemDisk is the disk that the VM starts from. dest is where the layout has
// it. Where it cannot be told, ambiguous has the disks that it may be: to take
// the wrong one is to grow a data disk for good.
func (d *Domain) systemDisk(dest string) (disk DomainDisk, found bool, ambiguous []string) {
	disks := slices.DeleteFunc(slices.Clone(d.Disks), func(e DomainDisk) bool { return e.Device != "disk" && e.Device != "lun" })
	one := func(is func(DomainDisk) bool) bool {
		var like []DomainDisk
		for _, e := range disks {
			if is(e) {
				like = append(like, e)
			}
		}
		if len(like) == 1 {
			disk, found = like[0], true
		}
		return found
	}
	first := 0
	for _, e := range disks {
		if e.Boot > 0 && (first == 0 || e.Boot < first) {
			first = e.Boot
		}
	}
	switch {
	case len(disks) == 0:
		return disk, false, nil
	case d.System != "" && one(func(e DomainDisk) bool { return e.Target == d.System }),
		first > 0 && one(func(e DomainDisk) bool { return e.Boot == first }),
		one(func(DomainDisk) bool { return true }),
		one(func(e DomainDisk) bool { return e.Path == dest }),
		one(func(e DomainDisk) bool { return slices.Contains(d.Devices, "disk:"+e.Target) }):
		return disk, true, nil
	}
	for _, e := range disks {
		ambiguous = append(ambiguous, strings.TrimSpace(e.Target+" "+cmp.Or(e.Path, e.Source)))
	}
	return disk, false, ambiguous
}

// bootsFrom is the target of the disk that is first in the boot order; empty
// where no disk is in it.
func (d *Domain) bootsFrom() string {
	target, first := "", 0
	for _, e := range d.Disks {
		if e.Device == "disk" && e.Boot > 0 && (first == 0 || e.Boot < first) {
			target, first = e.Target, e.Boot
		}
	}
	return target
}
