package disk

import (
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
)

// atWork is the house installed, marked, and running from its own disk, with the
// pool mounted.
func atWork() Input {
	blank := house()
	plan, _ := MakePlan(blank)
	in := asInstalled(blank)
	in.Seed = plan.Seed
	for _, dp := range plan.Disks {
		at := slices.IndexFunc(in.Facts.Disks, func(d Disk) bool { return d.Name == dp.Disk.Name })
		parts := in.Facts.Disks[at].Partitions
		for i := range parts {
			if dp.Mark != nil && parts[i].Signatures[0].Type == "luks2" {
				parts[i].Signatures[0].Mark = dp.Mark
				parts[i].Holders = []Holder{{Kind: "dm", Name: dp.Mapping}, {Kind: "mount", Name: "/mnt/fast"}}
				if dp.Role == RoleOS {
					parts[i].Holders[1].Name = "/"
				}
			}
		}
	}
	for _, fs := range plan.Filesystems {
		made := Btrfs{UUID: fs.UUID, Label: fs.Label}
		for _, s := range fs.Subvols {
			made.Mounts = append(made.Mounts, s.Mountpoint)
			made.Places = append(made.Places, Place{Mountpoint: s.Mountpoint, Subvolume: s.Name})
		}
		for i, device := range fs.Devices {
			made.Devices = append(made.Devices, BtrfsDevice{ID: uint64(i + 1), Mapping: strings.TrimPrefix(device, "/dev/mapper/")})
		}
		in.Facts.Filesystems = append(in.Facts.Filesystems, made)
	}
	return in
}

// close leaves the pool's volumes closed, as in a live system.
func (in *Input) close() {
	in.Facts.Filesystems = in.Facts.Filesystems[:1]
	for _, i := range []int{1, 2} {
		in.Facts.Disks[i].Partitions[0].Holders = nil
	}
}

// former makes the disk B one that was taken out of its pool by hand.
func (in *Input) former() {
	in.Facts.Disks[2].Partitions[0].Holders = nil
	in.Facts.Filesystems[1].Devices = []BtrfsDevice{{ID: 1, Mapping: "crypt-fast-1"}, {ID: 3, Mapping: "crypt-fast-3"}}
}

// forgeFilesystem lets the mark of the disk A name another file system.
func (in *Input) forgeFilesystem() {
	luks := &in.Facts.Disks[1].Partitions[0].Signatures[0]
	mark := *luks.Mark
	mark.Filesystem = "deadbeef-0000-4000-8000-000000000000"
	luks.Mark = &mark
}

// replaceB takes the disk B out, of a pool whose members have so much in use, and
// names a new one in its place.
func (in *Input) replaceB(size, used uint64) {
	in.Facts.Disks[2] = nvme("nvme3n1", "NEW", size)
	in.Layout.Pools[0].Disks[1].ID = id("nvme-NEW")
	in.Facts.Filesystems[1].Devices = []BtrfsDevice{{ID: 1, Mapping: "crypt-fast-1", Size: tb, Used: used}, {ID: 2, Missing: true, Size: tb, Used: used}}
}

// TestForgedFilesystem: the kernel's word on a file system counts, and not one
// mark's: neither the other marks nor the initramfs get what that one says.
func TestForgedFilesystem(t *testing.T) {
	in := atWork()
	right := in.Facts.Filesystems[1].UUID
	in.forgeFilesystem()
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 || plan.Filesystems[1].UUID != right {
		t.Errorf("refusals %v, file system %s, want the mounted one", refusals, plan.Filesystems[1].UUID)
	}
	for _, d := range plan.Disks {
		if d.Role == RolePool && (d.Mark == nil || d.Mark.Filesystem != right) {
			t.Errorf("the mark of %s is to be %+v", d.Name, d.Mark)
		}
	}
	in.close()
	plan, _ = MakePlan(in)
	for _, d := range plan.Disks {
		if d.Mark != nil && strings.HasPrefix(d.Mark.Filesystem, "deadbeef") {
			t.Errorf("the mark of %s is to have the forged file system", d.Name)
		}
	}
}

