// Package nixos is the NixOS side of the operating system: the modules of a
// host (configuration.nix, hardware-configuration.nix, luks.nix, network.nix,
// nfs.nix, firewall.nix, libvirtd.nix, hvinstall.nix, disko.nix, users/<name>.nix and a
// flake.nix for who has none), and the install by nixos-install.
//
// Generate is pure: values in, file contents out. Writing them down touches
// only the folder that it is given, and never replaces a file that differs
// without having been told to. The install writes below the target root and
// into the flake checkout that the layout names, and runs nix, git and
// nixos-install. It never partitions, formats or mounts anything, never sets a
// root password, and never writes a secret into a Nix file: whatever a Nix
// file says ends in the world-readable store.
//
// Option names and types are those of nixpkgs (nixos/modules) and of disko
// (lib/types); testdata/stub declares every option that is used, each with
// the file it was looked up in.
package nixos

import (
	"hvinstall/configs"
)

// Input is everything the generated modules are made from.
type Input struct {
	Layout  *configs.Layout `json:"layout"`
	Volumes []Volume        `json:"volumes"` // cryptroot first, then the pools' in the layout's order
	Sticks  []Stick         `json:"sticks"`
	System  Filesystem      `json:"system"` // the btrfs of the system disk
	Pools   []Filesystem    `json:"pools"`
	ESP     ESP             `json:"esp"`
	Swap    *Swap           `json:"swap,omitempty"`
	Disks   []Disk          `json:"disks"`
	NIC     NIC             `json:"nic"`
	Exports []Export        `json:"exports,omitempty"`
	Facts   Facts           `json:"facts"`
	// Release is the NixOS release that a generated flake follows, as 26.05,
	// and system.stateVersion where the layout gives none.
	Release string `json:"release"`
}

// Volume is one LUKS2 volume.
type Volume struct {
	Mapping   string `json:"mapping"`             // cryptroot, crypt-<pool>-<n>
	UUID      string `json:"uuid"`                // in the LUKS header
	DiskID    string `json:"disk_id"`             // /dev/disk/by-id/…
	Partition int    `json:"partition,omitempty"` // its number; 0: the whole disk, or not known
	PartUUID  string `json:"part_uuid,omitempty"`
	PartLabel string `json:"part_label,omitempty"`
	Pool      string `json:"pool,omitempty"` // empty: the system's
	Discards  bool   `json:"discards"`
}

// Stick is a USB stick with a key file.
type Stick struct {
	UUID   string `json:"uuid"` // VFAT volume serial: 8B34-7D3C
	DiskID string `json:"disk_id,omitempty"`
}

// Filesystem is one btrfs.
type Filesystem struct {
	Label   string   `json:"label"`
	UUID    string   `json:"uuid"`
	Devices []string `json:"devices"` // /dev/mapper/…, in the layout's order
	RAID1   bool     `json:"raid1"`
	SSD     bool     `json:"ssd"`
	// Degraded is what boot does when a device is missing: mount, wait or
	// skip. Empty for the system's.
	Degraded   string      `json:"degraded,omitempty"`
	Subvolumes []Subvolume `json:"subvolumes"`
}

// Subvolume is a mounted subvolume.
type Subvolume struct {
	Name       string   `json:"name"`
	Mountpoint string   `json:"mountpoint"`
	Options    []string `json:"options,omitempty"` // without subvol=
}

// ESP is the EFI system partition.
type ESP struct {
	UUID       string `json:"uuid"`       // VFAT volume serial
	Mountpoint string `json:"mountpoint"` // /boot
}

// Swap is a swapfile on the system's btrfs.
type Swap struct {
	Path string `json:"path"`
	Size uint64 `json:"size"` // bytes
}

// Disk is a disk with its partitions, as disko.nix describes it.
type Disk struct {
	Name       string      `json:"name"` // os, <pool>-<n>; disko's name of the disk
	ID         string      `json:"id"`   // /dev/disk/by-id/…
	Partitions []Partition `json:"partitions"`
}

// Partition is one GPT entry.
type Partition struct {
	Label   string `json:"label"`             // GPT name
	Type    string `json:"type"`              // type GUID
	Size    uint64 `json:"size"`              // bytes
	Last    bool   `json:"last,omitempty"`    // takes the rest of the disk
	Mapping string `json:"mapping,omitempty"` // of the LUKS volume in it; empty: the ESP
}

// NIC is the card that is put on the bridge.
type NIC struct {
	Name string `json:"name,omitempty"`
	MAC  string `json:"mac,omitempty"` // the card's own
	// ByMAC: the layout names the card by its MAC, so its name may change.
	ByMAC bool `json:"by_mac,omitempty"`
}

// Export is one directory served by NFS.
type Export struct {
	Path       string   `json:"path"`
	Mountpoint string   `json:"mountpoint,omitempty"` // of the pool that it is on
	Clients    []string `json:"clients"`
	Options    []string `json:"options"` // squash and fsid included
	Owner      string   `json:"owner"`
	Group      string   `json:"group"`
	Mode       string   `json:"mode"` // octal
}

// File is one generated file.
type File struct {
	Path    string `json:"path"` // relative to the host's folder
	Content string `json:"content"`
}

// Flake is the form of a generated flake.nix.
type Flake string

// The forms of flake.nix.
const (
	NoFlake        Flake = ""
	PlainFlake     Flake = "plain"     // nixpkgs.lib.nixosSystem
	BlueprintFlake Flake = "blueprint" // numtide/blueprint finds the host by its folder
)
