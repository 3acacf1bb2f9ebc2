package disk

import (
	"fmt"
	"slices"
	"strings"
)

// Blank reports whether nothing recognisable is on the disk: no signature, no
// partition, and nobody using it.
func (d Disk) Blank() bool {
	return len(d.Signatures) == 0 && len(d.Partitions) == 0 && len(d.AllHolders()) == 0
}

// AllHolders is what holds the disk or any of its partitions.
func (d Disk) AllHolders() []Holder {
	holders := slices.Clone(d.Holders)
	for _, p := range d.Partitions {
		holders = append(holders, p.Holders...)
	}
	return holders
}

// Content says in words what is on the disk now.
func (d Disk) Content() string {
	if d.Blank() {
		return "blank"
	}
	var words []string
	table := ""
	for _, s := range d.Signatures {
		switch s.Type {
		case "gpt":
			table = "GPT"
		case "mbr":
			if table == "" {
				table = "MBR"
			}
		default:
			words = append(words, s.String())
		}
	}
	var parts []string
	for _, p := range d.Partitions {
		parts = append(parts, p.content())
	}
	switch {
	case table != "" && len(parts) == 0:
		words = append([]string{table + " without partitions"}, words...)
	case table != "":
		words = append([]string{table + ": " + strings.Join(parts, ", ")}, words...)
	case len(parts) > 0:
		words = append([]string{"partitions: " + strings.Join(parts, ", ")}, words...)
	}
	if len(words) == 0 {
		return "nothing recognised, yet in use"
	}
	return strings.Join(words, "; ")
}

func (p Partition) content() string {
	if len(p.Signatures) == 0 {
		if p.Label != "" {
			return fmt.Sprintf("%q (empty)", p.Label)
		}
		return fmt.Sprintf("partition %d (empty)", p.Number)
	}
	var words []string
	for _, s := range p.Signatures {
		words = append(words, s.String())
	}
	return strings.Join(words, "+")
}

// signatureNames are the words for signature types that a person would not
// guess from the type alone.
var signatureNames = map[string]string{
	"luks1": "LUKS1", "luks2": "LUKS2", "zfs": "ZFS", "zfs_member": "ZFS", "md": "md RAID member",
	"linux_raid_member": "md RAID member", "lvm2": "LVM2", "lvm2-pv": "LVM2", "ntfs": "NTFS", "vfat": "VFAT",
	"exfat": "exFAT", "iso9660": "ISO 9660", "bitlocker": "BitLocker", "unknown-data": "unrecognised data",
}

// String names the signature as people do: LUKS2 "cryptroot", btrfs "bulk".
func (s Signature) String() string {
	name := s.Type
	if known, ok := signatureNames[s.Type]; ok {
		name = known
	}
	if s.Label != "" {
		name += fmt.Sprintf(" %q", s.Label)
	}
	return name
}

// String says what uses the disk: "mounted at /", "swap", "held by md0".
func (h Holder) String() string {
	switch h.Kind {
	case "mount":
		return "mounted at " + h.Name
	case "swap":
		return "used as swap"
	case "dm":
		return "opened as /dev/mapper/" + h.Name
	case "process":
		return "open in " + h.Name
	}
	return fmt.Sprintf("held by %s %s", h.Kind, h.Name)
}

// find returns the first signature of one of the types.
func find(signatures []Signature, types ...string) (Signature, bool) {
	for _, s := range signatures {
		if slices.Contains(types, s.Type) {
			return s, true
		}
	}
	return Signature{}, false
}
