package vmstore

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/step"

	"github.com/beevik/etree"
)

// goodHost is a machine on which nothing is wrong.
func goodHost() Facts {
	return Facts{
		Libvirt: Libvirt{Local: true, Reachable: true, CapabilitiesKnown: true, KVM: true, UEFI: true, SecureBoot: true, TPM: true},
		Files:   map[string]File{}, Directories: map[string]Directory{}, Sources: map[string]Source{}, Texts: map[string]string{},
		Host: Host{
			Known: true, RAM: 32 << 30, CPUs: 8, KVM: Device{Present: true, Usable: true}, QEMUUser: "libvirt-qemu", QEMUFound: true,
			Bridges: []string{"br0"}, Free: 500 << 30, USB: map[string]int{}, Programs: []string{"qemu-img", "xz"},
			Firmware: []Firmware{{Code: "/fw.ms", UEFI: true, SecureBoot: true, Enrolled: true}, {Code: "/fw.secboot", UEFI: true, SecureBoot: true}, {Code: "/fw", UEFI: true}},
		},
	}
}

func haos() configs.VM {
	return configs.VM{
		Name: "haos", VCPU: 2, RAMMB: 4096, MACAddress: "52:54:00:12:34:56", DiskGB: 32,
		DiskImage: &configs.VMDisk{URL: "https://example.org/haos.qcow2.xz", Dest: "/mnt/vmstore/haos/haos.qcow2"},
	}
}

func installer() configs.VM {
	return configs.VM{Name: "testvm", ISOImage: &configs.VMISO{URL: "https://example.org/i.iso", Dest: "/mnt/vmstore/testvm/installer.iso"}}
}

func codes(refusals []step.Refusal) string {
	var list []string
	for _, r := range refusals {
		list = append(list, r.Code)
	}
	return strings.Join(list, " ")
}

