package install

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/disk"
	"hvinstall/net/nfs"
	"hvinstall/osimage/nixos"
	"hvinstall/step"
)

// nixosESP is where a NixOS host mounts its ESP: boot.loader.efi's default,
// and where disko's layouts have it. NixOS writes kernels there by itself.
const nixosESP = "/boot"

// espMount is where the host mounts its ESP.
func (p Plan) espMount() string {
	if p.isNixOS() {
		return nixosESP
	}
	return espMount
}

// nixosSystem says before anything is done what the modules cannot be made
// from, and what a person should know of them.
func (p *Plan) nixosSystem() {
	if len(p.Refusals) > 0 {
		return // without the disks there are no modules
	}
	in := p.NixOS()
	if _, err := nixos.Generate(in); err != nil {
		p.refuse("nixos", "os.nixos", err.Error(), "")
		return
	}
	p.Warnings = append(p.Warnings, nixos.Warnings(in)...)
}

// NixOS gives the modules' generator what it needs of the plan, as values.
func (p Plan) NixOS() nixos.Input {
	l := p.Layout
	in := nixos.Input{
		Layout: l, ESP: nixos.ESP{Mountpoint: nixosESP}, NIC: p.nixosNIC(), Exports: p.nixosExports(),
		Facts: nixos.Facts{CPUVendor: nixos.Vendor(p.Facts.CPUVendor), Modules: p.nixosModules()},
	}
	in.Release = l.OS.NixOS.StateVersion
	if running, found := strings.CutPrefix(p.Facts.OS, "nixos "); in.Release == "" && found {
		in.Release = running
	}
	if in.Release == "" {
		in.Release = nixos.DefaultRelease
	}
	for _, v := range p.Crypt.Volumes {
		volume := nixos.Volume{Mapping: v.Mapping, UUID: v.UUID, DiskID: v.DiskID, Pool: v.Pool, Discards: v.AllowDiscards}
		volume.PartUUID, _ = strings.CutPrefix(v.Device, "/dev/disk/by-partuuid/")
		if volume.PartUUID == v.Device {
			volume.PartUUID = ""
		}
		volume.Partition = p.partitionNumber(v.DiskID, volume.PartUUID)
		in.Volumes = append(in.Volumes, volume)
	}
	for _, k := range p.Crypt.Keys {
		in.Sticks = append(in.Sticks, nixos.Stick{UUID: k.FSUUID, DiskID: k.DiskID})
	}
	for _, d := range p.Disk.Disks {
		if d.Role != disk.RoleKey {
			in.Disks = append(in.Disks, nixosDisk(&in, d))
		}
	}
	for _, fs := range p.Disk.Filesystems {
		made := nixosFilesystem(l, fs)
		if fs.Role == disk.RolePool {
			in.Pools = append(in.Pools, made)
			continue
		}
		if fs.Swap != nil {
			in.Swap = &nixos.Swap{Path: fs.Swap.Path, Size: fs.Swap.Size}
		}
		in.System = made
	}
	return in
}

// nixosDisk describes a disk, and tells its volume and the ESP what is known
// of their partitions.
func nixosDisk(in *nixos.Input, d disk.DiskPlan) nixos.Disk {
	described := nixos.Disk{Name: d.Name, ID: d.ID}
	for i, part := range d.Table.Partitions {
		p := nixos.Partition{Label: part.Label, Type: part.Type, Size: part.Size, Last: i == len(d.Table.Partitions)-1}
		switch {
		case part.Format == "vfat":
			in.ESP.UUID = part.FSUUID
		case part.Format == "luks":
			p.Mapping = d.Mapping
			for v := range in.Volumes {
				if in.Volumes[v].Mapping == d.Mapping {
					in.Volumes[v].PartLabel = part.Label
				}
			}
		default:
			continue // an adopted disk may hold what is none of ours
		}
		described.Partitions = append(described.Partitions, p)
	}
	return described
}

func nixosFilesystem(l *configs.Layout, fs disk.FilesystemPlan) nixos.Filesystem {
	made := nixos.Filesystem{Label: fs.Label, UUID: fs.UUID, Devices: fs.Devices, RAID1: fs.RAID1, SSD: fs.Discard}
	for _, s := range fs.Subvols {
		made.Subvolumes = append(made.Subvolumes, nixos.Subvolume{Name: s.Name, Mountpoint: s.Mountpoint, Options: s.Options})
	}
	if fs.Swap != nil {
		made.Subvolumes = append(made.Subvolumes, nixos.Subvolume{Name: fs.Swap.Subvolume, Mountpoint: "/" + fs.Swap.Subvolume, Options: []string{"noatime"}})
	}
	for _, pool := range l.Pools {
		if fs.Role == disk.RolePool && pool.Name == fs.Label {
			made.Degraded = pool.Degraded
		}
	}
	return made
}

