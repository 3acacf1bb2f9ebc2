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

// TestConsentForAllOfAHost: in the live system, under another hostname, consent to
// erase each of a host's disks erases none: they say whose they are.
func TestConsentForAllOfAHost(t *testing.T) {
	in := atWork()
	in.Seed, in.Layout.Hostname, in.Hostname = "", "another", ""
	in.close()
	for i := range in.Facts.Disks[0].Partitions {
		in.Facts.Disks[0].Partitions[i].Holders = nil
	}
	in.Facts.Filesystems = nil
	in.Erase = []string{"nvme-OS", "nvme-A", "nvme-B"}
	plan, refusals := MakePlan(in)
	for _, d := range plan.Disks {
		if d.Fate == Erase || d.Fate == Create {
			t.Errorf("%s: %s (%v)", d.Name, d.Fate, refusals)
		}
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

// TestMarkNotBelieved: a mark that is torn, forged or of a newer version, or that
// disagrees with the label, makes nothing kept, nothing formatted, and no consent
// counts for it, whether the volume is open or not.
func TestMarkNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Signature)
		says  string
	}{
		"newer":                    {func(s *Signature) { s.Mark.Version = 2 }, "use that hvinstall, or a newer one"},
		"torn":                     {func(s *Signature) { *s.Mark = Mark{} }, "its mark is damaged"},
		"torn, label changed":      {func(s *Signature) { *s.Mark, s.Label = Mark{}, "mydata" }, "a volume that hvinstall made, and its mark is damaged"},
		"forged":                   {func(s *Signature) { s.Mark.Pool = "slow" }, "its mark says crypt-slow-1 and its label crypt-fast-1"},
		"label changed":            {func(s *Signature) { s.Label = "mydata" }, "carries the volume crypt-fast-1, number 1 of the pool fast, and its mark says crypt-fast-1 and its label mydata"},
		"label empty":              {func(s *Signature) { s.Label = "" }, "and its mark says crypt-fast-1, and it has no label"},
		"label changed, unmarked":  {func(s *Signature) { s.Label, s.Mark = "mydata", nil }, "its label \"mydata\" is none that hvinstall gives"},
		"subsystem and label gone": {func(s *Signature) { s.Label, s.Subsystem = "", "" }, "and it has no label"},
	} {
		for _, where := range []string{"in place", "moved", "moved and open"} {
			t.Run(name+" "+where, func(t *testing.T) {
				in := atWork()
				if where != "moved and open" {
					in.close()
				}
				d := &in.Facts.Disks[1]
				luks := &d.Partitions[0].Signatures[0]
				mark := *luks.Mark
				luks.Mark = &mark
				c.spoil(luks)
				in.Erase = []string{"nvme-A"}
				if where != "in place" {
					d.ByID, d.Serial, d.Model = []string{"usb-A"}, "USB", "Bridge"
					in.Layout.Pools[0].Disks[0].ID, in.Erase = id("usb-A"), []string{"usb-A"}
				}
				plan, refusals := MakePlan(in)
				if plan.Disks[1].Fate != Refuse || len(refusals) == 0 || refusals[0].Code != "disk-of-host" || !strings.Contains(refusals[0].Error(), c.says) {
					t.Errorf("%s, %v; want it refused with %q", plan.Disks[1].Fate, refusals, c.says)
				}
			})
		}
	}
}