func TestPlanCreates(t *testing.T) {
	want := configs.VMPlan{VMs: []configs.VM{haos(), installer()}}
	p, refusals := MakePlan(want, "hypervisor", goodHost(), Options{})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	for _, v := range p.VMs {
		if v.Action != Create || !v.Autostart || !v.Running {
			t.Errorf("%s: %s, autostart %v, running %v; want create, true, true", v.Name, v.Action, v.Autostart, v.Running)
		}
	}
	if s := p.VMs[1].Spec; s.Disk != "/mnt/vmstore/testvm/testvm.qcow2" || s.DiskGB != 32 || s.VCPU != 2 || s.RAMMB != 2048 || s.Bridge != "br0" || s.DomainType != "kvm" {
		t.Errorf("the defaults of an ISO VM are %+v", s)
	}
	steps, err := p.Steps(Env{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range steps {
		ids = append(ids, s.ID)
	}
	const order = "vms/haos/directory vms/testvm/directory vms/haos/image vms/testvm/iso " +
		"vms/haos/grow vms/haos/define vms/haos/xml vms/haos/autostart vms/haos/start " +
		"vms/testvm/disk vms/testvm/define vms/testvm/xml vms/testvm/autostart vms/testvm/start"
	if have := strings.Join(ids, " "); have != order {
		t.Errorf("steps\n%s\nwant\n%s", have, order)
	}
	// The downloads wait for nothing but their directories.
	for _, s := range steps {
		if strings.HasSuffix(s.ID, "/image") || strings.HasSuffix(s.ID, "/iso") {
			if len(s.After) != 1 || !strings.HasSuffix(s.After[0], "/directory") {
				t.Errorf("%s waits for %v, want its directory only", s.ID, s.After)
			}
		}
	}
}

func TestIdentitiesAreStable(t *testing.T) {
	// These are on disks by now: a change here gives every VM a new identity.
	if have := UUID("hypervisor", "haos"); have != "3a17ee44-bc9d-5306-8a49-0e5607de6957" {
		t.Errorf("UUID = %s", have)
	}
	if UUID("a", "b") == UUID("b", "a") {
		t.Error("the host and the VM's name can be confused")
	}
	if have := MAC("hypervisor", "haos"); have != "52:54:00:3e:72:89" {
		t.Errorf("MAC = %s", have)
	}
}

func TestOneURLIsDownloadedOnce(t *testing.T) {
	a, b := haos(), haos()
	b.Name, b.MACAddress = "second", ""
	b.DiskImage = &configs.VMDisk{URL: a.DiskImage.URL, Dest: "/mnt/vmstore/second/d.qcow2"}
	b.DiskGB = 100
	p, refusals := MakePlan(configs.VMPlan{VMs: []configs.VM{a, b}}, "h", goodHost(), Options{})
	if len(refusals) > 0 || len(p.Images) != 1 || fmt.Sprint(p.Images[0].Paths) != "[/mnt/vmstore/haos/haos.qcow2 /mnt/vmstore/second/d.qcow2]" || p.Images[0].Limit != 100<<30 {
		t.Errorf("images %+v, refusals %v; want one for both, limited to 100 GiB", p.Images, refusals)
	}
}

// TestPreflight gives each thing that can be wrong, and all of them in one
// list.
func TestPreflight(t *testing.T) {
	good := func() (configs.VMPlan, Facts) {
		return configs.VMPlan{VMs: []configs.VM{haos(), installer()}}, goodHost()
	}
	other := func(f *Facts) *Domain {
		f.Domains = append(f.Domains, Domain{Name: "byhand", UUID: "x", Persistent: true, Active: true, LiveRAMMB: 1024, LiveVCPU: 1})
		return &f.Domains[len(f.Domains)-1]
	}
	for name, c := range map[string]struct {
		spoil func(*configs.VMPlan, *Facts)
		want  string
	}{
		"nothing":            {func(*configs.VMPlan, *Facts) {}, ""},
		"no libvirt":         {func(_ *configs.VMPlan, f *Facts) { f.Libvirt.Reachable = false }, "libvirt"},
		"no kvm":             {func(_ *configs.VMPlan, f *Facts) { f.Host.KVM = Device{} }, "kvm"},
		"kvm not for qemu":   {func(_ *configs.VMPlan, f *Facts) { f.Host.KVM = Device{Present: true, Why: "the user may not"} }, "kvm"},
		"kvm not by libvirt": {func(_ *configs.VMPlan, f *Facts) { f.Libvirt.KVM = false }, "kvm"},
		"kvm not wanted":     {func(w *configs.VMPlan, f *Facts) { f.Host.KVM = Device{}; w.DomainType = "qemu" }, ""},
		"no bridge":          {func(_ *configs.VMPlan, f *Facts) { f.Host.Bridges = nil }, "bridge bridge"},
		"a wrong bridge":     {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].Bridge = "br9" }, "bridge"},
		"no firmware":        {func(_ *configs.VMPlan, f *Facts) { f.Host.Firmware = f.Host.Firmware[:2] }, "firmware firmware"},
		"firmware missing":   {func(_ *configs.VMPlan, f *Facts) { f.Host.Firmware[2].Missing = true }, "firmware firmware"},
		"no secure boot": {func(w *configs.VMPlan, f *Facts) {
			w.VMs[0].Firmware.SecureBoot = true
			f.Host.Firmware = f.Host.Firmware[1:]
		}, "firmware"},
		"no TPM":          {func(w *configs.VMPlan, f *Facts) { w.VMs[0].Firmware.TPM = true; f.Libvirt.TPM = false }, "tpm"},
		"no way for qemu": {func(_ *configs.VMPlan, f *Facts) { f.Host.Blocked = "/mnt/vmstore" }, "permission"},
		"AppArmor": {func(w *configs.VMPlan, f *Facts) {
			f.Host.AppArmor, f.Host.AppArmorReads = true, []string{"/srv/**", "/**.qcow{,2}", "/**.[iI][sS][oO]"}
			w.VMs[0].DiskImage.Dest = "/mnt/vmstore/haos/haos.disk"
		}, "apparmor"},
		"AppArmor is fine": {func(_ *configs.VMPlan, f *Facts) {
			f.Host.AppArmor, f.Host.AppArmorReads = true, []string{"/{media,mnt}/**"}
		}, ""},
		"no space": {func(_ *configs.VMPlan, f *Facts) {
			f.Host.Free = 2 << 30
			f.Sources["https://example.org/haos.qcow2.xz"] = Source{Size: 1 << 30}
		}, "space"},
		"404": {func(_ *configs.VMPlan, f *Facts) {
			f.Sources["https://example.org/i.iso"] = Source{Problem: "the server answers 404"}
		}, "image-url"},
		"too much RAM":         {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].RAMMB = 33 << 10 }, "ram"},
		"too much RAM allowed": {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].RAMMB = 33 << 10; w.Overcommit = "allow" }, ""},
		"RAM with swap":        {func(w *configs.VMPlan, f *Facts) { w.VMs[0].RAMMB = 33 << 10; f.Host.Swap = 8 << 30 }, ""},
		"RAM with others":      {func(w *configs.VMPlan, f *Facts) { w.VMs[0].RAMMB = 29 << 10; other(f).LiveRAMMB = 4 << 10 }, ""},
		"RAM of one that is off": {func(w *configs.VMPlan, _ *Facts) {
			w.VMs[0].RAMMB = 64 << 10
			w.VMs[0].Running, w.VMs[0].Autostart = new(bool), new(bool)
		}, ""},
		"too many vCPUs":   {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].VCPU = 9 }, ""},
		"same MAC":         {func(w *configs.VMPlan, _ *Facts) { w.VMs[1].MACAddress = "52:54:00:12:34:56" }, "mac-twice"},
		"same MAC by hand": {func(_ *configs.VMPlan, f *Facts) { other(f).NICs = []DomainNIC{{MAC: "52:54:00:12:34:56"}} }, "mac-twice"},
		"same USB": {func(w *configs.VMPlan, _ *Facts) {
			w.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}
			w.VMs[1].USBDevices = []configs.USBHost{{VendorID: "1A86", ProductID: "7523"}}
		}, "usb-shared"},
		"same USB by hand": {func(w *configs.VMPlan, f *Facts) {
			w.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}
			other(f).USB = []USB{{"0x1a86", "0x7523"}}
		}, "usb-shared"},
		"same disk by hand": {func(_ *configs.VMPlan, f *Facts) {
			other(f).Disks = []DomainDisk{{Device: "disk", Kind: "file", Path: "/mnt/vmstore/haos/haos.qcow2"}}
		}, "disk-twice"},
		"USB not there": {func(w *configs.VMPlan, _ *Facts) {
			w.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}
		}, ""},
		"no qemu-img":       {func(_ *configs.VMPlan, f *Facts) { f.Host.Programs = nil }, "program"},
		"dest elsewhere":    {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].DiskImage.Dest = "/mnt/vmstore/other/x.qcow2" }, "image-path"},
		"dest with dots":    {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].DiskImage.Dest = "/mnt/vmstore/haos/../../etc/x.qcow2" }, "image-path"},
		"both images":       {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].ISOImage = installer().ISOImage }, "vm-image"},
		"no image":          {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].DiskImage = nil }, "vm-image"},
		"a name upwards":    {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].Name = ".." }, "vm-name"},
		"a name with a way": {func(w *configs.VMPlan, _ *Facts) { w.VMs[0].Name = "a/b" }, "vm-name"},
		"twice":             {func(w *configs.VMPlan, _ *Facts) { w.VMs[1] = w.VMs[0] }, "vm-twice"},
		"half an image": {func(_ *configs.VMPlan, f *Facts) {
			f.Files["/mnt/vmstore/haos/haos.qcow2"] = File{Problem: "it is empty"}
		}, "disk-image"},
		"a raw disk": {func(_ *configs.VMPlan, f *Facts) {
			f.Files["/mnt/vmstore/haos/haos.qcow2"] = File{Format: "raw", Virtual: 32 << 30}
		}, "disk-format"},
		"no template":    {func(w *configs.VMPlan, _ *Facts) { w.DiskTemplate = "/x" }, "template"},
		"a bad template": {func(w *configs.VMPlan, f *Facts) { w.DiskTemplate = "/x"; f.Texts["/x"] = "{{.Nome}}" }, "template"},
		"no XML":         {func(w *configs.VMPlan, f *Facts) { w.DiskTemplate = "/x"; f.Texts["/x"] = "<domain>" }, "template"},
		"another's name": {func(w *configs.VMPlan, f *Facts) {
			w.DiskTemplate = "/x"
			f.Texts["/x"] = "<domain><name>x</name></domain>"
		}, "template"},
		"everything": {func(w *configs.VMPlan, f *Facts) {
			f.Host.KVM, f.Host.Bridges, f.Host.Blocked = Device{}, nil, "/mnt"
			w.VMs[0].RAMMB, w.VMs[0].VCPU = 99<<10, 99
			w.VMs[1].MACAddress = w.VMs[0].MACAddress
		}, "mac-twice ram kvm permission bridge bridge"},
	} {
		t.Run(name, func(t *testing.T) {
			want, facts := good()
			c.spoil(&want, &facts)
			_, refusals := MakePlan(want, "h", facts, Options{})
			if have := codes(refusals); have != c.want {
				t.Errorf("refusals %q, want %q: %v", have, c.want, refusals)
			}
			for _, r := range refusals {
				if r.What == "" || strings.Contains(r.Error(), "%!") {
					t.Errorf("refusal %+v says nothing", r)
				}
			}
		})
	}
}

