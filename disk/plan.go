package disk

import "hvinstall/step"

// Role is what a disk is for.
type Role string

// The roles of a disk in a layout.
const (
	RoleOS   Role = "os"
	RolePool Role = "pool"
	RoleKey  Role = "key" // a USB stick that is formatted to hold a key
)

// Fate is what becomes of a disk's content.
type Fate string

// What can become of a disk. Keep and Resume write nothing that is there.
const (
	Create Fate = "create" // blank: partitioned and formatted
	Erase  Fate = "erase"  // holds data, consented to by --erase: wiped, then as Create
	Keep   Fate = "keep"   // right as it is
	Resume Fate = "resume" // hvinstall's own work, begun and not finished
	Adopt  Fate = "adopt"  // right as it is, though hvinstall did not make it; the layout says adopt
	Refuse Fate = "refuse" // a refusal says why
	Away   Fate = "away"   // a disk of the running host that is not there; its pool is left as it is, and the rest goes on
)

// DiskPlan is one disk of the layout and what becomes of it.
type DiskPlan struct {
	ID   string `json:"id"`            // /dev/disk/by-id/…: the layout's, or the one that the disk has now
	Was  string `json:"was,omitempty"` // the layout's, where no disk has that name and the place's volume is on this one
	Role Role   `json:"role"`
	Pool string `json:"pool,omitempty"`
	// Media is what the layout insists that the disk is, against the kernel's word.
	Media string    `json:"media,omitempty"`
	Name  string    `json:"name"` // os, <pool>-<n>, key-<n>: part of partition names
	Disk  Disk      `json:"disk"`
	Fate  Fate      `json:"fate"`
	Holds string    `json:"holds,omitempty"` // what is on it now, in words
	Table TablePlan `json:"table"`

	// The LUKS volume on it; empty for a key stick.
	Mapping      string `json:"mapping,omitempty"`       // cryptroot or crypt-<pool>-<n>
	VolumeUUID   string `json:"volume_uuid,omitempty"`   // LUKS UUID, derived or adopted
	VolumeDevice string `json:"volume_device,omitempty"` // /dev/disk/by-partuuid/…, or the by-id path of a volume without a table
	VolumeExists bool   `json:"volume_exists,omitempty"`
	VolumeSize   uint64 `json:"volume_size,omitempty"` // bytes of the mapping: the partition less the LUKS2 header
	Mark         *Mark  `json:"mark,omitempty"`        // whose the volume is, as its header is to say; nil where it is left as it is
}

// TablePlan is a GPT, see UEFI 2.10 chapter 5.3.
type TablePlan struct {
	GUID       string          `json:"guid"`
	Host       string          `json:"host,omitempty"` // the seed, which the disk carries while it is being made
	Partitions []PartitionPlan `json:"partitions"`
}

// PartitionPlan is one GPT entry.
type PartitionPlan struct {
	Number int    `json:"number"`
	Label  string `json:"label"` // GPT name; disk-<disk>-<part>, the form that disko uses
	Type   string `json:"type"`  // type GUID
	GUID   string `json:"guid"`
	Start  uint64 `json:"start"` // bytes, a multiple of 1 MiB
	Size   uint64 `json:"size"`  // bytes, a multiple of 1 MiB
	// Format is what the partition holds: vfat (ESP or key stick) or luks.
	Format string `json:"format"`
	// FSLabel and FSUUID are a VFAT's label and volume serial (8B34-7D3C).
	FSLabel string `json:"fs_label,omitempty"`
	FSUUID  string `json:"fs_uuid,omitempty"`
}

// Device is where udev shows the partition.
func (p PartitionPlan) Device() string { return "/dev/disk/by-partuuid/" + p.GUID }

// GPT type GUIDs used, from the UEFI and Discoverable Partitions specifications.
const (
	TypeESP       = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	TypeLinuxLUKS = "ca7d7ccb-63ed-4c53-861c-1742536059cc"
	TypeBasicData = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
)

// FilesystemPlan is one btrfs: the OS's, or a pool.
type FilesystemPlan struct {
	Label   string          `json:"label"` // "hvroot" for the OS, the pool's name for a pool
	UUID    string          `json:"uuid"`  // derived from the seed, or the adopted file system's
	Role    Role            `json:"role"`
	Devices []string        `json:"devices"` // /dev/mapper/…, in the layout's order
	RAID1   bool            `json:"raid1"`   // data and metadata
	Fate    Fate            `json:"fate"`
	Joins   []string        `json:"joins,omitempty"`   // mappings of new disks that are taken into a file system that is there
	Raw     uint64          `json:"raw"`               // bytes, sum of the devices
	Usable  uint64          `json:"usable"`            // bytes that RAID1 can store
	Before  uint64          `json:"before,omitempty"`  // the same without the disks that join, where that is known
	Missing int             `json:"missing,omitempty"` // of the mounted file system's devices
	Subvols []SubvolumePlan `json:"subvolumes"`
	Swap    *SwapPlan       `json:"swap,omitempty"`
	Discard bool            `json:"discard"`
}

// SubvolumePlan is a subvolume and its mount.
type SubvolumePlan struct {
	Name       string   `json:"name"`
	Mountpoint string   `json:"mountpoint"` // on the installed host
	Options    []string `json:"options"`    // without subvol=
}

// SwapPlan is a swapfile in a subvolume of its own, without copy-on-write.
type SwapPlan struct {
	Subvolume string `json:"subvolume"` // "swap", mounted at /swap
	Path      string `json:"path"`      // /swap/swapfile
	Size      uint64 `json:"size"`      // bytes
	// Now is what the running host swaps to, in bytes; 0: nothing, or not known.
	Now uint64 `json:"now,omitempty"`
}

// Former is the host whose pools a new system takes over.
type Former struct {
	Host  string   `json:"host"`  // its seed
	Pools []string `json:"pools"` // with how many disks
}

// Plan is everything that becomes of the disks.
type Plan struct {
	Seed        string           `json:"seed"` // of the host: what its disks' identities are derived from
	Disks       []DiskPlan       `json:"disks"`
	Filesystems []FilesystemPlan `json:"filesystems"` // the OS first, then the pools in the layout's order
	// Left is what is this host's, in words: what is no longer in the layout, and
	// pools that do without a disk that is there.
	Left []string `json:"left,omitempty"`
	// Former is set where a host is installed anew beside pools that are there.
	Former *Former `json:"former,omitempty"`
	// Waits is what the run leaves as it is because a disk is not there.
	Waits []step.Refusal `json:"waits,omitempty"`
}
