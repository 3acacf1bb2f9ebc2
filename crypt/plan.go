// Package crypt is LUKS2: containers, keyslots, header backups, the USB key,
// and unlocking.
//
// Headers are written by cryptsetup alone; unlocking is pure Go, so that the
// initramfs needs no cryptsetup. Keys and passphrases live in Secret values,
// which print as nothing, go to programs by file descriptor and are wiped.
package crypt

import "encoding/json"

// Plan is everything that becomes of the host's LUKS volumes and keys.
type Plan struct {
	Volumes []VolumePlan `json:"volumes"`
	Keys    []KeyPlan    `json:"keys"`
	// SideBySide is how many argon2id computations memory allows at once.
	SideBySide int `json:"side_by_side"`
}

// VolumePlan is one LUKS2 volume.
type VolumePlan struct {
	Mapping       string `json:"mapping"` // cryptroot or crypt-<pool>-<n>; also the LUKS label
	Device        string `json:"device"`  // /dev/disk/by-partuuid/…
	DiskID        string `json:"disk_id"` // by-id name, for people
	Pool          string `json:"pool,omitempty"`
	UUID          string `json:"uuid"`
	SectorSize    uint32 `json:"sector_size"`    // bytes: 4096 where the disk's physical sector is, else 512
	AllowDiscards bool   `json:"allow_discards"` // kept in the header, so that every opener applies it
	Create        bool   `json:"create"`         // false: it exists (kept or adopted)
	Adopted       bool   `json:"adopted,omitempty"`
	// KeyDigest is what Header.KeyDigest has to be; empty: anything.
	KeyDigest string `json:"-"`
	// Mark is the token of type TokenHost that the header is to have; nil: none
	// is written.
	Mark json.RawMessage `json:"mark,omitempty"`
}

// Device-mapper path of the opened volume.
func (v VolumePlan) Path() string { return "/dev/mapper/" + v.Mapping }

// Subsystem marks, in the LUKS2 header, the volumes that hvinstall formatted.
const Subsystem = "hvinstall"

// KeyPlan is one stick and its key.
type KeyPlan struct {
	DiskID   string `json:"disk_id,omitempty"` // a stick that hvinstall formats
	FSUUID   string `json:"fs_uuid"`           // VFAT volume serial of the stick, as 8B34-7D3C
	Filename string `json:"filename"`          // in the stick's root
	Former   string `json:"former,omitempty"`  // the file's name before the host was renamed: its key stays the key
	Format   bool   `json:"format"`            // the stick is formatted first
}