// TestLostHeaderIsKnown: of a disk that has another name now, whose LUKS header
// is gone, the partition's name says what it held. It is neither erased, with
// consent or without, nor offered for another disk's place.
func TestLostHeaderIsKnown(t *testing.T) {
	for name, content := range map[string][]Signature{"empty": nil, "unknown": {{Type: UnknownData}}, "another's": {{Type: "vfat", Label: "OOPS"}}} {
		t.Run(name, func(t *testing.T) {
			in := atWork()
			in.close()
			d := &in.Facts.Disks[1]
			d.ByID, d.Serial, d.Partitions[0].Signatures = []string{"nvme-A2"}, "A2", content
			plan, refusals := MakePlan(in)
			if len(refusals) > 0 || len(plan.Waits) != 1 || strings.Contains(plan.Waits[0].Error(), "holds data") ||
				!strings.Contains(plan.Waits[0].Error(), "nvme-A2 held crypt-fast-1 once, and its LUKS header is gone") {
				t.Errorf("with the old line: %v, %v, want that it waits, and what nvme-A2 was", refusals, plan.Waits)
			}
			waits := plan.Waits
			in.Layout.Pools[0].Disks[0].ID = id("nvme-A2")
			for _, adopt := range []bool{false, true} {
				in.Layout.Pools[0].Adopt, in.Erase = adopt, []string{"nvme-A2"}
				plan, refusals := MakePlan(in)
				if plan.Disks[1].Fate != Refuse || len(refusals) != 1 || !strings.Contains(refusals[0].Error(), "held the volume crypt-fast-1 once, and its LUKS header is gone") {
					t.Errorf("named, with consent, adopt %v: %s, %v, want header-lost", adopt, plan.Disks[1].Fate, refusals)
				}
				// What has come in the header's place, its backup would overwrite.
				for _, r := range append(refusals, waits...) {
					if advised := strings.Contains(r.Error(), "bring the header back"); advised != (name != "another's") {
						t.Errorf("to bring the header back is advised: %v: %v", advised, r)
					}
				}
			}
			// A new disk in its place gets another number: the header's backup has this one's.
			in.Facts.Disks = append(in.Facts.Disks, nvme("nvme9n1", "NEW", tb))
			in.Layout.Pools[0].Disks[0].ID, in.Layout.Pools[0].Adopt, in.Erase = id("nvme-NEW"), false, nil
			if plan, _ := MakePlan(in); plan.Disks[1].Mapping != "crypt-fast-3" {
				t.Errorf("a new disk is %s, want crypt-fast-3", plan.Disks[1].Mapping)
			}
		})
	}
	in := atWork()
	in.close()
	d := &in.Facts.Disks[1]
	d.ByID, d.Serial, d.Partitions[0].Signatures, d.Begun = []string{"nvme-A2"}, "A2", nil, true
	in.Layout.Pools[0].Disks[0].ID, in.Erase = id("nvme-A2"), []string{"nvme-A2"}
	if plan, refusals := MakePlan(in); len(refusals) > 0 || plan.Disks[1].Fate != Erase {
		t.Errorf("a disk that was being made, with consent: %s, %v, want erase", plan.Disks[1].Fate, refusals)
	}
	d.Begun, in.Erase = false, nil
	d.Signatures = append(d.Signatures, Signature{Type: Unread})
	if _, refusals := MakePlan(in); !slices.Equal(codes(refusals), []string{"disk-unread"}) {
		t.Errorf("unread: %v, want disk-unread", refusals)
	}
}

// TestWholeDiskCopy: a byte copy of a volume's partition on a whole disk is a
// copy of the volume; alone, it is the volume, in a form that is not kept.
func TestWholeDiskCopy(t *testing.T) {
	in := atWork()
	in.close()
	d := nvme("nvme9n1", "COPY", tb)
	d.Signatures = in.Facts.Disks[1].Partitions[0].Signatures
	in.Facts.Disks = append(in.Facts.Disks, d)
	in.Layout.Pools[0].Disks[0].ID, in.Erase = id("nvme-COPY"), []string{"nvme-COPY"}
	plan, refusals := MakePlan(in)
	if plan.Disks[1].Fate != Refuse || !slices.Contains(codes(refusals), "disk-copy") {
		t.Errorf("beside the original: %s, %v, want disk-copy", plan.Disks[1].Fate, refusals)
	}
	in.Facts.Disks = slices.Delete(in.Facts.Disks, 1, 2)
	plan, refusals = MakePlan(in)
	if plan.Disks[1].Fate != Refuse || !slices.Equal(codes(refusals), []string{"volume-incomplete"}) {
		t.Errorf("alone: %s, %v, want volume-incomplete", plan.Disks[1].Fate, refusals)
	}
}

