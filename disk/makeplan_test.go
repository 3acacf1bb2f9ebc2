package disk

import (
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/step"
)

const (
	gb = 1_000_000_000
	tb = 1_000_000_000_000
)

func nvme(name, id string, size uint64) Disk {
	return Disk{
		Name: name, ByID: []string{"nvme-" + id, "nvme-eui." + id}, Model: "Test NVMe", Serial: id, Size: size,
		LogicalSector: 512, PhysicalSector: 512, Transport: "nvme", Discard: true,
	}
}

func hdd(name, id string, size uint64) Disk {
	return Disk{
		Name: name, ByID: []string{"ata-" + id, "wwn-" + id}, Model: "Test HDD", Serial: id, Size: size,
		LogicalSector: 512, PhysicalSector: 4096, Transport: "sata", Rotational: true,
	}
}

func id(name string) string { return ByIDFolder + name }

// house is a layout with an OS disk, a pool of two SSDs and a key stick, and
// the machine for it, all blank.
func house() Input {
	stick := Disk{
		Name: "sdz", ByID: []string{"usb-STICK"}, Model: "Stick", Serial: "STICK", Size: 8 * gb, LogicalSector: 512,
		PhysicalSector: 512, Transport: "usb", Removable: true, Rotational: true,
	}
	return Input{
		Layout: &configs.Layout{
			Hostname: "test",
			OS: &configs.OS{
				Disk: configs.DiskRef{ID: id("nvme-OS")}, ESPSize: 1 << 30, StorageMedia: "ssd",
				Subvolumes: []configs.Subvolume{{Name: "root", Mountpoint: "/"}},
			},
			Pools: []configs.Pool{{
				Name: "fast", StorageMedia: "ssd", Mountpoint: "/mnt/fast",
				Disks: []configs.DiskRef{{ID: id("nvme-A")}, {ID: id("nvme-B")}},
			}},
			Encryption: configs.Encryption{USBKeys: []configs.USBKey{{Disk: id("usb-STICK")}}},
		},
		Facts: Facts{Disks: []Disk{nvme("nvme0n1", "OS", 500*gb), nvme("nvme1n1", "A", tb), nvme("nvme2n1", "B", tb), stick, hdd("sda", "OTHER", 4*tb)}},
	}
}

func codes(refusals []step.Refusal) []string {
	var codes []string
	for _, r := range refusals {
		codes = append(codes, r.Code)
	}
	return codes
}

func TestBlankMachineIsCreated(t *testing.T) {
	plan, refusals := MakePlan(house())
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	var names []string
	for _, d := range plan.Disks {
		names = append(names, d.Name+" "+string(d.Fate)+" "+d.Mapping)
	}
	want := []string{"os create cryptroot", "fast-1 create crypt-fast-1", "fast-2 create crypt-fast-2", "key-1 create "}
	if !slices.Equal(names, want) {
		t.Errorf("disks = %q, want %q", names, want)
	}
	os := plan.Disks[0].Table
	if len(os.Partitions) != 2 || os.Partitions[0].Type != TypeESP || os.Partitions[0].Size != 1<<30 {
		t.Errorf("OS table = %+v, want an ESP of 1 GiB and a volume", os)
	}
	for _, d := range plan.Disks {
		for _, part := range d.Table.Partitions {
			if part.Start%alignment != 0 || part.Size%alignment != 0 || part.Start+part.Size+34*512 > d.Disk.Size {
				t.Errorf("%s partition %d: start %d, size %d; want it aligned and clear of the backup GPT", d.Name, part.Number, part.Start, part.Size)
			}
			if len(part.Label) > 36 {
				t.Errorf("partition label %q is longer than GPT's 36 characters", part.Label)
			}
		}
	}
	if fs := plan.Filesystems[1]; fs.Fate != Create || fs.Usable != fs.Raw/2 || len(fs.Devices) != 2 {
		t.Errorf("pool = %+v, want created over both volumes, half of the raw size usable", fs)
	}
}

