// Package install is the order of the house: it puts the domains' plans
// together into one plan for the whole host.
//
// Deciding is pure: a layout and facts in, a plan with its refusals and its
// digest out. The steps of a plan are the domains' own; install passes values
// between the domains, which do not know each other.
package install

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/net/bridge"
	"hvinstall/net/filter"
	"hvinstall/net/nfs"
	"hvinstall/osimage"
	"hvinstall/step"
	"hvinstall/vmstore"
)

// TargetRoot is where the host's file systems are mounted while it is
// installed from a live system.
const TargetRoot = "/mnt/target"

// Part is a part of a plan that --only can name.
type Part string

// The parts, in the order in which they are done.
const (
	PartDisks Part = "disks"
	PartOS    Part = "os"
	PartNet   Part = "net"
	PartVMs   Part = "vms"
)

// Parts lists every part.
func Parts() []Part { return []Part{PartDisks, PartOS, PartNet, PartVMs} }

// Input is everything that a plan is made from.
type Input struct {
	Layout *configs.Layout
	Facts  Facts
	Erase  []string // by-id names of disks that may be erased although they hold data
	Only   []Part   // empty: every part
}

// Plan is what a run would make true, and what speaks against it.
type Plan struct {
	Layout *configs.Layout `json:"layout"`
	Facts  Facts           `json:"-"`
	Parts  []Part          `json:"parts"`
	// Root is where the host's file tree is: "/" on the running host, and
	// TargetRoot while it is installed.
	Root     string         `json:"root"`
	Disk     disk.Plan      `json:"disk"`
	Crypt    crypt.Plan     `json:"crypt"`
	OS       *osimage.Plan  `json:"os,omitempty"`      // of an image host
	Network  *bridge.Plan   `json:"network,omitempty"` // nil: the layout asks for no bridge
	NFS      *nfs.Plan      `json:"nfs,omitempty"`     // nil: not ours to say
	Filter   *filter.Plan   `json:"filter,omitempty"`  // nil: the system is its owner's
	VMs      *vmstore.Plan  `json:"vms,omitempty"`     // nil: the layout has none
	Refusals []step.Refusal `json:"refusals,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	// Waits is what the run leaves as it is, because a disk is not there.
	Waits []step.Refusal `json:"waits,omitempty"`
	// Digest names exactly this plan on exactly these disks: --confirm takes
	// it as consent, and it differs once anything has changed.
	Digest string `json:"digest"`
}

// Make decides the plan. It is pure, and finds everything that is wrong at
// once.
func Make(in Input) Plan {
	p := Plan{Layout: in.Layout, Facts: in.Facts, Parts: in.Only}
	if len(p.Parts) == 0 {
		p.Parts = Parts()
	}
	// Every part knows the disks' plan; what speaks against it matters only to
	// the parts that need the disks.
	p.disks(in)
	if !p.Has(PartDisks) && !p.Has(PartOS) {
		p.Refusals = nil
	}
	p.Waits = p.Disk.Waits
	const back = "it goes on once the disk is back, or another is named in its place"
	switch away := p.volumeAway(); {
	case !p.Has(PartOS):
	case away && p.isNixOS():
		p.waits("system", "it is left as it is: built now, it would not know the disk that is missing", back)
	case away:
		p.system(in)
		p.waits("boot files", "they are left as they are, while accounts and settings go on: a boot entry written now would not know the disk that is missing", back)
	default:
		p.system(in)
	}
	if p.Has(PartNet) {
		p.network(in)
		p.exports(in)
		p.filter(in)
	}
	if p.Has(PartVMs) {
		p.vms(in)
	}
	p.digest()
	return p
}

// Has reports whether the plan covers the part.
func (p Plan) Has(part Part) bool { return slices.Contains(p.Parts, part) }

// Installing reports whether the host is being installed from a live system.
func (p Plan) Installing() bool { return p.Root != "/" }

// disks plans what becomes of the disks and the volumes on them.
func (p *Plan) disks(in Input) {
	var refusals []step.Refusal
	p.Disk, refusals = disk.MakePlan(disk.Input{Layout: in.Layout, Facts: in.Facts.Disks, Erase: in.Erase, Target: TargetRoot, Hostname: in.Facts.Hostname, Seed: in.Facts.Seed})
	p.Refusals = append(p.Refusals, refusals...)
	p.Root = p.root()
	p.moved()
	p.Warnings = append(p.Warnings, p.Disk.Left...)
	var containers []crypt.Container
	sticks := map[string]crypt.Stick{}
	for _, d := range p.Disk.Disks {
		if d.Role == disk.RoleKey {
			stick := crypt.Stick{DiskID: d.ID, Format: d.Fate != disk.Keep && d.Fate != disk.Away, Former: p.formerKey()}
			if n := len(d.Table.Partitions); n > 0 {
				stick.FSUUID = d.Table.Partitions[n-1].FSUUID
			}
			sticks[layoutID(d)] = stick
			continue
		}
		if d.Fate == disk.Away {
			continue
		}
		var mark json.RawMessage
		if d.Mark != nil {
			mark = d.Mark.Token()
		}
		containers = append(containers, crypt.Container{
			Mapping: d.Mapping, Device: d.VolumeDevice, DiskID: d.ID, Pool: d.Pool, UUID: d.VolumeUUID,
			PhysicalSector: d.Disk.PhysicalSector, SSD: media(in.Layout, d) == "ssd",
			Exists: d.VolumeExists, Adopted: d.Fate == disk.Adopt, Mark: mark,
		})
	}
	var keys []crypt.Stick
	for _, k := range in.Layout.Encryption.USBKeys {
		if k.Disk != "" {
			keys = append(keys, sticks[k.Disk])
		} else {
			keys = append(keys, crypt.Stick{FSUUID: k.UUID, Former: p.formerKey()})
		}
	}
	p.Crypt = crypt.MakePlan(in.Layout, containers, keys, in.Facts.Memory.Available)
	p.keysAreThere(in)
}

// formerKey is the name of the key file before the host got another name; empty
// where it keeps its name.
func (p Plan) formerKey() string {
	if former := p.Renamed(); former != "" && p.Layout.Encryption.KeyFilename == p.Layout.Hostname {
		return former
	}
	return ""
}

// Renamed is the running host's name where the layout gives it another; empty
// where it does not.
func (p Plan) Renamed() string {
	if former := p.Facts.Hostname; !p.Installing() && p.Layout.OS != nil && former != p.Layout.Hostname {
		return former
	}
	return ""
}

// moved says which disks have other names now than the layout has for them, and
// which line to change.
func (p *Plan) moved() {
	for _, d := range p.Disk.Disks {
		if d.Was == "" {
			continue
		}
		known := "carries its volume " + d.Mapping
		if d.Role == disk.RoleKey {
			known = "holds this host's key"
		}
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: was %s, is %s now: the disk %s. Change the line in the layout to %s", d.Name,
			strings.TrimPrefix(d.Was, disk.ByIDFolder), strings.TrimPrefix(d.ID, disk.ByIDFolder), known, d.ID))
	}
}

// keysAreThere refuses a stick named by UUID that is not plugged in while a
// volume is to be made: its key must be written to it.
func (p *Plan) keysAreThere(in Input) {
	creates := slices.ContainsFunc(p.Crypt.Volumes, func(v crypt.VolumePlan) bool { return v.Create })
	renamed := p.formerKey() != "" && in.Layout.OS != nil
	if !creates && !renamed {
		return
	}
	for _, k := range in.Layout.Encryption.USBKeys {
		if k.UUID == "" {
			continue
		}
		var seen []string
		for _, d := range in.Facts.Disks.Disks {
			for _, fat := range VFATs(d) {
				seen = append(seen, fat.UUID)
			}
		}
		if !slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, k.UUID) }) {
			hint := "plug the stick in"
			if len(seen) > 0 {
				hint += "; VFAT volumes seen: " + strings.Join(seen, ", ")
			}
			if !creates {
				p.refuse("stick-renamed", "USB key "+k.UUID, fmt.Sprintf("the host gets another name, and with it the key file /%s on its sticks; this one is not plugged in, and the next boot would not find its key",
					in.Layout.Encryption.KeyFilename), hint+"; or keep the file's name: key_filename: "+p.formerKey()+" below encryption:")
				continue
			}
			p.refuse("stick-missing", "USB key "+k.UUID, "no VFAT with this UUID is plugged in", hint)
		}
	}
}

func media(l *configs.Layout, d disk.DiskPlan) string {
	if d.Role == disk.RoleOS {
		return l.OS.StorageMedia
	}
	for _, pool := range l.Pools {
		if pool.Name == d.Pool {
			return pool.StorageMedia
		}
	}
	return ""
}

// layoutID is the name that the layout has for the disk.
func layoutID(d disk.DiskPlan) string {
	if d.Was != "" {
		return d.Was
	}
	return d.ID
}

// root is where the host's file tree is.
func root(in Input) string {
	var p Plan
	p.Layout = in.Layout
	p.disks(in)
	return p.Root
}

// root tells the running host from one that is being installed: where the
// system runs from the layout's OS disk, or the layout names none, it is the
// host itself.
func (p Plan) root() string {
	if p.Layout.OS == nil {
		return "/"
	}
	for _, d := range p.Disk.Disks {
		for _, h := range d.Disk.AllHolders() {
			if d.Role == disk.RoleOS && h.Kind == "mount" && h.Name == "/" {
				return "/"
			}
		}
	}
	return TargetRoot
}

// Erases lists the disks that hold data and lose it.
func (p Plan) Erases() []string {
	var ids []string
	for _, d := range p.Disk.Disks {
		if d.Fate == disk.Erase && p.Has(PartDisks) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// Removes lists the VMs that are deleted with their disks.
func (p Plan) Removes() []string {
	var names []string
	if p.VMs != nil {
		for _, vm := range p.VMs.Removals() {
			names = append(names, vm.Name)
		}
	}
	return names
}

// DeletesForGood lists the VMs whose files a run deletes at once.
func (p Plan) DeletesForGood() []string {
	if p.VMs == nil || !p.Has(PartVMs) {
		return nil
	}
	return p.VMs.DeletedForGood()
}

// AdoptsWithChanges lists the VMs of another's making whose guests see other
// hardware afterwards.
func (p Plan) AdoptsWithChanges() []string {
	if p.VMs == nil || !p.Has(PartVMs) {
		return nil
	}
	return p.VMs.AdoptedWithChanges()
}

// volumeAway reports whether a volume of the host is not there.
func (p Plan) volumeAway() bool {
	return slices.ContainsFunc(p.Disk.Disks, func(d disk.DiskPlan) bool { return d.Fate == disk.Away && d.Role != disk.RoleKey })
}

// waits adds what is left as it is for now.
func (p *Plan) waits(where, what, hint string) {
	p.Waits = append(p.Waits, step.Refusal{Code: "waits", Where: where, What: what, Hint: hint})
}

// closed are the pools that are left as they are and that are not mounted.
func (p Plan) closed() []string {
	var places []string
	for _, fs := range p.Disk.Filesystems {
		mounted := slices.ContainsFunc(p.Facts.Disks.Filesystems, func(have disk.Btrfs) bool { return slices.Contains(have.Mounts, fs.Subvols[0].Mountpoint) })
		if fs.Fate == disk.Away && !mounted {
			places = append(places, fs.Subvols[0].Mountpoint)
		}
	}
	return places
}

// refuse adds a refusal.
func (p *Plan) refuse(code, where, what, hint string) {
	p.Refusals = append(p.Refusals, step.Refusal{Code: code, Where: where, What: what, Hint: hint})
}

// Differs reports whether, as far as the facts tell, there is something to do.
func (p Plan) Differs() bool {
	for _, d := range p.Disk.Disks {
		if d.Fate != disk.Keep && d.Fate != disk.Adopt {
			return true
		}
	}
	return false
}
