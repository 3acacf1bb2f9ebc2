package vmstore

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"

	"github.com/beevik/etree"
)

// judgeChain looks at what the VM's disk builds on, and at what builds on it:
// to write to a base is to destroy every overlay.
func (p *Plan) judgeChain(v VM, have *Domain, facts Facts) []step.Refusal {
	if !p.Local || v.Spec.DiskKind != "file" {
		return nil
	}
	if _, there := facts.Files[v.Spec.Disk]; !there {
		return nil
	}
	for _, on := range facts.chain(v.Spec.Disk) {
		if slices.Contains(facts.Missing, on) {
			return []step.Refusal{{
				Code: "disk-chain", Where: v.Name, What: "its disk " + v.Spec.Disk + " builds on " + on + ", which is not there",
				Hint: "mount the pool it was on, or put the file back; without it the disk cannot be read",
			}}
		}
	}
	for _, l := range facts.Links {
		if l.On != v.Spec.Disk || l.Image == v.Spec.Disk {
			continue
		}
		owner := facts.diskOf(l.Image, v.Name)
		switch {
		case v.From != InLibvirt && owner == "":
			return []step.Refusal{{
				Code: "disk-overlay", Where: v.Name,
				What: fmt.Sprintf("its disk would be %s, and %s builds on it: the newest data is in that one, and writing to the base destroys it", v.Spec.Disk, l.Image),
				Hint: "if it is a snapshot's overlay, name it as the disk: <source file='" + l.Image + "'/> in " +
					filepath.Join(v.Spec.Dir, domainXMLName) + ", or as dest in the layout; if it is not needed, move it away",
			}}
		case owner != "" && (have == nil || !have.Active):
			return []step.Refusal{{
				Code: "disk-overlay", Where: v.Name,
				What: fmt.Sprintf("its disk is %s, on which the disk %s of %s builds: started, it would destroy that one", v.Spec.Disk, l.Image, owner),
				Hint: "copy what that one needs into it first: virsh blockpull " + owner + " …; or leave this VM out of the layout: it is not touched then",
			}}
		default:
			p.note("disk-overlay", v.Name, "%s builds on its disk %s: what writes to the disk makes that file worthless", l.Image, v.Spec.Disk)
		}
	}
	return nil
}

// chain are the files that an image builds on.
func (f Facts) chain(image string) []string {
	var found []string
	for next := []string{image}; len(next) > 0 && len(found) <= deepestChain; next = next[1:] {
		for _, l := range f.Links {
			if l.Image == next[0] && !slices.Contains(found, l.On) {
				found, next = append(found, l.On), append(next, l.On)
			}
		}
	}
	return found
}

// diskOf is the VM other than this one that has a file as its disk.
func (f Facts) diskOf(path, besides string) string {
	for _, d := range f.Domains {
		if d.Name != besides && slices.ContainsFunc(d.Disks, func(e DomainDisk) bool { return e.Path == path }) {
			return d.Name
		}
	}
	return ""
}

// judgeReferences refuses to delete a directory while something that stays
// names a file in it: an image by its backing file, or another VM.
func judgeReferences(want configs.VMPlan, v VM, facts Facts) []step.Refusal {
	var refusals []step.Refusal
	refuse := func(who, path, how string) {
		refusals = append(refusals, step.Refusal{
			Code: "vm-referenced", Where: v.Name, What: fmt.Sprintf("it is to be removed, and %s %s %s", who, how, path),
			Hint: "copy into it what it needs first (virsh blockpull while that VM runs, qemu-img rebase -b '' while it is off), or make that VM absent too",
		})
	}
	goes := func(path string) bool {
		return slices.ContainsFunc(want.VMs, func(vm configs.VM) bool {
			return vm.State == "absent" && inside(filepath.Join(want.VMStoreRoot, vm.Name), path)
		})
	}
	for _, l := range facts.Links {
		if inside(v.Spec.Dir, l.On) && !goes(l.Image) {
			refuse(l.Image, l.On, "builds on")
		}
	}
	absent := func(name string) bool {
		return slices.ContainsFunc(want.VMs, func(vm configs.VM) bool { return vm.State == "absent" && vm.Name == name })
	}
	for _, d := range facts.Domains {
		if absent(d.Name) {
			continue
		}
		if path := namedIn(v.Spec.Dir, d.Inactive, d.Live); path != "" {
			refuse("the VM "+d.Name, path, "has")
		}
	}
	return refusals
}

// namedIn is a file of the directory that a description names anywhere: as a
// disk, as firmware variables, as a kernel.
func namedIn(dir string, descriptions ...string) string {
	for _, text := range descriptions {
		if !strings.Contains(text, dir+"/") {
			continue
		}
		doc, err := readTree(text)
		if err != nil {
			return dir // it cannot be told: rather too careful
		}
		if path := namedBelow(dir, doc.Root()); path != "" {
			return path
		}
	}
	return ""
}

func namedBelow(dir string, e *etree.Element) string {
	for _, a := range e.Attr {
		if inside(dir, a.Value) {
			return a.Value
		}
	}
	if text := content(e); inside(dir, text) {
		return text
	}
	for _, c := range e.ChildElements() {
		if path := namedBelow(dir, c); path != "" {
			return path
		}
	}
	return ""
}

// unreferenced looks once more, right before a directory is deleted, for an
// image in the store that builds on a file in it.
func (w *worker) unreferenced(v VM) error {
	if !w.plan.Local {
		return nil
	}
	store := w.at(w.plan.Root)
	return filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read names nothing
		}
		shown := filepath.Join(w.plan.Root, strings.TrimPrefix(path, store))
		if inside(v.Spec.Dir, shown) {
			return nil
		}
		for _, other := range w.plan.Removals() {
			if inside(other.Spec.Dir, shown) {
				return nil
			}
		}
		for _, on := range neededFiles(path) {
			if inside(v.Spec.Dir, on) {
				return fmt.Errorf("%s builds on %s: %s is not deleted", shown, on, v.Spec.Dir)
			}
		}
		return nil
	})
}
