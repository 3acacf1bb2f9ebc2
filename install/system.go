package install

import (
	"slices"

	"hvinstall/disk"
	"hvinstall/osimage"
	"hvinstall/step"
)

// espMount is where the ESP is mounted on a host of ours. Not /boot: Debian's
// kernel packages are unpacked there, and dpkg makes hard links, which a VFAT
// does not have. osimage copies each kernel to the ESP, as a generation with
// its initramfs.
const espMount = "/efi"

// system plans the installed OS of an image host.
func (p *Plan) system(in Input) {
	l := in.Layout
	if p.isNixOS() {
		p.nixosSystem()
		return
	}
	if l.OS == nil || l.OS.Image == nil || len(p.Refusals) > 0 {
		return // without its disks, a system has nowhere to go
	}
	config, err := p.BootConfig().JSON()
	if err != nil && !p.volumeAway() { // else it is not written
		p.refuse("boot-config", l.Hostname, err.Error(), "")
		return
	}
	values := osimage.Values{
		Hostname: l.Hostname, Image: *l.OS.Image, Locale: l.Locale, Users: l.Users, LibvirtUsers: l.Libvirtd.Users,
		KernelArgs: l.OS.KernelArgs, Mounts: p.mounts(), ESP: espMount,
		NFS: hasExports(l), Trim: p.trims(),
		Layout: l.Source, BootConfig: config,
	}
	for _, fs := range p.Disk.Filesystems {
		if fs.Swap != nil {
			values.Swap = fs.Swap.Path
		}
	}
	sum := ""
	if image := in.Facts.LiveImage; image != nil && l.OS.Image.URL == "file://"+image.Path {
		sum = image.SHA256
	}
	plan, refusals := osimage.MakePlan(values, sum)
	var accounts osimage.AccountFacts // of a host that is installed there are none
	if !p.Installing() {
		accounts = in.Facts.Accounts
		plan.Taken, plan.Kept = plan.Access(accounts)
	}
	p.OS = &plan
	if !p.Installing() {
		// The image is unpacked already, and is not looked at again.
		refusals = slices.DeleteFunc(refusals, func(r step.Refusal) bool { return r.Code == "image-sum" })
	}
	p.Refusals = append(p.Refusals, refusals...)
	p.Warnings = append(p.Warnings, plan.Warnings(accounts)...)
}

// mounts are the lines of fstab, / first.
func (p *Plan) mounts() []osimage.Mount {
	var mounts []osimage.Mount
	for _, fs := range p.Disk.Filesystems {
		for i, s := range fs.Subvols {
			m := osimage.Mount{
				Source: "UUID=" + fs.UUID, Target: s.Mountpoint, FSType: "btrfs",
				Options: append([]string{"subvol=" + s.Name}, s.Options...), Pool: fs.Role == disk.RolePool,
				Scrub: i == 0,
			}
			if fs.UUID == "" { // adopted: not known before it is unlocked
				m.Source = fs.Devices[0]
			}
			if s.Mountpoint == "/" {
				mounts = append([]osimage.Mount{m}, mounts...)
			} else {
				mounts = append(mounts, m)
			}
		}
		if fs.Swap != nil {
			mounts = append(mounts, osimage.Mount{
				Source: "UUID=" + fs.UUID, Target: "/" + fs.Swap.Subvolume, FSType: "btrfs",
				Options: []string{"subvol=" + fs.Swap.Subvolume, "noatime"},
			})
		}
	}
	for _, d := range p.Disk.Disks {
		if d.Role != disk.RoleOS {
			continue
		}
		for _, part := range d.Table.Partitions {
			if part.Format == "vfat" {
				mounts = append(mounts, osimage.Mount{
					Source: "UUID=" + part.FSUUID, Target: espMount, FSType: "vfat",
					Options: []string{"umask=0077", "nosuid", "nodev", "noexec"},
				})
			}
		}
	}
	return mounts
}

// trims reports whether some file system lies on SSDs.
func (p *Plan) trims() bool {
	for _, fs := range p.Disk.Filesystems {
		if fs.Discard {
			return true
		}
	}
	return false
}