// TestAnotherHostsDiskIsNoIdentity: a disk of another host does not make that
// host this one, wherever the layout names it but for its own place.
func TestAnotherHostsDiskIsNoIdentity(t *testing.T) {
	foreign := func(from, to *Disk, m Mark, label string) {
		to.Signatures, to.Partitions = from.Signatures, slices.Clone(from.Partitions)
		part := &to.Partitions[len(to.Partitions)-1]
		part.Holders = nil
		part.Signatures = slices.Clone(part.Signatures)
		part.Signatures[0].Mark, part.Signatures[0].Label, part.Signatures[0].UUID = &m, label, "0f0f0f0f-1111-4111-8111-000000000001"
	}
	other := atWork()
	for name, c := range map[string]struct {
		in    func() Input
		erase []string
	}{
		"another's system disk in a pool": {func() Input {
			in := house()
			foreign(&other.Facts.Disks[0], &in.Facts.Disks[2], Mark{Version: 1, Host: "oldbox-1", Role: RoleOS}, "cryptroot")
			return in
		}, nil},
		"the same, to be erased": {func() Input {
			in := house()
			foreign(&other.Facts.Disks[0], &in.Facts.Disks[2], Mark{Version: 1, Host: "oldbox-1", Role: RoleOS}, "cryptroot")
			return in
		}, []string{"nvme-B"}},
		"another's pool disk in another pool": {func() Input {
			in := house()
			foreign(&other.Facts.Disks[1], &in.Facts.Disks[2], Mark{Version: 1, Host: "oldbox-1", Role: RolePool, Pool: "tank", Number: 2, Of: 2}, "crypt-tank-2")
			return in
		}, nil},
		"another's system disk in the place of one of two that stand": {func() Input {
			in := atWork()
			in.Seed = ""
			in.close()
			in.Facts.Disks[0] = nvme("nvme0n1", "OS", 500*gb)
			foreign(&other.Facts.Disks[0], &in.Facts.Disks[2], Mark{Version: 1, Host: "oldbox-1", Role: RoleOS}, "cryptroot")
			return in
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := c.in()
			in.Erase = c.erase
			plan, refusals := MakePlan(in)
			if plan.Seed == "oldbox-1" {
				t.Error("the host is taken for the other disk's")
			}
			for _, r := range refusals {
				if strings.Contains(r.Error(), "of this host") && r.Where == id("nvme-B") {
					t.Errorf("another host's disk is called this host's: %v", r)
				}
				if r.Where == id("nvme-A") {
					t.Errorf("this host's own disk is refused: %v", r)
				}
			}
		})
	}
}

// TestStanding: what a layout says no more, or otherwise, of a host that stands.
func TestStanding(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		code   string   // of the only refusal; empty: none
		says   []string // in the refusal, hint included, or in what is left
	}{
		"nothing": {func(*Input) {}, "", nil},
		"a subvolume of the owner's": {func(in *Input) {
			in.Facts.Filesystems[0].Places = append(in.Facts.Filesystems[0].Places, Place{Mountpoint: "/data", Subvolume: "data"})
		}, "", []string{"the subvolume data, mounted at /data, is not in the layout: nothing in it is deleted"}},
		"the store of NixOS": {func(in *Input) {
			in.Facts.Filesystems[0].Places = append(in.Facts.Filesystems[0].Places, Place{Mountpoint: "/nix", Subvolume: "nix"})
		}, "subvolume-left-out", []string{"say 'nix: /nix' again"}},
		"a swapfile": {func(in *Input) {
			in.Facts.Swapfiles = []Swapfile{{Path: swapPath, Size: 2 << 30}}
			in.Facts.Filesystems[0].Places = append(in.Facts.Filesystems[0].Places, Place{Mountpoint: swapMount, Subvolume: "swap"})
		}, "", []string{"the swapfile /swap/swapfile (2 GiB) stays where it is"}},
		"a closed pool":                         {(*Input).close, "", nil},
		"a closed pool with another mountpoint": {func(in *Input) { in.close(); in.Layout.Pools[0].Mountpoint = "/srv/fast" }, "", nil},
		"a closed pool that lost a disk": {func(in *Input) {
			in.close()
			mark := *in.Facts.Disks[1].Partitions[0].Signatures[0].Mark
			mark.Of = 3
			in.Facts.Disks[1].Partitions[0].Signatures[0].Mark = &mark
			mark.Number = 2
			other := mark
			in.Facts.Disks[2].Partitions[0].Signatures[0].Mark = &other
			in.Facts.Disks[1].Partitions[0].Signatures[0].Mark.Number = 1
		}, "pool-member", []string{"the pool had 3 disks at the last run, and the layout names 2", "name a new disk below pools.fast.disks"}},
		"a disk that came back": {func(in *Input) {
			in.Facts.Disks[2].Partitions[0].Holders = nil
			in.Facts.Filesystems[1].Devices[1] = BtrfsDevice{ID: 2, Missing: true}
		}, "", []string{"the pool fast is mounted without 1 of its 2 disks, though the layout's are all there"}},
		"a file system in one mark that is another, mounted": {func(in *Input) { in.forgeFilesystem() }, "", nil},
		"a file system in one mark that is another, closed":  {func(in *Input) { in.forgeFilesystem(); in.close() }, "marks-disagree", []string{"nvme-A: deadbeef", "mount the file system"}},
		"the VMs' pool dropped": {func(in *Input) {
			in.Layout.Pools, in.Layout.VMStoreRoot = nil, "/mnt/fast"
			in.Layout.VMs = []configs.VM{{Name: "web"}, {Name: "old", State: "absent"}}
		}, "pool-dropped", []string{"the VMs web would not find their files", "put the pool back"}},
		"the VMs' pool dropped, closed": {func(in *Input) {
			in.close()
			in.Layout.Pools, in.Layout.VMStoreRoot = nil, "/mnt/fast"
			in.Layout.VMs = []configs.VM{{Name: "web"}}
		}, "pool-dropped", []string{"the VMs web"}},
		"a pool dropped that nothing is on": {func(in *Input) { in.Layout.Pools = nil }, "", []string{"the pool fast is not in the layout"}},
		"a new disk with too little room":   {func(in *Input) { in.replaceB(250*gb, 900*gb) }, "pool-full", []string{"takes 900 GB", "could store 250 GB", "name a larger disk"}},
		"a new disk with room":              {func(in *Input) { in.replaceB(tb, 900*gb) }, "", nil},
		"a former member in its pool":       {(*Input).former, "pool-member", []string{"nvme-B is no member of the pool any more", "take the line of"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := atWork()
			c.change(&in)
			plan, refusals := MakePlan(in)
			var said []string
			for _, r := range refusals {
				said = append(said, r.Code+": "+r.Error())
			}
			if got := codes(refusals); len(got) > 1 || len(got) == 1 && got[0] != c.code || len(got) == 0 && c.code != "" {
				t.Fatalf("refusals %q, want %q alone", said, c.code)
			}
			text := strings.Join(append(said, plan.Left...), "\n")
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%s", want, text)
				}
			}
			if c.code == "" && len(c.says) == 0 && len(plan.Left) > 0 {
				t.Errorf("left: %q, want nothing", plan.Left)
			}
		})
	}
}

