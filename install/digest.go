package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"hvinstall/disk"
)

// digest computes the plan's name: over the layout, and over each planned
// disk's identity, content and fate. What changes without meaning anything
// (kernel names, free memory, the time) is left out.
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
	}{1, layout, p.Parts, p.Root, disks, p.Disk.Filesystems, p.Refusals})
	if err != nil {
		// Only types that JSON cannot hold fail, and the layout has none.
		panic(fmt.Sprintf("hashing the plan: %v", err))
	}
	sum := sha256.Sum256(text)
	p.Digest = hex.EncodeToString(sum[:16])
}
