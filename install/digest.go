package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"hvinstall/disk"
)

// digest computes the plan's name: over the layout, and over each planned
// disk's identity, content and fate. What changes without meaning anything
// (kernel names, free memory, the time) is left out. The layout has the sums of
// images that it gives itself; those that it only names, and the files that it
// names, are in it by their content.
// It is 128 bits long, so that nobody can make another plan of the same name.
func (p *Plan) digest() {
	type planned struct {
		ID, Identity, WWN, Holds string
		Size                     uint64
		Fate                     disk.Fate
		Table                    disk.TablePlan
		Volume                   string
	}
	var disks []planned
	for _, d := range p.Disk.Disks {
		disks = append(disks, planned{d.ID, d.Disk.Identity(), d.Disk.WWN, d.Holds, d.Disk.Size, d.Fate, d.Table, d.VolumeUUID})
	}
	// What the layout only names: a file, or a sum that is elsewhere.
	type source struct {
		URL, Checksum, Sum string
	}
	type named struct {
		Image     string            `json:",omitempty"` // the OS image's sum
		Images    []source          `json:",omitempty"` // of VMs, with sums from lists
		Templates map[string]string `json:",omitempty"`
		Seeds     map[string]string `json:",omitempty"`
	}
	names := named{Templates: map[string]string{}, Seeds: map[string]string{}}
	if p.OS != nil {
		names.Image = p.OS.Image.SHA256
	}
	if p.VMs != nil {
		for _, image := range p.VMs.Images {
			if image.Sum != "" {
				names.Images = append(names.Images, source{image.URL, image.Checksum, image.Sum})
			}
		}
		for _, vm := range p.VMs.VMs {
			if vm.TemplateSum != "" {
				names.Templates[vm.Template] = vm.TemplateSum
			}
			if vm.Seed != nil {
				maps.Copy(names.Seeds, vm.Seed.Files)
			}
		}
	}
	layout := *p.Layout
	layout.Path = ""
	text, err := json.Marshal(struct {
		Version     int
		Layout      any
		Parts       []Part
		Root        string
		Disks       []planned
		Filesystems []disk.FilesystemPlan
		Refusals    any
		Named       named
	}{1, layout, p.Parts, p.Root, disks, p.Disk.Filesystems, p.Refusals, names})
	if err != nil {
		// Only types that JSON cannot hold fail, and the layout has none.
		panic(fmt.Sprintf("hashing the plan: %v", err))
	}
	sum := sha256.Sum256(text)
	p.Digest = hex.EncodeToString(sum[:16])
}