func TestNotes(t *testing.T) {
	want, facts := configs.VMPlan{VMs: []configs.VM{haos()}}, goodHost()
	want.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}, {VendorID: "0x10c4", ProductID: "0xea60"}}
	want.VMs[0].BootDelay = configs.Duration(time.Second)
	facts.Host.USB["10c4:ea60"] = 2
	facts.Files["/mnt/vmstore/haos/haos.qcow2"] = File{Format: "qcow2", Virtual: 64 << 30}
	p, refusals := MakePlan(want, "h", facts, Options{})
	var have []string
	for _, n := range p.Notes {
		have = append(have, n.Code)
	}
	if len(refusals) > 0 || strings.Join(have, " ") != "boot-order disk-larger usb-missing usb-twice" {
		t.Errorf("notes %v, refusals %v", p.Notes, refusals)
	}
}

// TestOvercommit is said with its figures, unless it is allowed.
func TestOvercommit(t *testing.T) {
	vm := haos()
	vm.RAMMB, vm.VCPU = 24<<10, 12
	second := installer()
	second.RAMMB = 16 << 10
	for overcommit, want := range map[string]string{
		"":      "the VMs have 40 GiB of memory together, and the machine has 32 GiB: when they use it all, the kernel ends one of them; haos: it has 12 vCPUs, and the machine has 8 processors: it is slower than with fewer",
		"allow": "",
	} {
		p, refusals := MakePlan(configs.VMPlan{Overcommit: overcommit, VMs: []configs.VM{vm, second}}, "h", goodHost(), Options{})
		var have []string
		for _, n := range p.Notes {
			have = append(have, n.String())
		}
		if len(refusals) > 0 || strings.Join(have, "; ") != want {
			t.Errorf("overcommit %q: notes %q, refusals %v", overcommit, have, refusals)
		}
	}
}