// TestCopyInTheLayout: of a volume whose copy the layout names, one thing is
// said: which two disks have it.
func TestCopyInTheLayout(t *testing.T) {
	in := atWork()
	d := nvme("nvme9n1", "COPY", tb)
	d.Signatures, d.Partitions = in.Facts.Disks[1].Signatures, slices.Clone(in.Facts.Disks[1].Partitions)
	d.Partitions[0].Holders = nil
	in.Facts.Disks = append(in.Facts.Disks, d)
	in.Layout.Pools[0].Disks[0].ID = id("nvme-COPY")
	if _, refusals := MakePlan(in); !slices.Equal(codes(refusals), []string{"disk-copy"}) {
		t.Errorf("refusals %v, want disk-copy alone", refusals)
	}
}

// TestOwnStickIsNoDisk: this host's key stick in a pool's or the system's place
// is known, and no consent erases it.
func TestOwnStickIsNoDisk(t *testing.T) {
	for name, spoil := range map[string]func(in *Input, stick *Disk){
		"by its slots": func(in *Input, stick *Disk) {
			for i := range 3 {
				parts := in.Facts.Disks[i].Partitions
				parts[len(parts)-1].Signatures[0].Sticks = []string{stick.Partitions[0].Signatures[0].UUID}
			}
			stick.Signatures[0].UUID = "99999999-0000-0000-0000-000000000000"
		},
		"by its table": func(*Input, *Disk) {},
		"not formatted by hvinstall": func(in *Input, stick *Disk) {
			in.Facts.Disks[0].Partitions[1].Signatures[0].Sticks = []string{"8B34-7D3C"}
			stick.Partitions, stick.Signatures = nil, []Signature{{Type: "vfat", UUID: "8B34-7D3C", Label: "MINE"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := atWork()
			stick := &in.Facts.Disks[3]
			stick.Size, stick.Partitions[0].Label, stick.Partitions[0].Signatures[0].Label = tb, "disk-key-1-key", keyLabel
			spoil(&in, stick)
			in.Layout.Encryption.USBKeys, in.Erase = nil, []string{"usb-STICK"}
			in.Layout.Pools = append(in.Layout.Pools, configs.Pool{Name: "other", Mountpoint: "/mnt/other", Disks: []configs.DiskRef{{ID: id("usb-STICK")}, {ID: id("ata-OTHER")}}})
			plan, refusals := MakePlan(in)
			if plan.Disks[3].Fate != Refuse || !slices.Equal(codes(refusals), []string{"stick-of-host"}) || !strings.Contains(refusals[0].Error(), "a key stick of this host") {
				t.Errorf("%s, %v, want it refused as this host's stick", plan.Disks[3].Fate, refusals)
			}
		})
	}
}

// TestPlainAlias: the name of a drive without a namespace's number leads to any
// of its namespaces. Whatever that one holds, nothing is advised of it.
func TestPlainAlias(t *testing.T) {
	for name, c := range map[string]struct {
		content []Signature
		erase   []string
	}{
		"blank": {}, "with data": {content: []Signature{{Type: "ext4"}}}, "with consent": {[]Signature{{Type: "ext4"}}, []string{"nvme-B"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := house()
			b := &in.Facts.Disks[2]
			b.Unit, b.ByID, b.Signatures = "ns2", []string{"nvme-B", "nvme-B_2"}, c.content
			first := nvme("nvme2n2", "B", tb)
			first.ByID = []string{"nvme-B_1"}
			in.Facts.Disks, in.Erase = append(in.Facts.Disks, first), c.erase
			plan, refusals := MakePlan(in)
			if plan.Disks[2].Fate != Refuse || !slices.Equal(codes(refusals), []string{"disk-ambiguous"}) || strings.Contains(refusals[0].Error(), "--erase") ||
				!strings.Contains(refusals[0].Hint, "nvme-B_2, nvme-B_1") {
				t.Errorf("%s, %v, want disk-ambiguous alone, with both names", plan.Disks[2].Fate, refusals)
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