func TestUnnamedDisksAreNotInThePlan(t *testing.T) {
	plan, _ := MakePlan(house())
	for _, d := range plan.Disks {
		if d.Disk.Serial == "OTHER" {
			t.Errorf("the plan has %s, which the layout does not name", d.Disk.Called())
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		code   string
		says   string // in the refusal, hint included
	}{
		"missing":               {func(in *Input) { in.Facts.Disks = slices.Delete(in.Facts.Disks, 1, 2) }, "disk-missing", "no other disk that would do"},
		"ambiguous":             {func(in *Input) { in.Facts.Disks[4].ByID = append(in.Facts.Disks[4].ByID, "nvme-A") }, "disk-ambiguous", "other aliases"},
		"one disk, two names":   {func(in *Input) { in.Layout.Pools[0].Disks[1].ID = id("nvme-eui.A") }, "disk-twice", "fast-1"},
		"one serial, two disks": {func(in *Input) { in.Facts.Disks[2].Serial = "A" }, "disk-identity", "which is which"},
		"size":                  {func(in *Input) { in.Layout.OS.Disk.Size = 1000 * gb }, "disk-size", "expects 1TB"},
		"model":                 {func(in *Input) { in.Layout.OS.Disk.Model = "Samsung" }, "disk-model", "Test NVMe"},
		"serial":                {func(in *Input) { in.Layout.OS.Disk.Serial = "X1" }, "disk-serial", "X1"},
		"live medium":           {func(in *Input) { in.Facts.Disks[0].Live = true }, "disk-live", "runs from this disk"},
		"held": {func(in *Input) {
			in.Facts.Disks[1].Signatures = []Signature{{Type: "ext4"}}
			in.Facts.Disks[1].Holders = []Holder{{Kind: "mount", Name: "/data"}}
			in.Erase = []string{"nvme-A"}
		}, "disk-held", "mounted at /data"},
		"held though blank": {func(in *Input) { in.Facts.Disks[1].Holders = []Holder{{Kind: "md", Name: "md0"}} }, "disk-held", "md0"},
		"data":              {func(in *Input) { in.Facts.Disks[1].Signatures = []Signature{{Type: "ntfs", Label: "Photos"}} }, "disk-data", "--erase " + id("nvme-A")},
		"unrecognised data": {func(in *Input) { in.Facts.Disks[1].Signatures = []Signature{{Type: "unknown-data"}} }, "disk-data", "unrecognised data"},
		"a stick with data": {func(in *Input) { in.Facts.Disks[3].Signatures = []Signature{{Type: "vfat"}} }, "disk-data", "VFAT"},
		"a volume that could not be read": {func(in *Input) {
			in.Facts.Disks[1].Signatures = []Signature{{Type: "gpt", UUID: "x"}, {Type: Unread}}
			in.Facts.Disks[1].Partitions = []Partition{{Number: 1, Signatures: []Signature{{Type: "luks2", UUID: "y", Label: "crypt-fast-1"}}}}
		}, "disk-unread", "as root, and not in a container"},
		"two namespaces of one drive": {func(in *Input) {
			in.Facts.Disks[2].Serial, in.Facts.Disks[2].Unit = "A", "ns2"
		}, "one-drive", "same physical drive"},
		"small":               {func(in *Input) { in.Facts.Disks[0].Size = 4 * gb }, "disk-small", "must fit"},
		"ssd that rotates":    {func(in *Input) { in.Facts.Disks[1].Rotational = true }, "media-ssd", "storage_media: hdd"},
		"hdd that does not":   {func(in *Input) { in.Layout.Pools[0].StorageMedia = "hdd" }, "media-hdd", "storage_media: ssd"},
		"read-only":           {func(in *Input) { in.Facts.Disks[1].ReadOnly = true }, "disk-read-only", "write-protect"},
		"erase not in layout": {func(in *Input) { in.Erase = []string{id("ata-OTHER")} }, "erase-unknown", "not in the layout"},
		"adopt what is not": {func(in *Input) {
			in.Layout.Pools[0].Adopt = true
			in.Facts.Disks[1].Signatures = []Signature{{Type: "ext4"}}
		}, "adopt", "no LUKS volume"},
		"adopt an old cipher": {func(in *Input) {
			in.Layout.Pools[0].Adopt = true
			in.Facts.Disks[1].Signatures = []Signature{{Type: "luks1", Cipher: "aes-cbc-essiv:sha256"}}
		}, "adopt", "aes-cbc-essiv:sha256"},
		"erasing live is no": {func(in *Input) {
			in.Facts.Disks[1].Signatures = []Signature{{Type: "iso9660"}}
			in.Facts.Disks[1].Live = true
			in.Erase = []string{"nvme-A"}
		}, "disk-live", "name another"},
		"no disk has that ID":  {func(in *Input) { in.Facts.Disks = nil }, "disk-missing", "cables and power"},
		"expectation with tol": {func(in *Input) { in.Layout.OS.Disk.Size = 460 * gb }, "disk-size", "expects"},
	} {
		t.Run(name, func(t *testing.T) {
			in := house()
			c.change(&in)
			plan, refusals := MakePlan(in)
			if !slices.Contains(codes(refusals), c.code) {
				t.Fatalf("refusals = %v, want %s", refusals, c.code)
			}
			for _, r := range refusals {
				if r.Code == c.code && !strings.Contains(r.Error(), c.says) {
					t.Errorf("refusal %q does not say %q", r.Error(), c.says)
				}
				if r.Hint == "" {
					t.Errorf("refusal %q has no way out", r.Error())
				}
			}
			for _, d := range plan.Disks {
				for _, r := range refusals {
					if r.Where == d.ID && d.Fate != Refuse {
						t.Errorf("%s is refused, and its fate is %s", d.ID, d.Fate)
					}
				}
			}
		})
	}
}

// TestMediaInsisted: where the kernel's rotational flag is wrong, the layout's
// word counts, and the plan says that the kernel's is another.
func TestMediaInsisted(t *testing.T) {
	for _, media := range []string{"ssd", "hdd"} {
		in := house()
		in.Layout.Pools[0].StorageMedia = media
		for i := range in.Layout.Pools[0].Disks {
			in.Layout.Pools[0].Disks[i].Media = media
		}
		in.Facts.Disks[1].Rotational, in.Facts.Disks[2].Rotational = media == "ssd", media == "ssd"
		plan, refusals := MakePlan(in)
		if len(refusals) > 0 {
			t.Errorf("%s: refused: %v", media, refusals)
		}
		for _, d := range plan.Disks {
			if d.Role == RolePool && d.Media != media {
				t.Errorf("%s: the plan of %s says %q of the kernel's word", media, d.Name, d.Media)
			}
		}
		in.Layout.Pools[0].Disks[0].Media = map[string]string{"ssd": "hdd", "hdd": "ssd"}[media]
		if _, refusals = MakePlan(in); !slices.Contains(codes(refusals), "media-"+media) {
			t.Errorf("%s: a disk of the other kind is refused with %v", media, refusals)
		}
	}
}

func TestEraseIsConsentForOneDisk(t *testing.T) {
	in := house()
	in.Facts.Disks[1].Signatures = []Signature{{Type: "ntfs"}}
	in.Facts.Disks[2].Signatures = []Signature{{Type: "ntfs"}}
	in.Erase = []string{"nvme-eui.A"} // an alias is as good
	plan, refusals := MakePlan(in)
	if got := codes(refusals); !slices.Equal(got, []string{"disk-data"}) || refusals[0].Where != id("nvme-B") {
		t.Errorf("refusals = %v, want the other disk's alone", refusals)
	}
	if plan.Disks[1].Fate != Erase {
		t.Errorf("fate = %s, want erase", plan.Disks[1].Fate)
	}
}

// asInstalled is the machine after the plan was carried out.
func asInstalled(in Input) Input {
	plan, _ := MakePlan(in)
	for _, dp := range plan.Disks {
		at := slices.IndexFunc(in.Facts.Disks, func(d Disk) bool { return d.Name == dp.Disk.Name })
		d := &in.Facts.Disks[at]
		d.Signatures = []Signature{{Type: "gpt", UUID: strings.ToUpper(dp.Table.GUID)}}
		for _, part := range dp.Table.Partitions {
			have := Partition{Name: d.Name + "p1", Number: part.Number, Start: part.Start, Size: part.Size, Type: part.Type, GUID: part.GUID, Label: part.Label}
			if part.Format == "luks" {
				have.Signatures = []Signature{{Type: "luks2", UUID: dp.VolumeUUID, Label: dp.Mapping, Subsystem: "hvinstall"}}
			} else {
				have.Signatures = []Signature{{Type: "vfat", UUID: part.FSUUID}}
			}
			d.Partitions = append(d.Partitions, have)
		}
	}
	return in
}

func TestInstalledMachineIsKept(t *testing.T) {
	in := asInstalled(house())
	in.Facts.Disks[0].Live = true // it runs from its own disk
	in.Facts.Disks[0].Partitions[1].Holders = []Holder{{Kind: "dm", Name: "cryptroot"}, {Kind: "mount", Name: "/"}}
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	for _, d := range plan.Disks {
		if d.Fate != Keep || d.Role != RoleKey && !d.VolumeExists {
			t.Errorf("%s: fate %s, volume exists %v; want it kept", d.Name, d.Fate, d.VolumeExists)
		}
	}
}

// TestKeptEvenWithErase: the same command given again after the installation
// must not destroy what it made.
func TestKeptEvenWithErase(t *testing.T) {
	in := asInstalled(house())
	in.Erase = []string{"nvme-OS", "nvme-A"}
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 || plan.Disks[0].Fate != Keep || plan.Disks[1].Fate != Keep {
		t.Errorf("fates %s, %s, refusals %v; want hvinstall's own work kept", plan.Disks[0].Fate, plan.Disks[1].Fate, refusals)
	}
}

func TestInterruptedIsResumed(t *testing.T) {
	in := asInstalled(house())
	in.Facts.Disks[1].Partitions[0].Signatures = nil // partitioned, not formatted
	in.Facts.Disks[1].Begun = true
	in.Facts.Disks[2].Partitions, in.Facts.Disks[2].Signatures = nil, nil // not begun
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	if plan.Disks[1].Fate != Resume || plan.Disks[2].Fate != Create {
		t.Errorf("fates = %s, %s, want resume, create", plan.Disks[1].Fate, plan.Disks[2].Fate)
	}
	if plan.Filesystems[1].Fate != Resume {
		t.Errorf("pool's fate = %s, want resume", plan.Filesystems[1].Fate)
	}
}

// TestLostHeaderIsNotFormatted: a disk of ours that was complete once and whose
// LUKS header is gone may have data behind it.
func TestLostHeaderIsNotFormatted(t *testing.T) {
	for _, content := range [][]Signature{nil, {{Type: UnknownData}}} {
		in := asInstalled(house())
		in.Facts.Disks[1].Partitions[0].Signatures = content
		plan, refusals := MakePlan(in)
		if got := codes(refusals); !slices.Equal(got, []string{"header-lost"}) || plan.Disks[1].Fate != Refuse {
			t.Errorf("content %v: refusals = %v, fate %s; want header-lost", content, refusals, plan.Disks[1].Fate)
		}
	}
}

func TestForeignVolumeInOurTable(t *testing.T) {
	in := asInstalled(house())
	in.Facts.Disks[1].Partitions[0].Signatures = []Signature{{Type: "ext4", Label: "mine"}}
	_, refusals := MakePlan(in)
	if got := codes(refusals); !slices.Equal(got, []string{"volume-foreign"}) {
		t.Errorf("refusals = %v, want volume-foreign", refusals)
	}
}

func TestReorderedListKeepsItsNames(t *testing.T) {
	in := asInstalled(house())
	slices.Reverse(in.Layout.Pools[0].Disks)
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	if plan.Disks[1].Mapping != "crypt-fast-2" || plan.Disks[2].Mapping != "crypt-fast-1" || plan.Disks[1].Fate != Keep {
		t.Errorf("mappings = %s, %s; want each disk to keep its own", plan.Disks[1].Mapping, plan.Disks[2].Mapping)
	}
}

func TestAdopt(t *testing.T) {
	in := house()
	for i, name := range []string{"A", "B"} {
		in.Facts.Disks[1+i].Signatures = []Signature{{Type: "gpt", UUID: "11111111-0000-0000-0000-00000000000" + name}}
		in.Facts.Disks[1+i].Partitions = []Partition{{
			Number: 1, Start: 1 << 20, Size: tb - 2<<20, GUID: "22222222-0000-0000-0000-00000000000" + name,
			Signatures: []Signature{{Type: "luks2", UUID: "33333333-0000-0000-0000-00000000000" + name}},
		}}
	}
	if _, refusals := MakePlan(in); !slices.Equal(codes(refusals), []string{"disk-data", "disk-data"}) || !strings.Contains(refusals[0].Hint, "adopt: true") {
		t.Errorf("without adopt: %v, want a refusal that tells of adopt", refusals)
	}
	in.Layout.Pools[0].Adopt = true
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	d := plan.Disks[1]
	if d.Fate != Adopt || d.VolumeUUID != "33333333-0000-0000-0000-00000000000A" || d.VolumeDevice != "/dev/disk/by-partuuid/22222222-0000-0000-0000-00000000000A" {
		t.Errorf("plan = %+v, want the disk's own volume adopted", d)
	}
}

func TestUsableRAID1(t *testing.T) {
	for _, c := range []struct {
		sizes []uint64
		want  uint64
	}{
		{[]uint64{tb, tb, 500 * gb}, 1250 * gb},
		{[]uint64{4 * tb, 2 * tb, 2 * tb}, 4 * tb},
		{[]uint64{tb, tb}, tb},
		{[]uint64{4 * tb, tb}, tb},
		{[]uint64{tb}, 0},
		{nil, 0},
		{[]uint64{4 * tb, tb, tb}, 2 * tb},
	} {
		if got := UsableRAID1(c.sizes...); got != c.want {
			t.Errorf("UsableRAID1(%v) = %d, want %d", c.sizes, got, c.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		bytes           uint64
		decimal, binary string
	}{
		{500107862016, "500 GB", "466 GiB"},
		{4000787030016, "4 TB", "3.64 TiB"},
		{1 << 30, "1.07 GB", "1 GiB"},
		{0, "0 B", "0 B"},
		{1250 * gb, "1.25 TB", "1.14 TiB"},
	} {
		if got := DecimalSize(c.bytes); got != c.decimal {
			t.Errorf("DecimalSize(%d) = %q, want %q", c.bytes, got, c.decimal)
		}
		if got := BinarySize(c.bytes); got != c.binary {
			t.Errorf("BinarySize(%d) = %q, want %q", c.bytes, got, c.binary)
		}
	}
}