func TestAbsentSaysWhatIsLost(t *testing.T) {
	vm := haos()
	vm.State = "absent"
	facts := goodHost()
	facts.Directories["haos"] = Directory{Kind: "directory", Files: 4, Allocated: 13<<30 + 1<<29}
	p, refusals := MakePlan(configs.VMPlan{VMs: []configs.VM{vm}}, "h", facts, Options{})
	if len(refusals) > 0 || len(p.Removals()) != 1 {
		t.Fatalf("refusals %v, removals %v", refusals, p.Removals())
	}
	if lines := strings.Join(p.VMs[0].Lost.Lines("haos"), "\n"); lines != "DELETED FOR EVER: /mnt/vmstore/haos, 14 GiB in 4 files" {
		t.Errorf("Lines = %q", lines)
	}
	facts.Directories["haos"] = Directory{Kind: "symlink"}
	if _, refusals := MakePlan(configs.VMPlan{VMs: []configs.VM{vm}}, "h", facts, Options{}); codes(refusals) != "vm-directory" {
		t.Errorf("a symlink in the directory's place: %v", refusals)
	}
}

func TestRemoteLibvirtGetsNoImages(t *testing.T) {
	facts := goodHost()
	facts.Libvirt.Local = false
	p, refusals := MakePlan(configs.VMPlan{URI: "qemu+ssh://root@other/system", VMs: []configs.VM{haos()}}, "h", facts, Options{})
	if len(refusals) > 0 || len(p.Images) > 0 || len(p.Notes) != 1 || p.Notes[0].Code != "remote-image" {
		t.Fatalf("images %v, notes %v, refusals %v", p.Images, p.Notes, refusals)
	}
	steps, err := p.Steps(Env{})
	if err != nil || len(steps) != 3 || steps[0].ID != "vms/haos/define" {
		t.Errorf("steps %v, %v; want define, autostart, start", steps, err)
	}
	for uri, local := range map[string]bool{
		"qemu:///system": true, "qemu+unix:///system?socket=/x": true, "test:///default": true,
		"qemu+ssh://h/system": false, "qemu://h/system": false, "qemu+tcp://h/system": false,
	} {
		if isLocal(uri) != local {
			t.Errorf("isLocal(%s) = %v, want %v", uri, !local, local)
		}
	}
}