// TestFormerMember: a disk that its mounted, complete pool does without may be
// given another place by consent; one that the pool needs, never.
func TestFormerMember(t *testing.T) {
	in := atWork()
	in.former()
	mark := *in.Facts.Disks[2].Partitions[0].Signatures[0].Mark
	mark.Number = 3
	c := nvme("nvme3n1", "C", tb)
	c.Signatures = []Signature{{Type: "gpt", UUID: "cccccccc-0000-0000-0000-000000000000"}}
	c.Partitions = []Partition{{
		Number: 1, Start: 1 << 20, Size: tb - 2<<20, GUID: "cccccccc-0000-0000-0000-000000000001",
		Holders:    []Holder{{Kind: "dm", Name: "crypt-fast-3"}, {Kind: "mount", Name: "/mnt/fast"}},
		Signatures: []Signature{{Type: "luks2", UUID: "cccccccc-0000-0000-0000-000000000002", Label: "crypt-fast-3", Subsystem: "hvinstall", Mark: &mark}},
	}}
	in.Facts.Disks = append(in.Facts.Disks, c)
	in.Layout.Pools[0].Disks[1].ID = id("nvme-C")
	in.Layout.Pools = append(in.Layout.Pools, configs.Pool{Name: "other", Mountpoint: "/mnt/other", Disks: []configs.DiskRef{{ID: id("nvme-B")}, {ID: id("ata-OTHER")}}})

	if _, refusals := MakePlan(in); !slices.Equal(codes(refusals), []string{"disk-of-host"}) || !strings.Contains(refusals[0].Error(), "is no member of that pool any more") {
		t.Errorf("refusals %v, want that it is no member any more", refusals)
	}
	in.Erase = []string{"nvme-B"}
	if plan, refusals := MakePlan(in); len(refusals) > 0 || plan.Disks[3].Fate != Erase {
		t.Errorf("with consent: %s, %v, want erase", plan.Disks[3].Fate, refusals)
	}
	// Where the pool lacks a member, any disk of it may be the one.
	in.Facts.Filesystems[1].Devices[1] = BtrfsDevice{ID: 3, Missing: true}
	if plan, refusals := MakePlan(in); len(refusals) == 0 || plan.Disks[3].Fate != Refuse {
		t.Errorf("with a member missing: %s, %v, want refuse", plan.Disks[3].Fate, refusals)
	}
}

