package install

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/disk"
	"hvinstall/net/bridge"
)

var updateMachines = flag.Bool("update-machines", false, "write testdata/machines anew from the captures")

const machinesFolder = "../testdata/machines"

// capture reads what a guest showed (capture_guest_test.go). The machines are
// made from captures by giving them the names, serials, sizes and contents of
// real hardware: QEMU cannot say "Samsung", and no test host has ZFS, Windows
// and 24 disks. TestZoo holds the contents' form against the real tools.
func capture(t *testing.T, name string) Facts {
	t.Helper()
	file, err := os.Open(filepath.Join("../testdata/captures", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, err := LoadFacts(file)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bySerial takes a disk out of a capture, deeply copied.
func bySerial(t *testing.T, f Facts, serial string) disk.Disk {
	t.Helper()
	for _, d := range f.Disks.Disks {
		if d.Serial == serial {
			var clone disk.Disk
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &clone); err != nil {
				t.Fatal(err)
			}
			return clone
		}
	}
	t.Fatalf("the capture has no disk of serial %s", serial)
	return disk.Disk{}
}

func underscored(model string) string { return strings.ReplaceAll(model, " ", "_") }

// nvme gives a captured NVMe disk a real one's identity.
func nvme(d disk.Disk, name, model, serial, eui string, size uint64) disk.Disk {
	d.Name, d.Model, d.Serial, d.Size, d.WWN, d.Discard = name, model, serial, size, "eui."+eui, true
	id := "nvme-" + underscored(model) + "_" + serial
	d.ByID = []string{id, id + "_1", "nvme-eui." + eui}
	slices.Sort(d.ByID)
	return d
}

// ata gives a captured SATA disk a real one's identity. Real hard disks take
// no discards, which QEMU's do.
func ata(d disk.Disk, name, model, serial, wwn string, size uint64, ssd bool) disk.Disk {
	d.Name, d.Model, d.Serial, d.Size, d.WWN = name, model, serial, size, wwn
	d.Rotational, d.Discard, d.Transport, d.PhysicalSector = !ssd, ssd, "sata", 4096
	if ssd {
		d.PhysicalSector = 512
	}
	d.ByID = []string{"ata-" + underscored(model) + "_" + serial, "wwn-" + wwn}
	return d
}

// stick gives a captured USB disk a real stick's identity.
func stick(d disk.Disk, name, vendor, model, serial string, size uint64) disk.Disk {
	d.Name, d.Vendor, d.Model, d.Serial, d.Size = name, vendor, model, serial, size
	d.ByID = []string{"usb-" + vendor + "_" + underscored(model) + "_" + serial + "-0:0"}
	return d
}

const (
	gb250, gb500 = 250059350016, 500107862016 // bytes, as disks of this name have
	gb960, tb1   = 960197124096, 1000204886016
	tb2, tb4     = 2000398934016, 4000787030016
	tb8          = 8001563222016
)

// makeMachines makes every machine but those that a plan's identities are
// needed for.
func makeMachines(t *testing.T) map[string]Facts {
	spec := capture(t, "spec")
	nv := bySerial(t, spec, "S466NX0M712345A")
	hd := bySerial(t, spec, "ZGY0A1B2")
	usb := bySerial(t, spec, "4C530001230101117392")
	vd := disk.Disk{LogicalSector: 512, PhysicalSector: 512, Rotational: true, Discard: true, Transport: "virtio"}

	live := stick(usb, "sdz", "Kingston", "DataTraveler 3.0", "E0D55EA573E5F4C0B9A1", 31004295168)
	live.Live = true
	live.Signatures = []disk.Signature{{Type: "gpt", UUID: "5b0c36a5-0d2c-4b4a-9c3f-0e4b9d6a7f11", Offset: 512}}
	live.Partitions = []disk.Partition{{
		Name: "sdz1", Number: 1, Start: 1 << 20, Size: 4 << 30, Type: disk.TypeESP, GUID: "a4b1f6c2-52f0-4d10-8f0a-6c9e5b7d3e21", Label: "HVINSTALL",
		Holders:    []disk.Holder{{Kind: "mount", Name: "/run/hvinstall/live"}},
		Signatures: []disk.Signature{{Type: "vfat", UUID: "6A1F-22C4", Label: "HVINSTALL"}},
	}}

	host := func(disks ...disk.Disk) Facts {
		f := spec
		f.Taken = time.Date(2026, 11, 20, 22, 30, 0, 0, time.UTC)
		f.Hostname, f.Vendor, f.Product = "live", "ASUSTeK COMPUTER INC.", "Pro WS X570-ACE"
		f.CPUs, f.CPUVendor, f.Virtualisation = 16, "AuthenticAMD", ""
		f.Memory = Memory{Total: 67329765376, Available: 65802272768}
		f.UEFI, f.KVM, f.Root, f.Live, f.Kernel, f.OS = true, true, true, true, "6.1.0-40-amd64", "debian 12"
		f.LiveImage = &LiveImage{Path: liveImage, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
		f.Disks = disk.Facts{Disks: append(slices.Clone(disks), live)}
		f.Network = bridge.Facts{
			NICs: []bridge.NIC{
				{
					Name: "enp5s0", MAC: "3c:7c:3f:12:34:56", PermanentMAC: "3c:7c:3f:12:34:56", Driver: "igb", Bus: "pci-0000:05:00.0", Kind: "physical",
					Up: true, Carrier: true, SpeedMbit: 1000, MTU: 1500, Addresses: []string{"192.168.1.50/24"}, Gateways: []string{"192.168.1.1"},
				},
				{Name: "enp6s0", MAC: "3c:7c:3f:12:34:57", PermanentMAC: "3c:7c:3f:12:34:57", Driver: "r8169", Bus: "pci-0000:06:00.0", Kind: "physical", MTU: 1500},
			},
			DNS: []string{"192.168.1.1"},
		}
		return f
	}

	machines := map[string]Facts{}
	specDisks := []disk.Disk{
		nvme(nv, "nvme0n1", "Samsung SSD 970 EVO 500GB", "S466NX0M712345A", "0025385b71b00a11", gb500),
		nvme(nv, "nvme1n1", "Samsung SSD 970 EVO 1TB", "S467NX0M801234B", "0025385b81b00b22", tb1),
		nvme(nv, "nvme2n1", "WDC WDS100T2B0C-00PXH0", "20473A800123", "e8238fa6bf530001001b448b49d1a2b3", tb1),
		nvme(nv, "nvme3n1", "KINGSTON SA2000M8500G", "50026B7683A1B2C3", "0026b7683a1b2c35", gb500),
		ata(hd, "sda", "ST4000VN008-2DR166", "ZGY0A1B2", "0x5000c500b1a2b3c4", tb4, false),
		ata(hd, "sdb", "ST2000VN004-2E4164", "Z523C4D5", "0x5000c500a9b8c7d6", tb2, false),
		ata(hd, "sdc", "WDC WD20EFRX-68EUZN0", "WD-WCC4M6E7F8G9", "0x50014ee2b1c2d3e4", tb2, false),
		stick(usb, "sdd", "SanDisk", "Ultra", "4C530001230101117392", 15376318464),
	}
	machines["hypervisor-blank"] = host(specDisks...)

	machines["sata-only"] = host(
		ata(hd, "sda", "CT240BX500SSD1", "1944E3D2A1B0", "0x500a0751e3d2a1b0", 240057409536, true),
		ata(hd, "sdb", "Samsung SSD 860 EVO 500GB", "S3Z1NB0K512345A", "0x5002538e40a1b2c3", gb500, true),
		ata(hd, "sdc", "Samsung SSD 860 EVO 500GB", "S3Z1NB0K512346B", "0x5002538e40a1b2c4", gb500, true),
		ata(hd, "sdd", "ST2000DM008-2FR102", "ZFL1A2B3", "0x5000c500c1c2c3c4", tb2, false),
		ata(hd, "sde", "ST2000DM008-2FR102", "ZFL1A2B4", "0x5000c500c1c2c3c5", tb2, false),
	)

	vm := host()
	vm.Vendor, vm.Product, vm.Virtualisation, vm.KVM = "QEMU", "Standard PC (Q35 + ICH9, 2009)", "qemu", false
	vm.CPUs, vm.Memory = 4, Memory{Total: 8322719744, Available: 7985954816}
	vm.Disks = disk.Facts{Disks: []disk.Disk{
		virtioDisk(vd, "vda", "sys", 64<<30), virtioDisk(vd, "vdb", "data1", 100<<30), virtioDisk(vd, "vdc", "data2", 100<<30),
	}}
	vm.Network.NICs = []bridge.NIC{{
		Name: "enp1s0", MAC: "52:54:00:12:34:56", PermanentMAC: "52:54:00:12:34:56", Driver: "virtio_net", Bus: "pci-0000:01:00.0", Kind: "physical",
		Up: true, Carrier: true, MTU: 1500, Addresses: []string{"192.168.122.40/24"}, Gateways: []string{"192.168.122.1"},
	}}
	machines["vm-virtio"] = vm

	// Two cables to one SAS disk: the kernel shows two disks, udev's links
	// point at one of them, and facts taken meanwhile can have them on both.
	sas := func(name, serial string) disk.Disk {
		d := ata(hd, name, "ST4000NM0025", serial, "0x5000c500a1b2c3d4", tb4, false)
		d.Vendor, d.Transport = "SEAGATE", "sas"
		d.ByID = []string{"scsi-35000c500a1b2c3d4", "scsi-SSEAGATE_ST4000NM0025_" + serial, "wwn-0x5000c500a1b2c3d4"}
		return d
	}
	machines["duplicate-aliases"] = host(
		nvme(nv, "nvme0n1", "Samsung SSD 980 PRO 500GB", "S5NYNG0R112233X", "002538b111b2c3d4", gb500),
		sas("sda", "ZC1A2B3C0000"), sas("sdb", "ZC1A2B3C0000"),
	)

	bridged := func(name string, ids ...string) disk.Disk {
		d := stick(usb, name, "JMicron", "Generic", "0123456789ABCDEF", tb2)
		d.ByID, d.Removable = ids, false
		return d
	}
	machines["usb-bridges"] = host(
		nvme(nv, "nvme0n1", "Samsung SSD 970 EVO 500GB", "S466NX0M712399Z", "0025385b71b00a99", gb500),
		bridged("sda"), bridged("sdb", "usb-JMicron_Generic_0123456789ABCDEF-0:0"),
		stick(usb, "sdc", "SanDisk", "Ultra Fit", "4C530001150101117555", 15376318464),
	)

	zfs := func(name, serial, wwn string) disk.Disk {
		d := ata(hd, name, "WDC WD40EFRX-68N32N0", serial, wwn, tb4, false)
		d.Signatures = []disk.Signature{{Type: "gpt", UUID: "0f0e0d0c-1111-4222-8333-" + strings.TrimPrefix(wwn, "0x5001"), Offset: 512}}
		member := []disk.Signature{{Type: "zfs", UUID: "1234567890123456789", Label: "tank", Members: 2}}
		d.Partitions = []disk.Partition{
			{Name: name + "1", Number: 1, Start: 1 << 20, Size: tb4 - 9<<20, Type: "6a898cc3-1dd2-11b2-99a6-080020736631", GUID: "1c2d3e4f-0000-4000-8000-" + strings.TrimPrefix(wwn, "0x5001"), Label: "zfs-" + strings.ToLower(serial), Signatures: member},
			{Name: name + "9", Number: 9, Start: tb4 - 8<<20 - tb4%(1<<20), Size: 8 << 20, Type: "6a945a3b-1dd2-11b2-99a6-080020736631", GUID: "9c2d3e4f-0000-4000-8000-" + strings.TrimPrefix(wwn, "0x5001")},
		}
		return d
	}
	machines["zfs"] = host(
		nvme(nv, "nvme0n1", "CT500P2SSD8", "2103E4B8A1B2", "00a0750103e4b8a1", gb500),
		zfs("sda", "WD-WCC7K1A2B3C4", "0x50014ee2bdaaaa01"), zfs("sdb", "WD-WCC7K1A2B3C5", "0x50014ee2bdaaaa02"),
	)

	raid := func(name, serial, wwn string) disk.Disk {
		d := ata(hd, name, "HGST HUS724020ALA640", serial, wwn, tb2, false)
		d.Signatures = []disk.Signature{{Type: "md", UUID: "4f0d3b2a-7c11-9e58-a6d2-0b1c2d3e4f50", Label: "nas:0", Offset: 4096, Members: 2}}
		d.Holders = []disk.Holder{{Kind: "md", Name: "md0"}, {Kind: "mount", Name: "/srv/old", Through: "md0"}}
		return d
	}
	machines["md-raid"] = host(
		nvme(nv, "nvme0n1", "WDC WDS500G2B0C-00PXH0", "2114D4801122", "e8238fa6bf530001001b448b4a112233", gb500),
		raid("sda", "PN2134P6A1B2CX", "0x5000cca22dc1a2b3"), raid("sdb", "PN2134P6A1B2DX", "0x5000cca22dc1a2b4"),
	)

	const mib = 1 << 20
	windows := nvme(nv, "nvme0n1", "SAMSUNG MZVLB512HAJQ-000L7", "S3TNNX0K123456", "0025388391b00123", 512110190592)
	windows.Signatures = []disk.Signature{{Type: "gpt", UUID: "c1b2a394-1111-4222-8333-444455556666", Offset: 512}}
	recovery := windows.Size/mib*mib - 801*mib
	for i, p := range []disk.Partition{
		{Start: mib, Size: 260 * mib, Type: disk.TypeESP, Label: "EFI system partition", Signatures: []disk.Signature{{Type: "vfat", UUID: "DA3F-0C11", Label: "SYSTEM"}}},
		{Start: 261 * mib, Size: 16 * mib, Type: "e3c9e316-0b5c-4db8-817d-f92df00215ae", Label: "Microsoft reserved partition"},
		{Start: 277 * mib, Size: recovery - 277*mib, Type: disk.TypeBasicData, Label: "Basic data partition", Signatures: []disk.Signature{{Type: "ntfs", UUID: "5C8A1B2C8A1B0423", Label: "Windows"}}},
		{Start: recovery, Size: 800 * mib, Type: "de94bba4-06d1-4d40-a16a-bfd50179d6ac", Label: "Recovery", Signatures: []disk.Signature{{Type: "ntfs", UUID: "AC1E2D3C1E2D0B12", Label: "WinRE"}}},
	} {
		p.Number, p.Name = i+1, fmt.Sprintf("nvme0n1p%d", i+1)
		p.GUID = fmt.Sprintf("c1b2a394-1111-4222-8333-44445555667%d", i)
		windows.Partitions = append(windows.Partitions, p)
	}
	bitlocker := ata(hd, "sda", "Samsung SSD 870 EVO 1TB", "S5Y2NF0R123456K", "0x5002538f31a2b3c4", tb1, true)
	bitlocker.Signatures = []disk.Signature{{Type: "gpt", UUID: "d1c2b3a4-5555-4666-8777-888899990000", Offset: 512}}
	bitlocker.Partitions = []disk.Partition{{
		Name: "sda1", Number: 1, Start: 1 << 20, Size: tb1 - 2<<20, Type: disk.TypeBasicData, GUID: "e1c2b3a4-5555-4666-8777-888899990000",
		Label: "Basic data partition", Signatures: []disk.Signature{{Type: "bitlocker", Offset: 3}},
	}}
	machines["windows"] = host(windows, bitlocker, nvme(nv, "nvme1n1", "Samsung SSD 970 EVO 500GB", "S466NX0M712388Y", "0025385b71b00a88", gb500))

	fourKn := func(d disk.Disk) disk.Disk { d.LogicalSector, d.PhysicalSector = 4096, 4096; return d }
	machines["4kn"] = host(
		fourKn(nvme(nv, "nvme0n1", "SAMSUNG MZQL2960HCJR-00A07", "S64FNE0R112233", "36344630521122330025384e00000001", gb960)),
		fourKn(nvme(nv, "nvme1n1", "SAMSUNG MZQL2960HCJR-00A07", "S64FNE0R112234", "36344630521122340025384e00000001", gb960)),
		fourKn(nvme(nv, "nvme2n1", "SAMSUNG MZQL2960HCJR-00A07", "S64FNE0R112235", "36344630521122350025384e00000001", gb960)),
		fourKn(ata(hd, "sda", "ST8000NM0045-1RL112", "ZA1A2B3C", "0x5000c500d1d2d3d4", tb8, false)),
		fourKn(ata(hd, "sdb", "ST8000NM0045-1RL112", "ZA1A2B3D", "0x5000c500d1d2d3d5", tb8, false)),
	)

	many := []disk.Disk{
		nvme(nv, "nvme0n1", "INTEL SSDPE21D280GA", "PHM2747100AB280AGN", "5cd2e42a81a00001", 280065171456),
		nvme(nv, "nvme1n1", "INTEL SSDPE2KX020T8", "BTLJ94730AAA2P0BGN", "5cd2e4b1a1a00001", tb2),
		nvme(nv, "nvme2n1", "INTEL SSDPE2KX020T8", "BTLJ94730AAB2P0BGN", "5cd2e4b1a1a00002", tb2),
		nvme(nv, "nvme3n1", "INTEL SSDPE2KX020T8", "BTLJ94730AAC2P0BGN", "5cd2e4b1a1a00003", tb2),
	}
	for i := range 20 {
		d := ata(hd, "sd"+string(rune('a'+i)), "ST8000NM000A-2KE101", fmt.Sprintf("WKD%05X", 0x31000+i*7), fmt.Sprintf("0x5000c500e0%06x", 0xa1000+i*16), tb8, false)
		d.Transport = "sas"
		many = append(many, d)
	}
	machines["24-disks"] = host(many...)

	halfAndWhole(t, machines)
	changedHosts(t, machines)

	// A drive of two namespaces: the plain alias is on the one that came last.
	namespace := func(n string) disk.Disk {
		d := nvme(nv, "nvme0n"+n, "SAMSUNG MZQL2960HCJR-00A07", "S64FNE0R445566", "36344630524455660025384e0000000"+n, gb960/2)
		d.ByID = []string{"nvme-SAMSUNG_MZQL2960HCJR-00A07_S64FNE0R445566_" + n, "nvme-eui.36344630524455660025384e0000000" + n}
		if n != "1" {
			d.Unit = "ns" + n
			d.ByID = append([]string{"nvme-SAMSUNG_MZQL2960HCJR-00A07_S64FNE0R445566"}, d.ByID...)
		}
		return d
	}
	machines["two-namespaces"] = host(
		namespace("1"), namespace("2"),
		nvme(nv, "nvme1n1", "SAMSUNG MZQL2960HCJR-00A07", "S64FNE0R445577", "36344630524455770025384e00000001", gb960/2),
	)

	// The second one has got data since, and the layout has the plain alias.
	withData := namespace("2")
	withData.Signatures = []disk.Signature{{Type: "ext4", UUID: "0d6b2c1e-4a5f-4b6c-8d7e-9f0a1b2c3d4e", Label: "scratch", Offset: 1024}}
	machines["namespace-alias"] = host(namespace("1"), withData)

	emmc := disk.Disk{
		Name: "mmcblk0", ByID: []string{"mmc-DA4064_0x24a1b2c3"}, Model: "DA4064", Serial: "0x24a1b2c3", Size: 62537072640,
		LogicalSector: 512, PhysicalSector: 512, Discard: true, Transport: "mmc",
	}
	machines["emmc"] = host(
		emmc,
		ata(hd, "sda", "Samsung SSD 870 EVO 1TB", "S5Y2NF0R222222A", "0x5002538f31a2b3d1", tb1, true),
		ata(hd, "sdb", "Samsung SSD 870 EVO 1TB", "S5Y2NF0R222222B", "0x5002538f31a2b3d2", tb1, true),
	)

	sixteen := []disk.Disk{nvme(nv, "nvme0n1", "INTEL SSDPE21D280GA", "PHM2747100AB280AGX", "5cd2e42a81a00009", 280065171456)}
	for i := range 16 {
		sixteen = append(sixteen, ata(hd, "sd"+string(rune('a'+i)), "ST8000NM000A-2KE101", fmt.Sprintf("WKE%05X", 0x52000+i*7), fmt.Sprintf("0x5000c500e1%06x", 0xb1000+i*16), tb8, false))
	}
	layout, err := configs.LoadFile(filepath.Join(machinesFolder, "half-renamed.yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	half := installed(t, layout, host(sixteen...))
	for i := range half.Disks.Disks {
		if d := &half.Disks.Disks[i]; d.Transport == "sata" && i%2 == 0 { // behind another controller now
			d.Transport = "sas"
			d.ByID = []string{"scsi-3" + strings.TrimPrefix(d.WWN, "0x"), "scsi-SATA_ST8000NM000A-2KE_" + d.Serial}
		}
	}
	machines["half-renamed"] = half
	return machines
}

func virtioDisk(d disk.Disk, name, serial string, size uint64) disk.Disk {
	d.Name, d.Serial, d.Size, d.ByID = name, serial, size, []string{"virtio-" + serial}
	return d
}

// halfAndWhole makes the specification's host half installed and installed:
// what the plan for the blank one writes, put on its disks.
func halfAndWhole(t *testing.T, machines map[string]Facts) {
	t.Helper()
	layout := exampleLayout(t)
	plan := planOn(t, layout, machines["hypervisor-blank"])
	apply := func(volume func(dp disk.DiskPlan) bool, table func(dp disk.DiskPlan) bool) Facts {
		f := clone(t, machines["hypervisor-blank"])
		for _, dp := range plan.Disk.Disks {
			if !table(dp) {
				continue
			}
			for i := range f.Disks.Disks {
				if d := &f.Disks.Disks[i]; d.Name == dp.Disk.Name {
					written(d, dp, volume(dp), sticksOf(plan))
				}
			}
		}
		return f
	}
	// The run was cut while the second disk of vmstore was being formatted.
	early := func(dp disk.DiskPlan) bool {
		return dp.Role == disk.RoleOS || dp.Role == disk.RoleKey || dp.Name == "vmstore-1"
	}
	half := apply(early, func(dp disk.DiskPlan) bool { return early(dp) || dp.Name == "vmstore-2" })
	for _, dp := range plan.Disk.Disks {
		for i := range half.Disks.Disks {
			// No file system is made yet, so the disks still carry the mark.
			if d := &half.Disks.Disks[i]; d.Name == dp.Disk.Name && dp.Role != disk.RoleKey && len(d.Partitions) > 0 {
				d.Begun, d.BegunBy = true, plan.Disk.Seed
			}
		}
	}
	machines["hypervisor-half"] = half

	machines["hypervisor-installed"] = installed(t, layout, machines["hypervisor-blank"])

	// Hosts of the first round: identities from the hostname, no marks.
	layout.Seed = "hypervisor"
	first := installed(t, layout, machines["hypervisor-blank"])
	first.Seed, first.Disks.Filesystems, first.Disks.Swapfiles = "", nil, nil
	for i := range first.Disks.Disks {
		for j := range first.Disks.Disks[i].Partitions {
			signatures := first.Disks.Disks[i].Partitions[j].Signatures
			for k := range signatures {
				signatures[k].Mark, signatures[k].Sticks = nil, nil
			}
		}
	}
	machines["hypervisor-first-round"] = first
}

// changedHosts are what becomes of the installed host's disks in real life.
func changedHosts(t *testing.T, machines map[string]Facts) {
	t.Helper()
	change := func(name string, changes ...func(f *Facts)) {
		f := clone(t, machines["hypervisor-installed"])
		for _, c := range changes {
			c(&f)
		}
		machines[name] = f
	}
	named := func(f *Facts, name string) *disk.Disk {
		for i := range f.Disks.Disks {
			if f.Disks.Disks[i].Name == name {
				return &f.Disks.Disks[i]
			}
		}
		t.Fatalf("no disk %s", name)
		return nil
	}
	change("system-renamed", func(f *Facts) { // its firmware was updated
		d := named(f, "nvme0n1")
		d.Model, d.Serial = "Samsung SSD 970 EVO Plus 500GB", "S466NX0M712345"
		d.ByID = []string{"nvme-Samsung_SSD_970_EVO_Plus_500GB_S466NX0M712345", "nvme-Samsung_SSD_970_EVO_Plus_500GB_S466NX0M712345_1"}
	})
	change("moved-to-usb", func(f *Facts) {
		d := named(f, "sdb")
		d.Vendor, d.Model, d.Serial, d.WWN, d.Transport, d.Discard = "JMicron", "Tech", "DD56419883891", "", "usb", false
		d.ByID = []string{"usb-JMicron_Tech_DD56419883891-0:0"}
	})
	// In an enclosure, and closed: its LUKS header is gone, or its label is another.
	elsewhere := func(f *Facts) *disk.Disk {
		d := named(f, "sdb")
		d.Vendor, d.Model, d.Serial, d.WWN, d.Transport, d.Discard = "JMicron", "Tech", "DD56419883891", "", "usb", false
		d.ByID, d.Partitions[0].Holders = []string{"usb-JMicron_Tech_DD56419883891-0:0"}, nil
		for i, fs := range f.Disks.Filesystems {
			for j := range fs.Devices {
				if dev := &f.Disks.Filesystems[i].Devices[j]; dev.Mapping == "crypt-bulk-2" {
					dev.Mapping, dev.Missing = "", true
				}
			}
		}
		return d
	}
	change("header-lost-moved", func(f *Facts) { elsewhere(f).Partitions[0].Signatures = nil })
	change("label-changed", func(f *Facts) { elsewhere(f).Partitions[0].Signatures[0].Label = "mydata" })
	change("sas-hba", func(f *Facts) {
		for _, name := range []string{"sda", "sdb", "sdc"} {
			d := named(f, name)
			d.Transport, d.Model = "sas", d.Model[:min(16, len(d.Model))]
			d.ByID = []string{"scsi-3" + strings.TrimPrefix(d.WWN, "0x"), "wwn-" + d.WWN + "-scsi"}
		}
	})
	change("cloned", func(f *Facts) { // dd from one to the other, both in
		d := *named(f, "nvme1n1")
		d.Name, d.Serial, d.Model, d.WWN = "nvme4n1", "S5Y1NJ0R998877C", "Samsung SSD 980 PRO 1TB", "eui.002538c111b2c3aa"
		d.ByID = []string{"nvme-Samsung_SSD_980_PRO_1TB_S5Y1NJ0R998877C"}
		d.Partitions = slices.Clone(d.Partitions)
		for i := range d.Partitions {
			d.Partitions[i].Name, d.Partitions[i].Holders = fmt.Sprintf("nvme4n1p%d", i+1), nil
		}
		f.Disks.Disks = append(f.Disks.Disks, d)
	})
	change("system-disk-new", func(f *Facts) { // the old one died; the live stick is in
		blank := machines["hypervisor-blank"]
		f.Live, f.LiveImage, f.Hostname, f.Seed, f.Network, f.Disks.Filesystems, f.Disks.Swapfiles = true, blank.LiveImage, "live", "", blank.Network, nil, nil
		for i := range f.Disks.Disks {
			d := &f.Disks.Disks[i]
			d.Live = false
			for j := range d.Partitions {
				d.Partitions[j].Holders = nil
			}
			if d.Name == "nvme0n1" {
				d.Signatures, d.Partitions = nil, nil
			}
		}
		f.Disks.Disks = append(f.Disks.Disks, blank.Disks.Disks[len(blank.Disks.Disks)-1])
	})
	change("member-missing", func(f *Facts) {
		f.Disks.Disks = slices.DeleteFunc(f.Disks.Disks, func(d disk.Disk) bool { return d.Name == "sdb" })
		for i, fs := range f.Disks.Filesystems {
			for j := range fs.Devices {
				if dev := &f.Disks.Filesystems[i].Devices[j]; dev.Mapping == "crypt-bulk-2" {
					dev.Mapping, dev.Missing = "", true
				}
			}
		}
		spare := stick(*named(f, "sdd"), "sde", "Kingston", "DataTraveler", "E0D55EA573E5", 4e9)
		spare.Signatures, spare.Partitions = nil, nil
		f.Disks.Disks = append(f.Disks.Disks, spare)
	})
	change("other-hosts-disk", func(f *Facts) { // in the bay of bulk-2
		d := named(f, "sdb")
		for i := range d.Partitions {
			part := &d.Partitions[i]
			part.Holders, part.Label, part.GUID = nil, "disk-tank-1-luks", "5a5a5a5a-0000-4000-8000-00000000000b"
			part.Signatures = []disk.Signature{{
				Type: "luks2", UUID: "5a5a5a5a-1111-5000-8000-00000000000b", Label: "crypt-tank-1", Subsystem: "hvinstall",
				Mark: &disk.Mark{Version: 1, Host: "nas-0c3d5e7f9a1b", Role: disk.RolePool, Pool: "tank", Number: 1, Of: 4},
			}}
		}
		d.Signatures = []disk.Signature{{Type: "gpt", UUID: "5a5a5a5a-2222-5000-8000-00000000000b", Offset: 512}}
		for i, fs := range f.Disks.Filesystems {
			for j := range fs.Devices {
				if dev := &f.Disks.Filesystems[i].Devices[j]; dev.Mapping == "crypt-bulk-2" {
					dev.Mapping, dev.Missing = "", true
				}
			}
		}
	})
}

func exampleLayout(t testing.TB) *configs.Layout {
	t.Helper()
	layout, err := configs.LoadFile("../configs/examples/hypervisor.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// planOn is the plan of a machine's disks, which must not be refused.
func planOn(t testing.TB, layout *configs.Layout, f Facts) Plan {
	t.Helper()
	plan := Make(Input{Layout: layout, Facts: f, Only: []Part{PartDisks}})
	if len(plan.Refusals) > 0 {
		t.Fatalf("the plan for the blank host is refused: %v", plan.Refusals)
	}
	return plan
}

func sticksOf(plan Plan) []string {
	var sticks []string
	for _, k := range plan.Crypt.Keys {
		sticks = append(sticks, k.FSUUID)
	}
	return sticks
}

// installed is the machine after a run of the layout, booted from its own disk.
func installed(t *testing.T, layout *configs.Layout, blank Facts) Facts {
	t.Helper()
	plan := planOn(t, layout, blank)
	f := clone(t, blank)
	for _, dp := range plan.Disk.Disks {
		for i := range f.Disks.Disks {
			if d := &f.Disks.Disks[i]; d.Name == dp.Disk.Name {
				written(d, dp, true, sticksOf(plan))
			}
		}
	}
	f.Hostname, f.Seed, f.Live, f.LiveImage = layout.Hostname, plan.Disk.Seed, false, nil
	f.Memory.Available = 61203283968
	f.Disks.Disks = slices.DeleteFunc(f.Disks.Disks, func(d disk.Disk) bool { return d.Live }) // the live stick is gone
	hold(&f, plan)
	nics := f.Network.NICs
	br0 := nics[0]
	br0.Name, br0.Kind, br0.Driver, br0.Bus, br0.PermanentMAC = "br0", "bridge", "", "", ""
	nics[0].Addresses, nics[0].Gateways, nics[0].Master = nil, nil, "br0"
	f.Network.NICs = append([]bridge.NIC{br0}, nics...)
	return f
}

// byMaker are the GUIDs of the partitions and the UUIDs of the volumes that the
// makers of machines wrote: what is a host's own, whatever the disk package reads.
var byMaker = map[string]bool{}

// isMade reports whether a host's own work is on the disk, and complete once.
func isMade(d disk.Disk) bool {
	made := func(signatures []disk.Signature) bool {
		return slices.ContainsFunc(signatures, func(s disk.Signature) bool { return byMaker[s.UUID] })
	}
	return !d.Begun && (made(d.Signatures) || slices.ContainsFunc(d.Partitions, func(p disk.Partition) bool {
		return byMaker[p.GUID] || made(p.Signatures)
	}))
}

// written is a disk after its steps: the GPT, and what its partitions hold.
func written(d *disk.Disk, dp disk.DiskPlan, volume bool, sticks []string) {
	d.Signatures = []disk.Signature{{Type: "gpt", UUID: dp.Table.GUID, Offset: uint64(d.LogicalSector)}}
	d.Partitions = nil
	byMaker[dp.VolumeUUID] = volume && dp.VolumeUUID != ""
	for _, want := range dp.Table.Partitions {
		byMaker[want.GUID] = true
		name := fmt.Sprintf("%s%d", d.Name, want.Number)
		if d.Transport == "nvme" {
			name = fmt.Sprintf("%sp%d", d.Name, want.Number)
		}
		p := disk.Partition{
			Name: name, Number: want.Number, Start: want.Start, Size: want.Size, Type: want.Type, GUID: want.GUID, Label: want.Label,
		}
		switch {
		case want.Format == "vfat" && volume:
			p.Signatures = []disk.Signature{{Type: "vfat", UUID: want.FSUUID, Label: want.FSLabel}}
		case want.Format == "luks" && volume:
			p.Signatures = []disk.Signature{{Type: "luks2", UUID: dp.VolumeUUID, Label: dp.Mapping, Subsystem: "hvinstall", Mark: dp.Mark, Sticks: sticks}}
		}
		d.Partitions = append(d.Partitions, p)
	}
}

// hold is the installed host at work: volumes open, file systems mounted.
func hold(f *Facts, plan Plan) {
	for _, fs := range plan.Disk.Filesystems {
		made := disk.Btrfs{UUID: fs.UUID, Label: fs.Label}
		for _, s := range fs.Subvols {
			made.Mounts = append(made.Mounts, s.Mountpoint)
			made.Places = append(made.Places, disk.Place{Mountpoint: s.Mountpoint, Subvolume: s.Name})
		}
		if fs.Swap != nil {
			made.Mounts = append(made.Mounts, "/swap")
			made.Places = append(made.Places, disk.Place{Mountpoint: "/swap", Subvolume: "swap"})
			f.Disks.Swapfiles = []disk.Swapfile{{Path: fs.Swap.Path, Size: fs.Swap.Size}}
		}
		slices.Sort(made.Mounts)
		slices.SortFunc(made.Places, func(a, b disk.Place) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
		for i, device := range fs.Devices {
			mapping := strings.TrimPrefix(device, "/dev/mapper/")
			one := disk.BtrfsDevice{ID: uint64(i + 1), Mapping: mapping}
			for _, dp := range plan.Disk.Disks {
				if dp.Mapping == mapping {
					one.Size, one.Used = dp.VolumeSize, dp.VolumeSize/4>>30<<30
				}
			}
			made.Devices = append(made.Devices, one)
		}
		f.Disks.Filesystems = append(f.Disks.Filesystems, made)
	}
	slices.SortFunc(f.Disks.Filesystems, func(a, b disk.Btrfs) int { return strings.Compare(a.UUID, b.UUID) })
	for n, dp := range plan.Disk.Disks {
		if dp.Role == disk.RoleKey {
			continue
		}
		var targets []string
		for _, fs := range plan.Disk.Filesystems {
			if fs.Role != dp.Role || dp.Role == disk.RolePool && fs.Label != dp.Pool {
				continue
			}
			for _, s := range fs.Subvols {
				targets = append(targets, s.Mountpoint)
			}
			if fs.Swap != nil {
				targets = append(targets, "/swap")
			}
		}
		slices.Sort(targets)
		for i := range f.Disks.Disks {
			d := &f.Disks.Disks[i]
			if d.Name != dp.Disk.Name {
				continue
			}
			d.Live = dp.Role == disk.RoleOS
			for j := range d.Partitions {
				p := &d.Partitions[j]
				switch {
				case p.Type == disk.TypeESP:
					p.Holders = []disk.Holder{{Kind: "mount", Name: espMount}}
				case p.Type == disk.TypeLinuxLUKS:
					mapped := fmt.Sprintf("dm-%d", n)
					p.Holders = []disk.Holder{{Kind: "dm", Name: dp.Mapping}}
					for _, target := range targets {
						p.Holders = append(p.Holders, disk.Holder{Kind: "mount", Name: target, Through: mapped})
					}
				}
			}
		}
	}
}

func clone(t *testing.T, f Facts) Facts {
	t.Helper()
	loaded, err := LoadFacts(bytes.NewReader(encode(t, f)))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func encode(t *testing.T, f Facts) []byte {
	t.Helper()
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestMachines holds testdata/machines against what it is made from.
func TestMachines(t *testing.T) {
	machines := makeMachines(t)
	if len(machines) < 12 {
		t.Errorf("%d machines, want at least 12", len(machines))
	}
	for name, f := range machines {
		path := filepath.Join(machinesFolder, name+".json")
		want := encode(t, f)
		if *updateMachines {
			if err := os.MkdirAll(machinesFolder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its making says; if the change is meant: go test ./install -run TestMachines -update-machines", path)
		}
		if _, err := LoadFacts(bytes.NewReader(got)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// allMachines loads testdata/machines.
func allMachines(t testing.TB) map[string]Facts {
	t.Helper()
	paths, err := filepath.Glob(machinesFolder + "/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no machines in %s (%v)", machinesFolder, err)
	}
	machines := map[string]Facts{}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := LoadFacts(file)
		file.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		machines[strings.TrimSuffix(filepath.Base(path), ".json")] = f
	}
	return machines
}

// TestPlansOfTheSpecification: on the half installed host the plan goes on, on
// the installed one it keeps every disk, and neither refuses anything.
func TestPlansOfTheSpecification(t *testing.T) {
	layout, err := configs.LoadFile("../configs/examples/hypervisor.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	machines := allMachines(t)
	for name, want := range map[string]map[disk.Fate]int{
		"hypervisor-blank":     {disk.Create: 8},
		"hypervisor-half":      {disk.Keep: 1, disk.Resume: 3, disk.Create: 4},
		"hypervisor-installed": {disk.Keep: 8},
	} {
		plan := Make(Input{Layout: layout, Facts: machines[name], Only: []Part{PartDisks}})
		got := map[disk.Fate]int{}
		for _, d := range plan.Disk.Disks {
			got[d.Fate]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(plan.Refusals) > 0 {
			t.Errorf("%s: fates %v, want %v; refusals %v", name, got, want, plan.Refusals)
		}
	}
}