// TestDifferences: what libvirt adds is none, what a person changed is one.
func TestDifferences(t *testing.T) {
	s := specFor(defaults(configs.VMPlan{}), configs.VM{Name: "a", VCPU: 2, RAMMB: 4096, Bridge: "br0", MACAddress: "52:54:00:12:34:56", ISOImage: installer().ISOImage,
		USBDevices: []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}}, "h", nil)
	text, err := domainXML(s)
	if err != nil {
		t.Fatal(err)
	}
	asLibvirt := func(edits ...string) *etree.Document {
		doc, err := readTree(strings.NewReplacer(append([]string{
			`<memory unit="MiB">4096</memory>`, `<memory unit='KiB'>4194304</memory><currentMemory unit='KiB'>1</currentMemory>`,
			`machine="q35"`, `machine="pc-q35-7.2"`, `<devices>`, `<devices><emulator>/usr/bin/qemu</emulator><audio id="1"/><input type="mouse" bus="ps2"/>`,
			`52:54:00:12:34:56"/>`, `52:54:00:12:34:56"/><address type="pci"/>`,
		}, edits...)...).Replace(text))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	template, err := readTree(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edits    []string
		want     string // of the built-in definition, which states what the layout says
		template string // where a template states all of it
	}{
		"libvirt's own":  {nil, "", ""},
		"bridge":         {[]string{`bridge="br0"`, `bridge="br1"`}, "bridge br1 → br0", "bridge br1 → br0"},
		"vcpu":           {[]string{`static">2<`, `static">4<`}, "vcpu 4 → 2", "vcpu 4 → 2"},
		"disk file":      {[]string{`/mnt/vmstore/a/a.qcow2`, `/other.qcow2`}, "", "disk file /other.qcow2 → /mnt/vmstore/a/a.qcow2"},
		"usb taken out":  {[]string{`0x1a86`, `0x9999`}, "USB device 1a86:7523: not there, wanted it", "USB device 1a86:7523: not there, wanted it"},
		"boot order":     {[]string{`<boot order="1"/>`, ``}, "", "disk/boot: not there, wanted order=1"},
		"firmware":       {[]string{`<os firmware="efi">`, `<os>`}, "", "firmware none → efi"},
		"upper case MAC": {[]string{`"52:54:00:12:34:56"`, `"52:54:00:12:34:56"`}, "", ""},
		"nic model":      {[]string{`<model type="virtio"/>`, `<model type="e1000"/>`}, "", "nic model e1000 → virtio"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, stated := range []*etree.Document{nil, template} {
				want := c.want
				if stated != nil {
					want = c.template
				}
				doc := asLibvirt(c.edits...)
				if have := join(withoutNote(merge(doc, wish{Spec: s, stated: stated, mac: true, made: true, fresh: true}, false).found)); have != want {
					t.Errorf("template %v: differences = %q, want %q", stated != nil, have, want)
				}
				// Made good, there are none.
				if m := merge(doc, wish{Spec: s, stated: stated, mac: true, made: true}, false); len(m.found) > 0 || m.err != nil {
					t.Errorf("template %v: then there are still %v, %v", stated != nil, m.found, m.err)
				}
			}
		})
	}
	// A running VM without its stick, and with the installer's medium ejected,
	// needs no restart.
	for _, stated := range []*etree.Document{nil, template} {
		live := asLibvirt(`startupPolicy="optional">`+"\n        <vendor", `>`+"\n        <gone", `<source file="/mnt/vmstore/testvm/installer.iso" startupPolicy="optional"/>`, ``)
		if have := join(merge(live, wish{Spec: s, stated: stated, made: true}, true).found); have != "" {
			t.Errorf("for a restart: %q, want nothing", have)
		}
	}
}