// TestMarkNotBelieved: a mark that is torn, forged or of a newer version makes
// nothing kept, nothing formatted, and no consent counts for it.
func TestMarkNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Mark)
		says  string
	}{
		"newer":  {func(m *Mark) { m.Version = 2 }, "use that hvinstall, or a newer one"},
		"torn":   {func(m *Mark) { *m = Mark{} }, "its mark is damaged"},
		"forged": {func(m *Mark) { m.Pool = "slow" }, "its mark says crypt-slow-1 and its label crypt-fast-1"},
	} {
		t.Run(name, func(t *testing.T) {
			in := atWork()
			in.close()
			luks := &in.Facts.Disks[1].Partitions[0].Signatures[0]
			mark := *luks.Mark
			c.spoil(&mark)
			luks.Mark = &mark
			in.Erase = []string{"nvme-A"}
			plan, refusals := MakePlan(in)
			if plan.Disks[1].Fate != Refuse || len(refusals) == 0 || !strings.Contains(refusals[0].Error(), c.says) {
				t.Errorf("%s, %v; want it refused with %q", plan.Disks[1].Fate, refusals, c.says)
			}
		})
	}
}

// TestUnitsOfOneArray: two LUNs have one model and serial number, and are two
// disks; a copy of one beside the other is still a copy.
func TestUnitsOfOneArray(t *testing.T) {
	in := house()
	for i, unit := range []string{"", "lun1"} {
		d := &in.Facts.Disks[1+i]
		d.Model, d.Serial, d.Unit, d.Transport = "Array", "60080E50", unit, "sas"
	}
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 || plan.Disks[1].VolumeUUID == plan.Disks[2].VolumeUUID || plan.Disks[1].Table.GUID == plan.Disks[2].Table.GUID {
		t.Errorf("refusals %v, volumes %s and %s; want two disks", refusals, plan.Disks[1].VolumeUUID, plan.Disks[2].VolumeUUID)
	}
	in = asInstalled(in)
	in.Facts.Disks[2].Signatures, in.Facts.Disks[2].Partitions = in.Facts.Disks[1].Signatures, in.Facts.Disks[1].Partitions
	if _, refusals := MakePlan(in); !slices.Contains(codes(refusals), "disk-copy") {
		t.Errorf("refusals %v, want disk-copy", refusals)
	}
}

// TestMountedBefore: what an earlier run of an installation has mounted is not
// mounted over by another subvolume.
func TestMountedBefore(t *testing.T) {
	in := atWork()
	in.Target = "/mnt/target"
	in.Facts.Disks[0].Partitions[1].Holders = nil
	os := &in.Facts.Filesystems[0]
	os.Mounts, os.Places = []string{"/mnt/target"}, []Place{{Mountpoint: "/mnt/target", Subvolume: "root"}}
	in.Facts.Filesystems[1].Mounts, in.Facts.Filesystems[1].Places = []string{"/mnt/target/mnt/fast"}, []Place{{Mountpoint: "/mnt/target/mnt/fast", Subvolume: "fast"}}
	if _, refusals := MakePlan(in); len(refusals) > 0 {
		t.Errorf("the same again: %v", refusals)
	}
	in.Layout.OS.Subvolumes[0].Name = "system"
	if _, refusals := MakePlan(in); !slices.Equal(codes(refusals), []string{"subvolume-moved"}) || !strings.Contains(refusals[0].Error(), "say 'root: /' again") {
		t.Errorf("another root: %v, want subvolume-moved", refusals)
	}
}

// TestPoolRenamedAndMoved: a pool with a new name whose disks have new names as
// well is still told by what they carry.
func TestPoolRenamedAndMoved(t *testing.T) {
	in := atWork()
	in.Layout.Pools[0].Name = "quick"
	in.Facts.Disks[1].ByID, in.Facts.Disks[2].ByID = []string{"nvme-A2"}, []string{"nvme-B2"}
	_, refusals := MakePlan(in)
	if !slices.Equal(codes(refusals), []string{"disk-missing", "disk-missing"}) {
		t.Fatalf("refusals %v, want two missing disks", refusals)
	}
	for _, want := range []string{"nvme-A2 (crypt-fast-1), nvme-B2 (crypt-fast-2)", "if quick is the pool fast with a new name, give it its name back"} {
		if said := refusals[0].Error(); !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
}
