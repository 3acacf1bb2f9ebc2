package crypt

import (
	"encoding/json"

	"hvinstall/configs"
)

// Argon2Memory is what one argon2id computation needs at full cost: cryptsetup
// uses at most 1 GiB, and at most half of the machine's memory.
const Argon2Memory = 1 << 30

// memoryLeft is kept free for the rest of the live system, in bytes.
const memoryLeft = 512 << 20

// Container is a disk's partition that is to hold a volume, as install knows
// it from the disks' plan.
type Container struct {
	Mapping        string
	Device         string
	DiskID         string
	Pool           string
	UUID           string
	PhysicalSector uint32 // bytes
	SSD            bool
	Exists         bool
	Adopted        bool
	Mark           json.RawMessage // see VolumePlan
}

// Stick is a USB key as install knows it: by the VFAT's serial, and by its
// disk where hvinstall formats it.
type Stick struct {
	DiskID string
	FSUUID string
	Format bool
	Former string // see KeyPlan
}

// MakePlan decides the volumes and keys. memory is what the machine has
// available, in bytes. It is pure.
func MakePlan(l *configs.Layout, containers []Container, sticks []Stick, memory uint64) Plan {
	var plan Plan
	for _, c := range containers {
		sector := uint32(512)
		if c.PhysicalSector >= 4096 {
			sector = 4096
		}
		plan.Volumes = append(plan.Volumes, VolumePlan{
			Mapping: c.Mapping, Device: c.Device, DiskID: c.DiskID, Pool: c.Pool, UUID: c.UUID,
			SectorSize: sector, AllowDiscards: c.SSD, Create: !c.Exists, Adopted: c.Adopted, Mark: c.Mark,
		})
	}
	for _, s := range sticks {
		plan.Keys = append(plan.Keys, KeyPlan{DiskID: s.DiskID, FSUUID: s.FSUUID, Filename: l.Encryption.KeyFilename, Format: s.Format, Former: s.Former})
	}
	plan.SideBySide = sideBySide(memory, len(plan.Volumes))
	return plan
}

// sideBySide is how many volumes may compute argon2id at once.
func sideBySide(memory uint64, volumes int) int {
	fit := 1
	if memory > memoryLeft+Argon2Memory {
		fit = int((memory - memoryLeft) / Argon2Memory)
	}
	return max(1, min(fit, volumes))
}