// withoutNote leaves out our own note, which a new definition always gets.
func withoutNote(found []Difference) []Difference {
	return slices.DeleteFunc(slices.Clone(found), func(d Difference) bool { return strings.HasPrefix(d.Paths[0], "/domain/metadata") })
}

func TestDomainXMLIsStable(t *testing.T) {
	s := specFor(defaults(configs.VMPlan{VMs: nil}), haos(), "hypervisor", nil)
	first, err := domainXML(s)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, _ := domainXML(s); again != first {
			t.Fatal("the same spec gave another XML")
		}
	}
	doc, err := readTree(first)
	if err != nil {
		t.Fatal(err)
	}
	s.DiskTarget = `a"<b`
	merge(doc, wish{Spec: s, made: true, fresh: true, adopted: true}, false)
	text, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = readTree(text); err != nil {
		t.Fatal(err)
	}
	if m, ok := readMetadata(doc.Root()); !ok || !m.adopted || m.system != `a"<b` {
		t.Errorf("metadata came back as %+v", m)
	}
}

func TestMatchAppArmor(t *testing.T) {
	for _, c := range []struct {
		pattern, file string
		want          bool
	}{
		{"/**.qcow{,2}", "/vm/a/a.qcow2", true}, {"/**.qcow{,2}", "/vm/a/a.qcow", true}, {"/**.qcow{,2}", "/vm/a/a.img", false},
		{"/**.[iI][sS][oO]", "/vm/x.ISO", true}, {"/{media,mnt,opt,srv}/**", "/srv/x", true}, {"/{media,mnt,opt,srv}/**", "/vm/x", false},
		{"/var/lib/libvirt/images/**", "/var/lib/libvirt/images/a/b", true},
	} {
		if have := matchAppArmor(c.pattern, c.file); have != c.want {
			t.Errorf("matchAppArmor(%s, %s) = %v, want %v", c.pattern, c.file, have, c.want)
		}
	}
	if reads := appArmorReads("testdata/virt-aa-helper"); len(reads) == 0 || !strings.Contains(strings.Join(reads, " "), "/**.qcow{,2}") {
		t.Errorf("appArmorReads = %v", reads)
	}
}