// nixosNIC is the card that the layout names, else the one with the default
// route.
func (p Plan) nixosNIC() nixos.NIC {
	if p.Layout.Network == nil {
		return nixos.NIC{}
	}
	want := p.Layout.Network.NIC
	found := nixos.NIC{Name: want.Name, MAC: want.MAC, ByMAC: want.MAC != ""}
	for _, n := range p.Facts.Network.NICs {
		mac := n.PermanentMAC
		if mac == "" {
			mac = n.MAC
		}
		switch {
		case want.MAC != "" && strings.EqualFold(mac, want.MAC), want.Name != "" && n.Name == want.Name,
			want == (configs.NIC{}) && n.Kind == "physical" && len(n.Gateways) > 0:
			found.Name, found.MAC = n.Name, mac
			return found
		}
	}
	return found
}

// nixosModules are the drivers that the machine's disks need in stage 1: those
// seen bound, else those that follow from how the disks are attached.
func (p Plan) nixosModules() []string {
	if len(p.Facts.Modules) > 0 {
		return p.Facts.Modules
	}
	by := map[string][]string{
		"nvme": {"nvme"}, "sata": {"ahci", "sd_mod"}, "sas": {"mpt3sas", "megaraid_sas", "sd_mod"},
		"usb": {"xhci_pci", "usb_storage", "uas", "sd_mod"}, "virtio": {"virtio_pci", "virtio_blk", "virtio_scsi"}, "mmc": {"sdhci_pci", "mmc_block"},
	}
	var modules []string
	for _, d := range p.Facts.Disks.Disks {
		modules = append(modules, by[d.Transport]...)
	}
	if len(modules) == 0 {
		return nil
	}
	modules = append(modules, "xhci_pci", "ehci_pci")
	slices.Sort(modules)
	return slices.Compact(modules)
}

// nixosExports are the exports as a host of ours would serve them: the same
// options and numbers, so that clients see no difference.
func (p Plan) nixosExports() []nixos.Export {
	plan, _ := nfs.MakePlan(p.Layout.NFSExports, p.exportPools())
	var exports []nixos.Export
	for _, e := range plan.Exports {
		exports = append(exports, nixos.Export{
			Path: e.Path, Mountpoint: e.Pool.Mountpoint, Clients: e.Clients,
			Options: append(slices.Clone(e.Options), e.Squash, "fsid="+e.FSID),
			Owner:   e.Owner, Group: e.Group, Mode: fmt.Sprintf("%04o", uint32(e.Mode)),
		})
	}
	return exports
}

// nixosJob is the install of a NixOS host.
func (p Plan) nixosJob(env Env, after []string) (nixos.Job, error) {
	in := p.NixOS()
	source, err := nixos.MakeSource(in, p.Root, filepath.Dir(p.Layout.Path))
	if err != nil {
		return nixos.Job{}, err
	}
	return nixos.Job{
		Input: in, Source: source, Root: p.Root, Layout: p.Layout.Source, Binary: env.Binary,
		Memory: p.Facts.Memory.Available, After: after,
	}, nil
}

// nixosSteps installs a NixOS host; on one that runs, they keep its layout,
// hvinstall itself and the password hashes in place.
func (p Plan) nixosSteps(env Env, after []string) ([]step.Step, error) {
	job, err := p.nixosJob(env, after)
	if err != nil {
		return nil, err
	}
	return job.Steps()
}

// NixOSPreflight finds what would stop the install of a NixOS host, before
// anything is written. It runs nix, and asks the network for the flake.
func (p Plan) NixOSPreflight(ctx context.Context, env Env) []step.Refusal {
	if !p.isNixOS() || !p.Has(PartOS) {
		return nil
	}
	job, err := p.nixosJob(env, nil)
	if err != nil {
		return []step.Refusal{{Code: "nixos", Where: "os.nixos", What: err.Error()}}
	}
	var size uint64
	for _, fs := range p.Disk.Filesystems {
		if fs.Role == disk.RoleOS {
			size = fs.Usable
		}
	}
	return job.Preflight(ctx, size)
}

// partitionNumber finds a partition of one of the plan's disks, made or to be
// made; 0 where there is none.
func (p Plan) partitionNumber(id, guid string) int {
	for _, d := range p.Disk.Disks {
		if d.ID != id || guid == "" {
			continue
		}
		for _, part := range d.Table.Partitions {
			if strings.EqualFold(part.GUID, guid) {
				return part.Number
			}
		}
		for _, part := range d.Disk.Partitions {
			if strings.EqualFold(part.GUID, guid) {
				return part.Number
			}
		}
	}
	return 0
}
