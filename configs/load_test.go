package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// examples are the layouts of configs/examples, all of them valid.
func examples(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples: %v, %v; want at least 3", files, err)
	}
	return files
}

func TestExamplesAreValid(t *testing.T) {
	for _, file := range examples(t) {
		if _, err := LoadFile(file, ""); err != nil {
			t.Errorf("LoadFile(%s):\n%v", file, err)
		}
	}
}

func mustLoad(t testing.TB, text string) *Layout {
	t.Helper()
	l, err := Load("layout.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Load(%s):\n%v", text, err)
	}
	return l
}

// TestHypervisor holds the whole of the specification's host, as decoded with
// its defaults, against what it must be.
func TestHypervisor(t *testing.T) {
	got, err := LoadFile("examples/hypervisor.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	got.Source = nil
	on, off := true, false
	options := []string{"compress=zstd", "noatime"}
	nfs := []string{"rw", "sync", "no_subtree_check"}
	lan := []string{"192.168.1.0/24"}
	export := func(path string, clients ...string) NFSExport {
		return NFSExport{Path: path, Clients: clients, Options: nfs, Squash: "root_squash", Owner: "root", Group: "root", Mode: "0755"}
	}
	want := &Layout{
		Hostname: "hypervisor",

		OS: &OS{
			Disk:         DiskRef{ID: "/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A"},
			ESPSize:      1 << 30,
			Subvolumes:   []Subvolume{{"root", "/"}, {"home", "/home"}},
			SwapSize:     8 << 30,
			MountOptions: options,
			StorageMedia: "ssd",
			Image:        &Image{URL: "file:///run/hvinstall/live/hvinstall/root.squashfs"},
		},
		Pools: []Pool{
			{
				Name: "vmstore", StorageMedia: "ssd", Mountpoint: "/mnt/vmstore", MountOptions: options, Degraded: "skip",
				Disks: []DiskRef{
					{ID: "/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_1TB_S467NX0M801234B", Size: 1e12},
					{ID: "/dev/disk/by-id/nvme-WDC_WDS100T2B0C-00PXH0_20473A800123", Size: 1e12},
					{ID: "/dev/disk/by-id/nvme-KINGSTON_SA2000M8500G_50026B7683A1B2C3", Size: 500e9},
				},
			},
			{
				Name: "bulk", StorageMedia: "hdd", Mountpoint: "/mnt/bulk", MountOptions: options, Degraded: "skip",
				Disks: []DiskRef{
					{ID: "/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2", Size: 4e12},
					{ID: "/dev/disk/by-id/ata-ST2000VN004-2E4164_Z523C4D5", Size: 2e12},
					{ID: "/dev/disk/by-id/ata-WDC_WD20EFRX-68EUZN0_WD-WCC4M6E7F8G9", Size: 2e12},
				},
			},
		},
		Encryption: Encryption{
			USBKeys:     []USBKey{{Disk: "/dev/disk/by-id/usb-SanDisk_Ultra_4C530001230101117392-0:0"}},
			KeyFilename: "hypervisor", FallbackToPassword: &on, KeyWait: 10e9,
		},
		Network: &Network{Bridge: "br0", NIC: NIC{Name: "enp5s0"}, DHCP: &on},
		NFSExports: &NFSExports{LanCIDR: "192.168.1.0/24", Exports: []NFSExport{
			export("/mnt/bulk/apps-vm", lan...),
			export("/mnt/bulk/homeassistant-vm", "192.168.1.0/24", "100.64.0.0/10"),
			export("/mnt/bulk/scrypted", lan...),
		}},
		Locale:   Locale{"en_GB.UTF-8", "Europe/Brussels", "be"},
		Users:    []User{{Name: "snyssen", Groups: []string{"wheel"}, SSHAuthorizedKeys: got.Users[0].SSHAuthorizedKeys}},
		Libvirtd: Libvirtd{Users: []string{"snyssen"}},
		VMPlan: VMPlan{
			VMStoreRoot: "/mnt/vmstore", DefaultBridge: "br0", URI: "qemu:///system",
			VMs: []VM{
				{
					Name: "haos", State: "present", VCPU: 2, RAMMB: 4096, MACAddress: "52:54:00:12:34:56", DiskGB: 32, BootOrder: 1,
					DiskImage: &VMDisk{
						URL:  "https://github.com/home-assistant/operating-system/releases/download/16.2/haos_ova-16.2.qcow2.xz",
						Dest: "/mnt/vmstore/haos/haos.qcow2",
					},
					USBDevices: []USBHost{{"0x1a86", "0x7523"}},
					Firmware:   Firmware{UEFI: &on},
				},
				{
					Name: "testvm", State: "present", VCPU: 4, RAMMB: 8192, DiskGB: 64,
					ISOImage: &VMISO{
						URL:         "https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/debian-13.1.0-amd64-netinst.iso",
						Dest:        "/mnt/vmstore/testvm/installer.iso",
						Checksum:    "sha256:https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/SHA256SUMS",
						EnableMount: &on,
					},
					Autostart: &off, Firmware: Firmware{UEFI: &on},
				},
				{
					Name: "myvm", State: "absent",
					Firmware: Firmware{UEFI: &on},
				},
			},
		},
		Path: "examples/hypervisor.yaml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("LoadFile(hypervisor.yaml) (-want +got):\n%s", diff)
	}
}

// TestAnsibleVars reads a role's vars file as it is.
func TestAnsibleVars(t *testing.T) {
	l, err := LoadFile("examples/hypervisor.yaml", "examples/ansible-vars.yml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, vm := range l.VMs {
		names = append(names, vm.Name)
	}
	if diff := cmp.Diff([]string{"haos", "testvm", "myvm"}, names); diff != "" {
		t.Errorf("VMs (-want +got):\n%s", diff)
	}
	testvm := l.VMs[1]
	if testvm.VCPU != 2 || testvm.RAMMB != 4096 || testvm.MACAddress != "52:54:00:12:34:57" || *testvm.Autostart {
		t.Errorf("testvm = %+v, want the merged 2 vCPUs and 4096 MiB, its MAC, and no autostart", testvm)
	}
	if l.URI != "qemu:///system" || l.Hostname != "hypervisor" {
		t.Errorf("URI %q, hostname %q: what the vars file does not give must stay the layout's", l.URI, l.Hostname)
	}
}

// TestVMsReplace has VMs in both files: those of --vms are all there are.
func TestVMsReplace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	layout := write("layout.yaml", "hostname: h\nlibvirt_vmstore_root: /srv/vms\nlibvirt_vms:\n  - {name: old, state: absent}\n  - {name: wrong}\n")
	vars := write("vars.yml", "libvirt_vms:\n  - {name: new, state: absent}\n")
	l, err := LoadFile(layout, vars)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.VMs) != 1 || l.VMs[0].Name != "new" || l.VMStoreRoot != "/srv/vms" {
		t.Errorf("VMs %+v in %s, want the one of the vars file in /srv/vms", l.VMs, l.VMStoreRoot)
	}
}