func TestUnit(t *testing.T) {
	root := t.TempDir()
	s := InstallUnit(root, "/usr/bin/hvinstall", "/etc/hvinstall/layout.yaml", "/mnt/vmstore")
	for _, want := range []step.State{step.Absent, step.Done} {
		state, _, err := s.Check(t.Context())
		if err != nil || state != want {
			t.Fatalf("Check = %v, %v; want %v", state, err, want)
		}
		if state == step.Absent {
			if err := s.Do(t.Context(), &news{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !unitEnabled(root) {
		t.Error("unitEnabled = false after it was enabled")
	}
	if text := Unit("/opt/a b/hvinstall", "/etc/100%/l.yaml", "/mnt/vmstore"); !strings.Contains(text, `--yes' /opt/a\x20b/hvinstall /etc/100%%/l.yaml`) {
		t.Errorf("Unit = %s", text)
	}
	if text := Unit("/bin/true", "/l.yaml", ""); regexp.MustCompile(`(?m)^After=.*network-online`).MatchString(text) {
		t.Errorf("the VMs wait for the host's lease:\n%s", text)
	}
	// With a pool it waits for no device; without one it needs no mount.
	if text := Unit("/bin/true", "/l.yaml", "/mnt/vmstore"); !strings.Contains(text, "\nConditionPathIsMountPoint=/mnt/vmstore\n") || strings.Contains(text, "RequiresMountsFor") {
		t.Errorf("Unit = %s", text)
	}
	if text := Unit("/bin/true", "/l.yaml", ""); strings.Contains(text, "MountPoint") {
		t.Errorf("Unit without a pool = %s", text)
	}
	if filepath.Ext(UnitName) != ".service" {
		t.Error(UnitName)
	}
}

// TestLeftAsItIs: what the layout does not speak of stays as the owner of the VM
// has it, and is told.
func TestLeftAsItIs(t *testing.T) {
	plan := func(typed string, active, autostart bool, disk string, change func(*configs.VM)) (VM, string) {
		t.Helper()
		text := "<domain type='qemu'><name>haos</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type machine='q35'>hvm</type></os><devices>" + disk + "</devices></domain>"
		d := Domain{Persistent: true, Inactive: text, Active: active, Autostart: autostart, State: "shut off"}
		if active {
			d.Live, d.State = text, "running"
		}
		if err := d.read(); err != nil {
			t.Fatal(err)
		}
		facts := goodHost()
		facts.Domains = []Domain{d}
		vm := haos()
		vm.VCPU, vm.RAMMB, vm.MACAddress, vm.DiskGB = 0, 0, "", 0
		if change != nil {
			change(&vm)
		}
		p, refusals := MakePlan(configs.VMPlan{DomainType: typed, VMs: []configs.VM{vm}}, "h", facts, Options{})
		var said []string
		for _, n := range p.Notes {
			said = append(said, n.What)
		}
		for _, r := range refusals {
			said = append(said, r.Error())
		}
		return p.VMs[0], strings.Join(said, "; ")
	}
	const volume, network = `<disk type='volume' device='disk'><source pool='p' volume='v.qcow2'/><target dev='vda' bus='virtio'/></disk>`,
		`<disk type='network' device='disk'><source protocol='rbd' name='p/img'/><target dev='vda' bus='virtio'/></disk>`
	on, named := true, func(v *configs.VM) { v.BootOrder = 3 }
	for name, c := range map[string]struct {
		typed               string
		active, autostart   bool
		disk                string
		change              func(*configs.VM)
		wantAuto, wantStart bool
		says, saysNot       string
	}{
		"off":              {"", false, false, volume, nil, false, false, "it is off, does not start with the host, and stays so", ""},
		"on":               {"", true, true, volume, nil, true, false, "its disk is a volume disk (p/v.qcow2), and stays so", "does not start"},
		"without KVM":      {"", true, true, network, nil, true, false, "it runs without KVM, slowly, and stays so", "starts it"},
		"type named":       {"qemu", true, true, network, nil, true, false, "its disk is a network disk (rbd:p/img)", "without KVM"},
		"autostart only":   {"qemu", false, true, network, nil, true, false, "it is off, and stays so: running: true starts it", "autostart"},
		"running is named": {"qemu", false, false, network, func(v *configs.VM) { v.Running = &on }, false, true, "it does not start with the host, and stays so", "it is off"},
		"order is named":   {"qemu", false, false, network, named, true, false, "it is off, and stays so", "autostart: true"},
		"its file is gone": {"qemu", true, false, `<disk type='file' device='disk'><driver type='qcow2'/><source file='/x/a.qcow2'/><target dev='vda' bus='virtio'/></disk>`, nil, false, false, "it runs, and the file of its disk is gone: /x/a.qcow2; do not stop it", "put the file back"},
	} {
		v, said := plan(c.typed, c.active, c.autostart, c.disk, c.change)
		if v.Autostart != c.wantAuto || v.Running != c.wantStart || !strings.Contains(said, c.says) || c.saysNot != "" && strings.Contains(said, c.saysNot) || v.Spec.DomainType != "qemu" {
			t.Errorf("%s: autostart %v, started %v, type %s; want %v, %v, and said %q; said:\n%s", name, v.Autostart, v.Running, v.Spec.DomainType, c.wantAuto, c.wantStart, c.says, said)
		}
	}
}
