package nixos

import (
	"fmt"
	"testing"
	"time"

	"hvinstall/configs"
)

const (
	gib = 1 << 30
	tb  = 1_000_000_000_000
)

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// uuid is a readable UUID for tests.
func uuid(kind, n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", kind, n) }

// hypervisor is the host of the specification, as NixOS.
func hypervisor() Input {
	poolDisks := map[string][]string{
		"vmstore": {"nvme-Samsung_SSD_970_EVO_1TB_S467NX0M801234B", "nvme-WDC_WDS100T2B0C-00PXH0_20473A800123", "nvme-KINGSTON_SA2000M8500G_50026B7683A1B2C3"},
		"bulk":    {"ata-ST4000VN008-2DR166_ZGY0A1B2", "ata-ST2000VN004-2E4164_Z523C4D5", "ata-WDC_WD20EFRX-68EUZN0_WD-WCC4M6E7F8G9"},
	}
	in := Input{
		Layout: &configs.Layout{
			Hostname: "hypervisor",
			OS: &configs.OS{NixOS: &configs.NixOS{
				Flake:        "/root/infra#hypervisor",
				Imports:      []string{"flake.modules.nixos.tailscale", "./gpu.nix"},
				Options:      map[string]any{"services.tailscale.enable": true, "services.tailscale.port": uint64(41641), "boot.kernel.sysctl": map[string]any{"vm.swappiness": uint64(10)}},
				Bootloader:   "systemd-boot",
				StateVersion: "25.11",
			}},
			Encryption: configs.Encryption{KeyFilename: "hypervisor", KeyWait: configs.Duration(10 * time.Second), FallbackToPassword: yes()},
			Network:    &configs.Network{Bridge: "br0", NIC: configs.NIC{Name: "enp5s0"}, DHCP: yes()},
			Locale:     configs.Locale{Lang: "en_GB.UTF-8", Timezone: "Europe/Brussels", Keymap: "be-latin1"},
			Users: []configs.User{{Name: "snyssen", Groups: []string{"wheel"}, PasswordHash: "$y$j9T$abc$def",
				SSHAuthorizedKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 snyssen@laptop"}}},
			Libvirtd: configs.Libvirtd{Users: []string{"snyssen"}},
			VMPlan:   configs.VMPlan{VMStoreRoot: "/mnt/vmstore", DefaultBridge: "br0", URI: "qemu:///system", VMs: []configs.VM{{Name: "haos"}}},
		},
		Sticks: []Stick{{UUID: "8B34-7D3C", DiskID: "/dev/disk/by-id/usb-SanDisk_Ultra_4C530001230101117392-0:0"}},
		System: Filesystem{Label: "hvroot", UUID: uuid(0xb0, 0), Devices: []string{"/dev/mapper/cryptroot"}, SSD: true, Subvolumes: []Subvolume{
			{"root", "/", []string{"compress=zstd", "noatime"}}, {"home", "/home", []string{"compress=zstd", "noatime"}},
			{"nix", "/nix", []string{"compress=zstd", "noatime"}}, {"swap", "/swap", []string{"noatime"}},
		}},
		ESP:  ESP{UUID: "1A2B-3C4D", Mountpoint: "/boot"},
		Swap: &Swap{Path: "/swap/swapfile", Size: 8 * gib},
		NIC:  NIC{Name: "enp5s0", MAC: "3C:7C:3F:12:34:56"},
		Exports: []Export{
			{Path: "/mnt/bulk/apps-vm", Mountpoint: "/mnt/bulk", Clients: []string{"192.168.1.0/24"}, Options: []string{"rw", "sync", "no_subtree_check", "root_squash", "fsid=1"}, Owner: "root", Group: "root", Mode: "0755"},
			{Path: "/mnt/bulk/homeassistant-vm", Mountpoint: "/mnt/bulk", Clients: []string{"192.168.1.0/24", "100.64.0.0/10", "fd00::/8"}, Options: []string{"rw", "sync", "no_subtree_check", "root_squash", "fsid=2"}, Owner: "root", Group: "root", Mode: "0755"},
		},
		Facts:   Facts{CPUVendor: "amd", Modules: []string{"ahci", "nvme", "sd_mod", "xhci_pci"}},
		Release: "25.11",
	}
	volume := func(disk, mapping, pool string, n int, discards bool) {
		label, number := "disk-"+disk+"-luks", 2
		id := "/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A"
		if pool != "" {
			id, number = "/dev/disk/by-id/"+poolDisks[pool][n], 1
		}
		in.Volumes = append(in.Volumes, Volume{Mapping: mapping, UUID: uuid(0xc0, len(in.Volumes)), DiskID: id, PartLabel: label, PartUUID: uuid(0xd0, len(in.Volumes)), Pool: pool, Partition: number, Discards: discards})
		d := Disk{Name: disk, ID: id}
		if pool == "" {
			d.Partitions = append(d.Partitions, Partition{Label: "disk-os-ESP", Type: espType, Size: gib})
		}
		d.Partitions = append(d.Partitions, Partition{Label: label, Type: "ca7d7ccb-63ed-4c53-861c-1742536059cc", Size: tb, Last: true, Mapping: mapping})
		in.Disks = append(in.Disks, d)
	}
	volume("os", "cryptroot", "", 0, true)
	for i, pool := range []string{"vmstore", "bulk"} {
		fs := Filesystem{Label: pool, UUID: uuid(0xb1+i, 0), RAID1: true, SSD: pool == "vmstore", Degraded: "skip",
			Subvolumes: []Subvolume{{pool, "/mnt/" + pool, []string{"compress=zstd", "noatime"}}}}
		for n := range poolDisks[pool] {
			mapping := fmt.Sprintf("crypt-%s-%d", pool, n)
			fs.Devices = append(fs.Devices, "/dev/mapper/"+mapping)
			volume(fmt.Sprintf("%s-%d", pool, n), mapping, pool, n, pool == "vmstore")
		}
		in.Pools = append(in.Pools, fs)
	}
	return in
}

// variants are the hosts whose files are kept as goldens.
func variants() map[string]Input {
	grub := hypervisor()
	grub.Layout.OS.NixOS.Bootloader = "grub"
	grub.Layout.OS.NixOS.SystemdInitrd = no()
	grub.Layout.OS.NixOS.Imports, grub.Layout.OS.NixOS.Options = nil, nil
	grub.Layout.Network = &configs.Network{Bridge: "lan", NIC: configs.NIC{MAC: "3c:7c:3f:12:34:56"}, DHCP: no(), MTU: 9000,
		Addresses: []string{"192.168.1.10/24", "fd00::10/64"}, Gateway: []string{"192.168.1.1", "fd00::1"}, DNS: []string{"192.168.1.1"}, Domains: []string{"lan"}, OpenPorts: []string{"tcp/8080", "udp/51820", "tcp/9000-9010"}}
	grub.Layout.DefaultBridge = "lan"
	grub.NIC = NIC{MAC: "3c:7c:3f:12:34:56", ByMAC: true}
	grub.Facts = Facts{CPUVendor: "intel"}

	systemd := hypervisor()
	systemd.Layout.OS.NixOS.SystemdInitrd = yes()
	systemd.Layout.Encryption.FallbackToPassword = no()
	systemd.Layout.Encryption.KeyWait = configs.Duration(30 * time.Second)
	systemd.Sticks = append(systemd.Sticks, Stick{UUID: "0011-aaff"}, Stick{UUID: "1234-5678"})
	systemd.Pools[0].Degraded = "wait"
	systemd.Pools[1].Degraded = "mount"
	systemd.Layout.VMs = []configs.VM{{Name: "win", Bridge: "br1", Firmware: configs.Firmware{SecureBoot: true, TPM: true}}}

	plain := hypervisor()
	plain.Layout.OS.KernelArgs = []string{"console=ttyS0,115200"}
	plain.Layout.Users = append(plain.Layout.Users, configs.User{Name: "ansible", Groups: []string{"wheel"}, SSHAuthorizedKeys: []string{"ssh-ed25519 AAAA ansible@blackfog"}})

	bare := hypervisor()
	bare.Sticks, bare.Exports, bare.Pools, bare.Swap = nil, nil, nil, nil
	bare.Layout.Users, bare.Layout.Network, bare.Layout.Libvirtd = nil, nil, configs.Libvirtd{}
	bare.Layout.OS.NixOS = &configs.NixOS{File: "/root/nixos/configuration.nix"}
	bare.Volumes, bare.Disks = bare.Volumes[:1], bare.Disks[:1]
	bare.System.Subvolumes = bare.System.Subvolumes[:3]
	bare.Facts = Facts{}
	return map[string]Input{"hypervisor": hypervisor(), "grub-static": grub, "systemd-sticks": systemd, "plain-two-users": plain, "bare": bare}
}

// everything is the host's files with a flake.nix of the form before them, as
// paths in a flake.
func everything(t testing.TB, in Input, form Flake) []File {
	t.Helper()
	files, err := Generate(in)
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	if form == NoFlake {
		return files
	}
	flake, err := GenerateFlake(in, form, HostDir(in))
	if err != nil {
		t.Fatalf("GenerateFlake: %v", err)
	}
	for i := range files {
		files[i].Path = HostDir(in) + "/" + files[i].Path
	}
	return append([]File{flake}, files...)
}

func forms() map[string]Flake {
	return map[string]Flake{"hypervisor": BlueprintFlake, "plain-two-users": PlainFlake}
}