func TestLoadFileWithoutFile(t *testing.T) {
	if _, err := LoadFile(filepath.Join(t.TempDir(), "none.yaml"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("LoadFile of nothing = %v, want that it does not exist", err)
	}
	if _, err := LoadFile("examples/smallest.yaml", filepath.Join(t.TempDir(), "none.yml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("LoadFile with no --vms file = %v, want that it does not exist", err)
	}
}

// TestEndlessFile: a device that never ends is refused like a large file.
func TestEndlessFile(t *testing.T) {
	if _, err := LoadFile("/dev/zero", ""); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("LoadFile(/dev/zero) = %v, want that it is too large", err)
	}
}

// everyForm has the ways of writing that a layout allows.
const everyForm = `
hostname: h
os:
  disk: {id: /dev/disk/by-id/nvme-A, size: 500000000000, model: 970, serial: 0012345}
  nixos:
    flake: github:me/infra#h
    state_version: 25.11
    options: {services.fstrim.enable: true, boot.tmp.size: 12, networking.hosts: {"10.0.0.1": [a, b]}, x: ~, y: 1.5}
  subvolumes: {root: /, zeta: /var/log, alpha: /home}
pools:
  zeta: {disks: [/dev/disk/by-id/ata-B, {id: /dev/disk/by-id/ata-C}], storage_media: hdd, mount_options: []}
  alpha: {disks: [/dev/disk/by-id/ata-D, /dev/disk/by-id/ata-E], storage_media: ssd, mountpoint: /srv/a}
encryption: {key_wait: 30, usb_keys: [{uuid: 1234-5678}, {uuid: 8b34-7d3c}]}
network: {nic: {mac: 3c:7c:3f:12:34:56}, addresses: 192.168.1.10/24, gateway: [192.168.1.1, "fe80::1"], dns: "fd00::1"}
nfs_exports:
  exports:
    - {path: /mnt/zeta/x, mode: 0750, owner: 1000, clients: fd00:1::/64}
libvirt_vms:
  - name: a
    mac_address: 52:54:00:12:34:56
    disk_image: {url: "https://example.org/a", dest: /mnt/vmstore/a/a.qcow2}
    usb_devices: [{vendor_id: 0x1A86, product_id: "0x7523"}]
    boot_delay: 1m30s
    cloud_init:
      user_data: |
        #cloud-config
        runcmd: [echo "{{ ds.meta_data }}"]
`

func TestForms(t *testing.T) {
	l := mustLoad(t, everyForm)
	check := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("disk", l.OS.Disk, DiskRef{ID: "/dev/disk/by-id/nvme-A", Size: 500e9, Model: "970", Serial: "0012345"})
	check("state_version", l.OS.NixOS.StateVersion, "25.11")
	check("modules_dir", l.OS.NixOS.ModulesDir, "nix/hosts/h")
	check("subvolumes", l.OS.Subvolumes, []Subvolume{{"root", "/"}, {"zeta", "/var/log"}, {"alpha", "/home"}})
	check("options", l.OS.NixOS.Options, map[string]any{
		"services.fstrim.enable": true, "boot.tmp.size": uint64(12), "x": nil, "y": 1.5,
		"networking.hosts": map[string]any{"10.0.0.1": []any{"a", "b"}},
	})
	check("pools", []string{l.Pools[0].Name, l.Pools[1].Name, l.Pools[0].Mountpoint, l.Pools[1].Mountpoint}, []string{"zeta", "alpha", "/mnt/zeta", "/srv/a"})
	check("disks", l.Pools[0].Disks, []DiskRef{{ID: "/dev/disk/by-id/ata-B"}, {ID: "/dev/disk/by-id/ata-C"}})
	check("mount_options, none on purpose", l.Pools[0].MountOptions, []string{})
	check("key_wait", l.Encryption.KeyWait.String(), "30s")
	check("uuid", l.Encryption.USBKeys, []USBKey{{UUID: "1234-5678"}, {UUID: "8b34-7d3c"}})
	off := false
	check("network", l.Network, &Network{Bridge: "br0", NIC: NIC{MAC: "3c:7c:3f:12:34:56"}, DHCP: &off, Addresses: []string{"192.168.1.10/24"}, Gateway: []string{"192.168.1.1", "fe80::1"}, DNS: []string{"fd00::1"}})
	check("export", l.NFSExports.Exports[0], NFSExport{Path: "/mnt/zeta/x", Mode: "0750", Owner: "1000", Group: "root", Squash: "root_squash", Clients: []string{"fd00:1::/64"}, Options: []string{"rw", "sync", "no_subtree_check"}})
	vm := l.VMs[0]
	check("mac_address", vm.MACAddress, "52:54:00:12:34:56")
	check("usb_devices", vm.USBDevices, []USBHost{{"0x1a86", "0x7523"}})
	check("boot_delay", vm.BootDelay.String(), "1m30s")
	check("user_data", vm.CloudInit.UserData, "#cloud-config\nruncmd: [echo \"{{ ds.meta_data }}\"]\n")
}

// TestVerifiedLibvirt: what leaves the server's certificate checked is taken.
func TestVerifiedLibvirt(t *testing.T) {
	for _, uri := range []string{"qemu+tls://h/system", "qemu+tls://h/system?no_verify=0", "qemu+ssh://h/system?keyfile=/root/a%20b"} {
		if _, err := Load("a.yaml", []byte("hostname: h\nlibvirt_uri: '"+uri+"'\n")); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
