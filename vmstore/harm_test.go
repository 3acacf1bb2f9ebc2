//go:build libvirt

package vmstore

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"

	"github.com/beevik/etree"
	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
)

// The tests of this file are VMs that somebody made, each with a thing that a
// run once took from it.

// byHand defines a domain of another's making.
func byHand(t testing.TB, xml string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.xml")
	if err := os.WriteFile(file, []byte(xml), 0o644); err != nil {
		t.Fatal(err)
	}
	virsh(t, "define", file)
}

func qcow2(t testing.TB, path, size string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", path, size)
	return path
}

// domainText is a small VM; %s stand for the os, what comes before it, and the
// devices.
func domainText(name, before, os, devices string) string {
	return fmt.Sprintf(`<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>%s</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
%s<memory unit='MiB'>64</memory><vcpu>1</vcpu><os>%s</os><features><acpi/></features><devices>%s</devices></domain>`, name, before, os, devices)
}

const q35OS = `<type arch='x86_64' machine='q35'>hvm</type>`

func diskXML(path, target, bus, extra string) string {
	return fmt.Sprintf(`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='%s' bus='%s'/>%s</disk>`, path, target, bus, extra)
}

// besides is libvirt's description without what the run named.
func besides(t testing.TB, text string, r run, gone func(Difference) bool) string {
	t.Helper()
	return unnamed(nodes(t, text), r.plan.VMs[0].Differences, gone)
}

// wantOnly compares libvirt's descriptions before and after a run: what the
// preview did not name is the same, down to the order.
func wantOnly(t testing.TB, before, after string, r run) {
	t.Helper()
	a := besides(t, before, r, func(d Difference) bool { return d.Have == "" })
	b := besides(t, after, r, func(d Difference) bool { return d.Want == "" })
	if a != b {
		t.Errorf("besides %v something has changed:\n%s", r.plan.VMs[0].Differences, firstDifference(a, b))
	}
}

// TestEverythingElseStays: a change of memory takes nothing of what somebody
// set in the VM, and moves no device.
func TestEverythingElseStays(t *testing.T) {
	root := store(t)
	disk, data := qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M"), qcow2(t, filepath.Join(root, "data.qcow2"), "10M")
	byHand(t, strings.Replace(domainText("a", `<title>the books</title><description>of 1999 &amp; 2000</description>
<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'><libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>
<memoryBacking><hugepages/><source type='memfd'/><access mode='shared'/></memoryBacking><iothreads>2</iothreads>
<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>`, q35OS,
		diskXML(disk, "vda", "virtio", `<boot order='2'/><address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>`)+
			diskXML(data, "sda", "scsi", `<serial>DATA</serial>`)+
			`<controller type='scsi' index='0' model='virtio-scsi'/><interface type='bridge'><mac address='52:54:00:aa:00:01'/><source bridge='br0'/><model type='virtio'/><address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></interface>
<filesystem type='mount' accessmode='passthrough'><driver type='virtiofs'/><source dir='/srv'/><target dir='share'/></filesystem>
<graphics type='vnc' port='-1' passwd='geheim'/><sound model='ich9'/><input type='tablet' bus='usb'/>`),
		"</domain>", `<qemu:commandline><qemu:arg value='-name'/><qemu:arg value='guest=x'/></qemu:commandline></domain>`, 1))
	before := domainOf(t, "a").Inactive
	secret := virsh(t, "dumpxml", "--security-info", "--inactive", "a")
	if !strings.Contains(secret, "passwd='geheim'") {
		t.Fatal("the VM has no password to lose")
	}
	want := qemuPlan(root, blank(t, root, "a"))
	want.VMs[0].Autostart = new(bool)
	r := mustRun(t, want, Env{})
	if v := r.plan.VMs[0]; v.Action != Adopt || len(withoutNote(v.Differences)) != 0 || len(r.plan.AdoptedWithChanges()) != 0 {
		t.Errorf("%s with %v; want adopted as it is", v.Action, v.Differences)
	}
	wantOnly(t, before, domainOf(t, "a").Inactive, r)
	want.VMs[0].RAMMB = 192
	r = mustRun(t, want, Env{})
	if have := r.plan.VMs[0].Differences[0].Line(); len(r.plan.VMs[0].Differences) != 1 || have != "ram 64 → 192 MiB (memory, currentMemory)" {
		t.Errorf("differences %v, want the ram", r.plan.VMs[0].Differences)
	}
	wantOnly(t, before, domainOf(t, "a").Inactive, mergedRuns(r, before, t))
	if !strings.Contains(virsh(t, "dumpxml", "--security-info", "--inactive", "a"), "passwd='geheim'") {
		t.Error("the password of its screen is gone")
	}
	saved := filepath.Join(root, "a/domain.xml")
	text, err := os.ReadFile(saved)
	info, _ := os.Stat(saved)
	if err != nil || !strings.Contains(string(text), "geheim") || info.Mode().Perm() != 0o600 {
		t.Errorf("domain.xml (%v, %v) does not keep it to itself", info.Mode(), err)
	}
	wantNothing(t, want, Env{})
}

// mergedRuns gives a run the differences of the adoption before it as well.
func mergedRuns(r run, _ string, _ testing.TB) run {
	r.plan.VMs[0].Differences = append(r.plan.VMs[0].Differences, Difference{What: "note", Want: "it", Paths: []string{"/domain/metadata/hvinstall:vm"}})
	return r
}

// TestAdoptFromFile: libvirt was installed anew, and the definition beside the
// disk says what the VM was.
func TestAdoptFromFile(t *testing.T) {
	root := store(t)
	disk := qcow2(t, filepath.Join(root, "old/system.qcow2"), "64M")
	text := domainText("old", "<!-- of a later libvirt --><afterlife state='on'/>", `<type arch='x86_64' machine='pc-i440fx-7.0'>hvm</type>`,
		diskXML(disk, "hda", "ide", "")+`<interface type='bridge'><mac address='52:54:00:aa:bb:cc'/><source bridge='br0'/><model type='e1000'/></interface><graphics type='vnc' passwd='geheim'/>`)
	saved := filepath.Join(root, "old/domain.xml")
	if err := os.WriteFile(saved, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want := qemuPlan(root, running(blank(t, root, "old")))
	want.VMs[0].RAMMB = 96
	facts, err := Probe(testContext(t), want, "/")
	if err != nil || strings.Contains(fmt.Sprint(facts), "geheim") {
		t.Errorf("the facts (%v) have the password", err)
	}
	r := mustRun(t, want, Env{})
	v := r.plan.VMs[0]
	if v.Action != Adopt || v.From != InFile || len(r.plan.Images) != 0 || !strings.Contains(join(v.Differences), "ram 64 → 96 MiB") {
		t.Errorf("%s from %q, images %v, differences %v; want it adopted from its file", v.Action, v.From, r.plan.Images, v.Differences)
	}
	d := domainOf(t, "old")
	if d.Machine != "pc-i440fx-7.0" || d.UEFI || d.UUID != "11111111-2222-4333-8444-555555555555" || len(d.NICs) != 1 ||
		d.NICs[0].MAC != "52:54:00:aa:bb:cc" || d.NICs[0].Model != "e1000" || d.Disks[0].Path != disk || d.Disks[0].Bus != "ide" || !d.Active {
		t.Errorf("it is %+v", d)
	}
	if !strings.Contains(virsh(t, "dumpxml", "--security-info", "old"), "passwd='geheim'") {
		t.Error("the password of its screen is gone")
	}
	// libvirt drops without a word what it does not know; the file is kept.
	kept := readPrevious("/", root, time.Now())
	if len(kept) != 1 {
		t.Fatalf("kept %+v, want the file as it was", kept)
	}
	wantFile(t, filepath.Join(kept[0].Path, domainXMLName), []byte(text))
	wantNothing(t, want, Env{})
	// What libvirt has since is in the file, and comes back from there.
	forgetAll(t)
	r = mustRun(t, want, Env{})
	if v = r.plan.VMs[0]; v.From != InFile || len(v.Differences) != 0 || domainOf(t, "old").Machine != "pc-i440fx-7.0" {
		t.Errorf("the second time: from %q with %v", v.From, v.Differences)
	}
	wantNothing(t, want, Env{})
	// A definition that cannot be used stops the run and is not overwritten.
	forgetAll(t)
	for text, says := range map[string]string{
		"<domain>": "cannot be used", strings.Replace(text, ">old<", ">other<", 1): "another VM, other",
	} {
		if err := os.WriteFile(saved, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := tryRun(testContext(t), want, Env{})
		have, _ := os.ReadFile(saved)
		if err == nil || !strings.Contains(err.Error(), says) || string(have) != text || virsh(t, "list", "--all", "--name") != "" {
			t.Errorf("%v, want %q; domain.xml is\n%s", err, says, have)
		}
	}
	// Nor does one whose disk is gone lead to a new disk.
	if err := os.WriteFile(saved, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	if r, err := tryRun(testContext(t), want, Env{}); err == nil || codes(r.refusals) != "disk-gone" {
		t.Errorf("%v, want disk-gone", err)
	}
}

// TestFreeTarget: the drive of the seed takes no place that is in use.
func TestFreeTarget(t *testing.T) {
	root := store(t)
	disk, photos := qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M"), qcow2(t, filepath.Join(root, "photos.qcow2"), "10M")
	if err := os.WriteFile(filepath.Join(root, "rescue.iso"), isoOfTest(t), 0o644); err != nil {
		t.Fatal(err)
	}
	byHand(t, domainText("a", "", q35OS, diskXML(disk, "vda", "virtio", `<boot order='1'/>`)+diskXML(photos, "sda", "sata", "")+
		fmt.Sprintf(`<disk type='file' device='cdrom'><source file='%s/rescue.iso'/><target dev='sdb' bus='sata'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='sdc' bus='sata'/><readonly/></disk>`, root)))
	before := domainOf(t, "a").Inactive
	want := qemuPlan(root, blank(t, root, "a"))
	want.VMs[0].CloudInit = &configs.Cloud{UserData: "#cloud-config\n"}
	r := mustRun(t, want, Env{})
	if have := r.plan.AdoptedWithChanges(); len(have) != 1 {
		t.Errorf("a new drive is no change of hardware: %v", r.plan.VMs[0].Differences)
	}
	var have []string
	for _, d := range domainOf(t, "a").Disks {
		have = append(have, d.Target+" "+strings.TrimPrefix(d.Path, root+"/"))
	}
	if s := strings.Join(have, ", "); s != "vda a/a.qcow2, sda photos.qcow2, sdb rescue.iso, sdc , sdd a/seed.iso" {
		t.Errorf("its disks are %s", s)
	}
	wantOnly(t, before, domainOf(t, "a").Inactive, r)
	wantNothing(t, want, Env{})
	// Out of the layout, the drive goes, and only that one.
	want.VMs[0].CloudInit = nil
	mustRun(t, want, Env{})
	if d := domainOf(t, "a"); len(d.Disks) != 4 || d.Disks[1].Path != photos {
		t.Errorf("its disks are %v", d.Disks)
	}
	wantNothing(t, want, Env{})
}

// TestOtherDisksStay: a block, a volume and a network disk are taken over as
// they are; no image is brought, no disk grown, and that is said.
func TestOtherDisksStay(t *testing.T) {
	root := store(t)
	var vms []configs.VM
	before := map[string]string{}
	for i, source := range []string{"<source dev='/dev/loop7'/>", "<source pool='ssd' volume='books.qcow2'/>", "<source protocol='rbd' name='pool/books'><host name='192.0.2.1' port='6789'/></source>"} {
		kind := []string{"block", "volume", "network"}[i]
		byHand(t, strings.Replace(domainText(kind, "", q35OS, fmt.Sprintf(`<disk type='%s' device='disk'><driver name='qemu' type='raw'/>%s<target dev='vda' bus='virtio'/></disk>`, kind, source)), "11111111", fmt.Sprint("1111111", i), 1))
		before[kind] = domainOf(t, kind).Inactive
		vm := blank(t, root, kind)
		vm.DiskGB = 9
		vms = append(vms, vm)
	}
	want := qemuPlan(root, vms...)
	r := mustRun(t, want, Env{})
	if len(r.plan.Images) > 0 || len(r.plan.AdoptedWithChanges()) > 0 {
		t.Errorf("images %v, other hardware for %v; want none", r.plan.Images, r.plan.AdoptedWithChanges())
	}
	for i, v := range r.plan.VMs {
		if v.Action != Adopt || len(withoutNote(v.Differences)) > 0 {
			t.Errorf("%s: %s with %v, want it adopted as it is", v.Name, v.Action, v.Differences)
		}
		wantOnly(t, before[v.Name], domainOf(t, v.Name).Inactive, run{plan: Plan{VMs: r.plan.VMs[i:]}})
		if said := fmt.Sprint(r.plan.Notes); !strings.Contains(said, v.Name+": its disk is a "+v.Name+" disk ("+v.DiskName+"), and stays so: its image, disk_gb") {
			t.Errorf("%s: notes %s", v.Name, said)
		}
		wantClean(t, v.Spec.Dir, domainXMLName)
	}
	wantNothing(t, want, Env{})
}

// TestUSBByAddress: two sticks of one model stay two.
func TestUSBByAddress(t *testing.T) {
	root := store(t)
	stick := func(device int) string {
		return fmt.Sprintf(`<hostdev mode='subsystem' type='usb' managed='yes'><source startupPolicy='optional'><vendor id='0x1a86'/><product id='0x7523'/><address bus='1' device='%d'/></source></hostdev>`, device)
	}
	byHand(t, domainText("a", "", q35OS, diskXML(qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M"), "vda", "virtio", "")+stick(4)+stick(5)))
	before := domainOf(t, "a").Inactive
	want := qemuPlan(root, blank(t, root, "a"))
	want.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}
	r := mustRun(t, want, Env{})
	wantOnly(t, before, domainOf(t, "a").Inactive, r)
	if n := len(withoutNote(r.plan.VMs[0].Differences)); n != 0 {
		t.Errorf("differences %v, want none: the device is there", r.plan.VMs[0].Differences)
	}
	want.VMs[0].USBDevices = nil
	r = mustRun(t, want, Env{})
	if d := domainOf(t, "a"); len(d.USB) != 2 {
		t.Errorf("out of the layout, it has %v, want both as they were put in", d.USB)
	}
	wantNothing(t, want, Env{})
}

// TestSystemDiskBoots: the disk that the VM starts from is the one that grows;
// where that cannot be told, none does.
func TestSystemDiskBoots(t *testing.T) {
	root := store(t)
	data, system := qcow2(t, filepath.Join(root, "files/data.qcow2"), "10M"), qcow2(t, filepath.Join(root, "files/system.qcow2"), "64M")
	size := func(path string) int64 {
		f, err := inspect(path)
		if err != nil {
			t.Fatal(err)
		}
		return f.Virtual
	}
	want := qemuPlan(root, blank(t, root, "files"))
	want.VMs[0].DiskGB = 1
	byHand(t, domainText("files", "", q35OS+`<boot dev='hd'/>`, diskXML(data, "vda", "virtio", "")+diskXML(system, "vdb", "virtio", "")))
	r, err := tryRun(testContext(t), want, Env{})
	if err == nil || codes(r.refusals) != "disk-ambiguous" || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), system) {
		t.Errorf("%v, want disk-ambiguous with both names", err)
	}
	byHand(t, domainText("files", "", q35OS, diskXML(data, "vda", "virtio", "")+diskXML(system, "vdb", "virtio", `<boot order='1'/>`)))
	before := domainOf(t, "files").Inactive
	r = mustRun(t, want, Env{})
	wantOnly(t, before, domainOf(t, "files").Inactive, r)
	if size(data) != 10<<20 || size(system) != 1<<30 || r.plan.VMs[0].Spec.DiskTarget != "vdb" {
		t.Errorf("data has %d, system has %d", size(data), size(system))
	}
	wantNothing(t, want, Env{})
	// It stays the one, whatever boots first for once.
	virsh(t, "detach-disk", "files", "vda", "--config")
	virsh(t, "attach-disk", "files", data, "vda", "--config", "--subdriver", "qcow2")
	want.VMs[0].RAMMB = 96
	if r = mustRun(t, want, Env{}); r.plan.VMs[0].Spec.Disk != system {
		t.Errorf("its disk is %s", r.plan.VMs[0].Spec.Disk)
	}
	wantNothing(t, want, Env{})
	// But nothing grows while another one does.
	text := virsh(t, "dumpxml", "--inactive", "files")
	byHand(t, strings.Replace(strings.Replace(text, "<boot order='1'/>", "<boot order='2'/>", 1), "<target dev='vda' bus='virtio'/>", "<target dev='vda' bus='virtio'/><boot order='1'/>", 1))
	want.VMs[0].DiskGB = 2
	if r, err = tryRun(testContext(t), want, Env{}); err == nil || codes(r.refusals) != "disk-ambiguous" || size(system) != 1<<30 || size(data) != 10<<20 {
		t.Errorf("%v, want disk-ambiguous; system has %d, data has %d", err, size(system), size(data))
	}
}

// TestSmallFirmwareStays: variables of 2 MiB firmware fit no other.
func TestSmallFirmwareStays(t *testing.T) {
	root := store(t)
	vars := filepath.Join(root, "old_VARS.fd")
	pack(t, "cp", "/usr/share/OVMF/OVMF_VARS.fd", vars)
	byHand(t, domainText("a", "", q35OS+`<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS.fd'>`+vars+`</nvram>`,
		diskXML(qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M"), "vda", "virtio", "")))
	before := domainOf(t, "a").Inactive
	want := qemuPlan(root, running(blank(t, root, "a")))
	want.VMs[0].RAMMB = 96
	want.VMs[0].Firmware.SecureBoot = true
	r := mustRun(t, want, Env{})
	wantOnly(t, before, domainOf(t, "a").Inactive, r)
	if d := domainOf(t, "a"); !d.Active || !strings.Contains(d.Live, "OVMF_CODE.fd") || d.NVRAM != vars {
		t.Errorf("it runs with\n%s", d.Live)
	}
	said := fmt.Sprint(r.plan.Notes)
	if !strings.Contains(said, "its Secure Boot is off, and stays so") {
		t.Errorf("notes %s", said)
	}
	wantNothing(t, want, Env{})
}

// TestFailedDefine: a definition that libvirt refuses leaves libvirt and the
// file beside the disk as they were.
func TestFailedDefine(t *testing.T) {
	root := store(t)
	template := filepath.Join(root, "t.xml")
	text := `<domain type='{{.DomainType}}'><name>{{.Name}}</name><uuid>{{.UUID}}</uuid><memory unit='MiB'>{{.RAMMB}}</memory><vcpu>1</vcpu><os><type machine='{{.Machine}}'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{{.Disk}}'/><target dev='vda' bus='virtio'/></disk>%s</devices></domain>`
	write := func(more string) {
		if err := os.WriteFile(template, []byte(fmt.Sprintf(text, more)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	want := qemuPlan(root, blank(t, root, "a"))
	want.DiskTemplate = template
	mustRun(t, want, Env{})
	saved, err := os.ReadFile(filepath.Join(root, "a/domain.xml"))
	if err != nil {
		t.Fatal(err)
	}
	before := domainOf(t, "a").Inactive
	write(`<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='s'/></filesystem>`)
	if _, err := tryRun(testContext(t), want, Env{}); err == nil {
		t.Error("virtiofs without shared memory was defined")
	}
	after, err := os.ReadFile(filepath.Join(root, "a/domain.xml"))
	if err != nil || string(after) != string(saved) || domainOf(t, "a").Inactive != before {
		t.Errorf("libvirt's definition or domain.xml has changed (%v)", err)
	}
	// libvirt takes it, and keeps less than it was given: read back, it is put
	// back, and of a VM that was not there nothing stays.
	text = strings.Replace(text, "<vcpu>", "<vcpu current='1'>", 1)
	write("")
	for _, vms := range [][]configs.VM{want.VMs, {blank(t, root, "b")}} {
		want.VMs = vms
		if _, err := tryRun(testContext(t), want, Env{}); err == nil || !strings.Contains(err.Error(), "it is put back as it was") {
			t.Errorf("%s: %v, want it put back", vms[0].Name, err)
		}
	}
	wantFile(t, filepath.Join(root, "a/domain.xml"), saved)
	if have := virsh(t, "list", "--all", "--name"); have != "a" || domainOf(t, "a").Inactive != before {
		t.Errorf("libvirt has %q, want a as it was:\n%s", have, domainOf(t, "a").Inactive)
	}
}

// TestCorpusInLibvirt: libvirt's own account of each VM of the corpus, before
// and after a change, by its mock and by the driver for QEMU.
func TestCorpusInLibvirt(t *testing.T) {
	for uri, kind := range map[string]string{"test:///default": "test", defaultURI: "qemu"} {
		t.Run(kind, func(t *testing.T) {
			root := store(t)
			c, err := newConnection(uri)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			taken, merged, refused := 0, 0, map[string]int{}
			for name, text := range corpus(t) {
				text = strings.NewReplacer("<domain type='kvm'", "<domain type='"+kind+"'", "<emulator>/usr/bin/kvm</emulator>", "", " file='/", " file='"+root+"/").Replace(text)
				text = regexp.MustCompile(`machine='pc-(q35|i440fx)-[0-9.]+'`).ReplaceAllString(text, "machine='pc-$1-5.2'")
				text = regexp.MustCompile(`<emulator>.*</emulator>`).ReplaceAllString(text, "<emulator>/usr/bin/qemu-system-x86_64</emulator>")
				define := func(l *libvirt.Libvirt) error { _, err := l.DomainDefineXMLFlags(text, 0); return err }
				if err := c.do(testContext(t), define); err != nil {
					t.Logf("%s is not for this libvirt: %v", name, err)
					continue
				}
				taken++
				for layout, change := range layouts {
					if layout == "large disk" || kind == "test" && !slices.Contains([]string{"ram", "seed", "usb"}, layout) {
						continue
					}
					inOrder(t, c, root, name+", "+layout, text, uri, kind, change, &merged, refused)
				}
			}
			t.Logf("%d taken by libvirt, %d runs, refused: %v", taken, merged, refused)
			if taken < 60 || merged < 200 {
				t.Errorf("libvirt took %d domains and %d runs, want 60 and 200 at least", taken, merged)
			}
		})
	}
}

// inOrder defines the domain, runs a layout, and compares.
func inOrder(t *testing.T, c *connection, root, what, text, uri, kind string, change func(*configs.VM), merged *int, refused map[string]int) {
	d := Domain{Persistent: true, Inactive: text}
	if err := d.read(); err != nil {
		t.Fatal(err)
	}
	var before string
	if err := c.do(testContext(t), func(l *libvirt.Libvirt) error {
		defined, err := l.DomainDefineXMLFlags(text, 0)
		if err == nil {
			before, err = l.DomainGetXMLDesc(defined, libvirt.DomainXMLInactive|libvirt.DomainXMLSecure)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	vm := configs.VM{
		Name: d.Name, VCPU: d.VCPU, RAMMB: d.RAMMB, Running: new(bool), Autostart: new(bool),
		DiskImage: &configs.VMDisk{URL: "https://example.org/x.qcow2", Dest: filepath.Join(root, d.Name, d.Name+".qcow2")},
	}
	change(&vm)
	want := qemuPlan(root, vm)
	want.URI, want.DomainType = uri, kind
	facts := goodHost()
	facts.Host.Bridges, facts.Host.CPUs = []string{"br0", "br7"}, 64
	live := Facts{Libvirt: facts.Libvirt}
	if err := probeLibvirt(testContext(t), c, kind, &live); err != nil {
		t.Fatal(err)
	}
	facts.Domains = []Domain{*live.domain(d.Name)}
	for _, disk := range facts.Domains[0].Disks {
		facts.Files[disk.Path] = File{Format: disk.Format, Virtual: 20 << 30, Size: 20 << 30}
	}
	facts.Libvirt.KVM, facts.Libvirt.TPM, facts.Libvirt.UEFI, facts.Libvirt.SecureBoot = true, true, true, true
	plan, refusals := MakePlan(want, "testhost", facts, Options{})
	if len(refusals) > 0 {
		refused[codes(refusals)]++
		return
	}
	w := &worker{libvir: c, plan: plan}
	err := w.define(plan.VMs[0]).Do(testContext(t), &news{})
	if err != nil && strings.Contains(err.Error(), "No free USB ports") {
		refused["no free USB port"]++
		return
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	*merged++
	after, _, err := w.described(testContext(t), d.Name)
	if err != nil {
		t.Fatal(err)
	}
	// libvirt gives what is new addresses and a controller, and sorts it in.
	if lost := missingFrom(t, before, after, plan.VMs[0].Differences); lost != "" {
		t.Errorf("%s: besides %v libvirt no longer has %s", what, plan.VMs[0].Differences, lost)
	}
}

// missingFrom is the first device or part, as a whole, that is not there any
// more and that no difference names.
func missingFrom(t *testing.T, before, after string, differences []Difference) string {
	t.Helper()
	doc, err := readTree(after)
	if err != nil {
		t.Fatal(err)
	}
	have := contents(doc)
	if doc, err = readTree(before); err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Root().ChildElements() {
		parts := []*etree.Element{e}
		if e.Tag == "devices" {
			parts = e.ChildElements()
		}
		for _, part := range parts {
			named := slices.ContainsFunc(differences, func(d Difference) bool {
				return slices.ContainsFunc(d.Paths, func(p string) bool { return p == pathOf(part) || strings.HasPrefix(p, pathOf(part)+"/") })
			})
			if !named && !slices.Contains(have, canonical(part)) {
				return canonical(part)
			}
		}
	}
	return ""
}

// TestBaseWithOverlay: after a reinstallation the base of a snapshot is not
// taken for the disk.
func TestBaseWithOverlay(t *testing.T) {
	root := store(t)
	want := qemuPlan(root, running(blank(t, root, "a")))
	mustRun(t, want, Env{})
	virsh(t, "snapshot-create-as", "a", "before-update", "--disk-only")
	overlay := domainOf(t, "a").Disks[0].Path
	base := filepath.Join(root, "a/a.qcow2")
	pack(t, "cp", filepath.Join(root, "a/domain.xml"), filepath.Join(root, "kept.xml"))
	// The next run keeps in domain.xml that the overlay is the disk.
	wantDid(t, mustRun(t, want, Env{}), "vms/a/xml")
	forgetAll(t)
	r := mustRun(t, want, Env{})
	if d := domainOf(t, "a"); d.Disks[0].Path != overlay || r.plan.VMs[0].Spec.Disk != overlay {
		t.Errorf("its disk is %s, want the overlay", d.Disks[0].Path)
	}
	// Where that is not known, both are named and neither is written to.
	for _, forget := range []func(){
		func() { pack(t, "cp", filepath.Join(root, "kept.xml"), filepath.Join(root, "a/domain.xml")) },
		func() { pack(t, "rm", filepath.Join(root, "a/domain.xml")) },
	} {
		forgetAll(t)
		forget()
		want.VMs[0].DiskGB = 1
		before, err := os.ReadFile(base)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tryRun(testContext(t), want, Env{})
		if err == nil || codes(r.refusals) != "disk-overlay" || !strings.Contains(err.Error(), base) || !strings.Contains(err.Error(), overlay) {
			t.Errorf("%v, want disk-overlay with both names", err)
		}
		if err := growFile(testContext(t), base, "qcow2", 1<<30, &news{}); err == nil || !strings.Contains(err.Error(), overlay) {
			t.Errorf("growing the base: %v, want it refused with the overlay", err)
		}
		if after, err := os.ReadFile(base); err != nil || !bytes.Equal(before, after) || virsh(t, "list", "--all", "--name") != "" {
			t.Errorf("the base was written to, or the VM defined (%v)", err)
		}
	}
	// A base that has gone away is named, and no VM is started on the rest.
	pack(t, "mv", base, filepath.Join(root, "away"))
	byHand(t, domainText("a", "", q35OS, diskXML(overlay, "vda", "virtio", "")))
	if r, err := tryRun(testContext(t), want, Env{}); err == nil || codes(r.refusals) != "disk-chain" || !strings.Contains(err.Error(), base) {
		t.Errorf("%v, want disk-chain with %s", err, base)
	}
}

// TestAbsentWithClone: what a clone builds on is not deleted.
func TestAbsentWithClone(t *testing.T) {
	root := store(t)
	want := qemuPlan(root, blank(t, root, "base"), blank(t, root, "clone"))
	mustRun(t, want, Env{})
	base, clone := filepath.Join(root, "base/base.qcow2"), filepath.Join(root, "clone/clone.qcow2")
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../base/base.qcow2", clone)
	want.VMs[0].State = "absent"
	refused := func(what string) {
		t.Helper()
		r, err := tryRun(testContext(t), want, Env{Shutdown: time.Second})
		if err == nil || !strings.Contains(codes(r.refusals), "vm-referenced") || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), base) {
			t.Errorf("%v, want vm-referenced with %s and %s", err, what, base)
		}
		if _, err := os.Stat(base); err != nil {
			t.Fatal(err)
		}
	}
	refused(clone)
	// Libvirt knows it, and it lies elsewhere.
	elsewhere := filepath.Join(root, "../elsewhere.qcow2")
	pack(t, "mv", clone, elsewhere)
	t.Cleanup(func() { os.Remove(elsewhere) })
	pack(t, "qemu-img", "rebase", "-u", "-F", "qcow2", "-b", base, elsewhere)
	virsh(t, "undefine", "--nvram", "clone")
	pack(t, "rm", "-r", filepath.Join(root, "clone"))
	want.VMs = want.VMs[:1]
	byHand(t, domainText("other", "", q35OS, diskXML(elsewhere, "vda", "virtio", "")))
	refused(elsewhere)
	// A VM that has the file itself.
	virsh(t, "undefine", "other")
	pack(t, "rm", elsewhere)
	byHand(t, domainText("rescue", "", q35OS, diskXML(base, "vdb", "virtio", "")))
	refused("the VM rescue")
	virsh(t, "undefine", "rescue")
	// One that appears after the plan was made.
	facts, err := Probe(testContext(t), want, "/")
	if err != nil {
		t.Fatal(err)
	}
	p, refusals := MakePlan(want, "testhost", facts, Options{})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	steps, err := p.Steps(Env{Shutdown: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	late := filepath.Join(root, "late.qcow2")
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, late)
	if _, err := runnerOf(1).Run(testContext(t), steps); err == nil || !strings.Contains(err.Error(), late) {
		t.Errorf("err = %v, want %s named", err, late)
	}
	if _, err := os.Stat(base); err != nil {
		t.Fatal(err)
	}
	pack(t, "rm", late)
	mustRun(t, want, Env{Shutdown: time.Second})
	if _, err := os.Stat(base); err == nil {
		t.Error("the base is still there")
	}
}

// TestPausedByError: a VM that an I/O error has stopped, and one whose disk is
// gone, are not well, whatever libvirt's state is called.
func TestPausedByError(t *testing.T) {
	root := store(t)
	if err := os.Mkdir(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(root, "a"), "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, "a"), unix.MNT_DETACH) })
	sector := filepath.Join(root, "sector")
	if err := os.WriteFile(sector, bootWriter(), 0o644); err != nil {
		t.Fatal(err)
	}
	disk := qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M")
	pack(t, "qemu-io", "-f", "qcow2", "-c", "write -s "+sector+" 0 512", disk)
	byHand(t, domainText("a", "", q35OS, diskXML(disk, "vda", "virtio", "")))
	want := qemuPlan(root, running(blank(t, root, "a")))
	if _, err := tryRun(testContext(t), want, Env{}); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(30*time.Second, "the I/O error", func() bool { return strings.HasPrefix(virsh(t, "domstate", "a", "--reason"), "paused") }); err != nil {
		t.Fatal(err, virsh(t, "domstate", "a", "--reason"))
	}
	look := func() VMStatus {
		t.Helper()
		facts, err := Probe(testContext(t), want, "/")
		if err != nil {
			t.Fatal(err)
		}
		p, _ := MakePlan(want, "testhost", facts, Options{})
		return MakeStatus(p, facts).VMs[0]
	}
	s := look()
	if s.State != "paused" || len(s.Troubles) != 1 || s.Troubles[0] != "paused: I/O error of vda" || !strings.Contains(s.Advice, "virsh resume a") {
		t.Errorf("status %+v", s)
	}
	if r := mustRun(t, want, Env{}); r.changed != 0 || !strings.Contains(fmt.Sprint(r.plan.Notes), "I/O error") {
		t.Errorf("did %v, notes %v; want nothing done, and it said", r.did(), r.plan.Notes)
	}
	// Somebody's own pause is none.
	virsh(t, "destroy", "a")
	virsh(t, "start", "a", "--paused")
	if s = look(); len(s.Troubles) != 0 {
		t.Errorf("paused by hand: %v", s.Troubles)
	}
	pack(t, "rm", disk)
	if s = look(); len(s.Troubles) != 1 || !strings.Contains(s.Troubles[0], "gone while it runs: "+disk) || !strings.Contains(s.Advice, "do not stop it") {
		t.Errorf("status %+v", s)
	}
	virsh(t, "destroy", "a")
	if s = look(); len(s.Troubles) != 1 || !strings.Contains(s.Troubles[0], "is not there: "+disk) {
		t.Errorf("status %+v", s)
	}
}

// bootWriter is a boot sector that writes to its disk, cylinder after cylinder:
//
//	xor ax, ax; mov es, ax; mov bx, 0x7c00; mov cx, 2; mov dx, 0x80
//	again: mov ax, 0x0310; int 0x13; inc ch; jmp again
func bootWriter() []byte {
	sector := make([]byte, 512)
	copy(sector, "\x31\xc0\x8e\xc0\xbb\x00\x7c\xb9\x02\x00\xba\x80\x00\xb8\x10\x03\xcd\x13\xfe\xc5\xeb\xf7")
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// TestManagedSave: what a saved state holds back is said by the first run.
func TestManagedSave(t *testing.T) {
	root := store(t)
	want := qemuPlan(root, running(blank(t, root, "a")))
	mustRun(t, want, Env{})
	virsh(t, "managedsave", "a")
	want.VMs[0].RAMMB = 96
	r := mustRun(t, want, Env{})
	if line := r.plan.VMs[0].RestartLine(); line != "restart needed: ram 64 → 96 MiB" || !strings.Contains(fmt.Sprint(r.plan.Notes), "managed save") {
		t.Errorf("RestartLine() = %q, notes %v", line, r.plan.Notes)
	}
	if d := domainOf(t, "a"); !d.Active || d.LiveRAMMB != 64 || d.RAMMB != 96 {
		t.Errorf("it runs %v with %d MiB, and will have %d", d.Active, d.LiveRAMMB, d.RAMMB)
	}
	virsh(t, "managedsave", "a")
	wantDid(t, mustRun(t, want, Env{Restart: true, Shutdown: time.Second}), "vms/a/start", "vms/a/restart")
	if d := domainOf(t, "a"); d.LiveRAMMB != 96 {
		t.Errorf("after the restart it has %d MiB", d.LiveRAMMB)
	}
}

// TestPrevious: what something is about to destroy is kept, and what purge_after
// has moved aside comes back whole.
func TestPrevious(t *testing.T) {
	root := store(t)
	vm := running(blank(t, root, "a"))
	vm.Firmware.TPM = true
	want := qemuPlan(root, vm)
	mustRun(t, want, Env{})
	before := domainOf(t, "a")
	tpm, vars := filepath.Join("/var/lib/libvirt/swtpm", before.UUID), filepath.Join(root, "a/a_VARS.fd")
	// A change of memory destroys nothing; one of the MAC changes hardware.
	want.VMs[0].RAMMB = 96
	wantDid(t, mustRun(t, want, Env{}), "vms/a/define", "vms/a/xml")
	want.VMs[0].MACAddress = "52:54:00:99:99:99"
	wantDid(t, mustRun(t, want, Env{}), "vms/a/keep", "vms/a/define", "vms/a/xml")
	kept := readPrevious("/", root, time.Now())
	if len(kept) != 1 || kept[0].VM != "a" || kept[0].NVRAM != vars || kept[0].TPM != tpm || kept[0].Until.Sub(kept[0].Made) != keptFor {
		t.Fatalf("kept %+v", kept)
	}
	info, err := os.Stat(kept[0].Path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want a directory for root alone", info.Mode(), err)
	}
	pack(t, "cmp", vars, filepath.Join(kept[0].Path, "nvram"))
	pack(t, "diff", "-r", "-x", ".lock", tpm, filepath.Join(kept[0].Path, "tpm"))
	if text, err := os.ReadFile(filepath.Join(kept[0].Path, "domain.xml")); err != nil || !strings.Contains(string(text), before.NICs[0].MAC) {
		t.Errorf("the definition that was (%v) is\n%s", err, text)
	}
	// Absent with purge_after: aside, and back.
	wantNothing(t, want, Env{})
	pack(t, "sh", "-c", "echo dear >"+filepath.Join(root, "a/note"))
	text := domainOf(t, "a").Inactive
	want.VMs[0].State, want.VMs[0].PurgeAfter = "absent", configs.Duration(7*24*time.Hour)
	r := mustRun(t, want, Env{Shutdown: time.Second})
	wantDid(t, r, "vms/a/shutdown", "vms/a/keep", "vms/a/undefine", "vms/a/delete")
	if lines := strings.Join(r.plan.VMs[0].Lost.Lines("a"), "\n"); !strings.Contains(lines, "moved aside and deleted after 7d") || strings.Contains(lines, "FOR EVER") {
		t.Errorf("the preview says\n%s", lines)
	}
	if _, err := os.Lstat(filepath.Join(root, "a")); err == nil || virsh(t, "list", "--all", "--name") != "" {
		t.Error("the VM is still there")
	}
	wantNothing(t, want, Env{})
	if _, err := Undelete(testContext(t), want, "a"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("undelete of what the layout has as absent: %v", err)
	}
	want.VMs[0].State = "present"
	facts, err := Probe(testContext(t), want, "/")
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := MakePlan(want, "testhost", facts, Options{}); !strings.Contains(fmt.Sprint(p.Notes), "hvinstall undelete a") {
		t.Errorf("notes %v, want the way back", p.Notes)
	}
	if _, err := os.Stat(tpm); err == nil {
		t.Error("the TPM's state was left behind")
	}
	said, err := Undelete(testContext(t), want, "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(said)
	if note, err := os.ReadFile(filepath.Join(root, "a/note")); err != nil || string(note) != "dear\n" {
		t.Errorf("the note is %q, %v", note, err)
	}
	if d := domainOf(t, "a"); !sameContents(d.Inactive, text) || d.Active {
		t.Errorf("it is back as\n%s", d.Inactive)
	}
	if _, err := os.Stat(filepath.Join(tpm, "tpm2/tpm2-00.permall")); err != nil {
		t.Error(err)
	}
	if _, err := Undelete(testContext(t), want, "a"); err == nil {
		t.Error("undelete of what is there")
	}
	mustRun(t, want, Env{})
	wantNothing(t, want, Env{})
	if d := domainOf(t, "a"); !d.Active {
		t.Error("it does not start")
	}
	// Out of time, the disks go, and nothing else does.
	want.VMs[0].State = "absent"
	mustRun(t, want, Env{Shutdown: time.Second})
	entries := readPrevious("/", root, time.Now())
	last := entries[len(entries)-1]
	if !last.Disks {
		t.Fatalf("the newest entry is %+v", last)
	}
	last.DisksUntil = time.Now().Add(-time.Minute)
	if err := writeEntry(last.Path, last); err != nil {
		t.Fatal(err)
	}
	r = mustRun(t, want, Env{})
	wantDid(t, r, "vms/previous")
	if !strings.Contains(fmt.Sprint(r.plan.Notes), "deleted now") {
		t.Errorf("notes %v", r.plan.Notes)
	}
	after := readPrevious("/", root, time.Now())
	if len(after) != len(entries) || after[len(after)-1].Disks {
		t.Errorf("kept %+v", after)
	}
	if _, err := os.Stat(filepath.Join(last.Path, "domain.xml")); err != nil {
		t.Error(err)
	}
	wantNothing(t, want, Env{})
}

// TestStaleSocket: of two sockets, the one that answers is used.
func TestStaleSocket(t *testing.T) {
	u, err := url.Parse(defaultURI)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]string{{stale, libvirtSocket}, {libvirtSocket, stale}, {filepath.Join(dir, "none"), libvirtSocket}} {
		l, err := dial(dialURIs(u, order))
		if err != nil {
			t.Errorf("%v: %v", order, err)
			continue
		}
		if _, err := l.ConnectGetLibVersion(); err != nil {
			t.Errorf("%v: %v", order, err)
		}
		_ = l.Disconnect()
	}
	if _, err := dial(dialURIs(u, []string{stale})); err == nil {
		t.Error("a stale socket answered")
	}
}

// TestGuestSeesTheSame looks from inside: the guest's PCI devices, its NICs'
// names and addresses and its SMBIOS UUID are the same after an adoption and a
// change of memory, and after a drive was added on a bus that it has.
func TestGuestSeesTheSame(t *testing.T) {
	a, root := applianceImages(t), store(t)
	serveLeases(t)
	disk := filepath.Join(root, "a/odd.qcow2")
	if err := os.Mkdir(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", a.Disk, disk)
	at := func(bus, slot int) string {
		return fmt.Sprintf(`<address type='pci' domain='0x0000' bus='0x%02x' slot='0x%02x' function='0x0'/>`, bus, slot)
	}
	byHand(t, strings.Replace(domainText("a", "", q35OS+`<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>`+root+`/odd.fd</nvram>`,
		diskXML(qcow2(t, filepath.Join(root, "data.qcow2"), "10M"), "sda", "scsi", `<serial>DATA</serial>`)+diskXML(disk, "vda", "virtio", `<boot order='3'/>`+at(6, 0))+
			`<controller type='scsi' index='0' model='virtio-scsi'>`+at(8, 0)+`</controller>
<interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br0'/><model type='virtio'/>`+at(9, 0)+`</interface>
<interface type='bridge'><mac address='52:54:00:aa:00:01'/><source bridge='br0'/><model type='virtio'/>`+at(3, 0)+`</interface>
<serial type='pty'/><sound model='ich9'/><video><model type='virtio'/></video><rng model='virtio'><backend model='random'>/dev/urandom</backend>`+at(7, 0)+`</rng>`),
		"<memory unit='MiB'>64", "<memory unit='MiB'>256", 1))
	hardware := func(name string) string {
		t.Helper()
		virsh(t, "start", name)
		said := console(t, name, `(?s)appliance: haos is up.*appliance: haos is ready`, 3*time.Minute)
		virsh(t, "destroy", name)
		lines := regexp.MustCompile(`appliance: (pci|nic|uuid) [^\r\n]*`).FindAllString(said, -1)
		if len(lines) < 10 {
			t.Fatalf("the guest says of its hardware\n%s", said)
		}
		return strings.Join(lines, "\n")
	}
	before := hardware("a")
	want := qemuPlan(root, blank(t, root, "a"))
	want.VMs[0].RAMMB, want.VMs[0].Autostart = 320, new(bool)
	mustRun(t, want, Env{})
	if after := hardware("a"); after != before {
		t.Errorf("adopted, the guest sees\n%s\nand saw\n%s", after, before)
	}
	want.VMs[0].RAMMB, want.VMs[0].CloudInit = 288, &configs.Cloud{UserData: "#cloud-config\n"}
	mustRun(t, want, Env{})
	if after := hardware("a"); after != before {
		t.Errorf("with a seed, the guest sees\n%s\nand saw\n%s", after, before)
	}
	// The host is installed anew: the same again, from domain.xml.
	forgetAll(t)
	mustRun(t, want, Env{})
	if after := hardware("a"); after != before {
		t.Errorf("from domain.xml, the guest sees\n%s\nand saw\n%s", after, before)
	}
	t.Logf("it sees\n%s", before)
}

// TestTransient: a VM that runs without a definition gets one, which is what it
// runs with, and goes on running.
func TestTransient(t *testing.T) {
	root := store(t)
	disk := qcow2(t, filepath.Join(root, "a/a.qcow2"), "64M")
	file := filepath.Join(root, "a.xml")
	text := domainText("a", "", q35OS, diskXML(disk, "vda", "virtio", "")+`<interface type='bridge'><mac address='52:54:00:aa:00:09'/><source bridge='br0'/><model type='e1000e'/></interface>`)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	virsh(t, "create", file)
	before := domainOf(t, "a")
	want := qemuPlan(root, running(blank(t, root, "a")))
	r := mustRun(t, want, Env{})
	after := domainOf(t, "a")
	if v := r.plan.VMs[0]; before.Persistent || v.Action != Adopt || !after.Persistent || !after.Active || after.UUID != before.UUID || after.NICs[0] != before.NICs[0] {
		t.Errorf("%s; it was %+v, and is %+v", v.Action, before, after)
	}
	addresses := func(text string) string {
		found := regexp.MustCompile(`<address [^>]*>`).FindAllString(text, -1)
		slices.Sort(found)
		return strings.Join(found, "\n")
	}
	if a, b := addresses(before.Live), addresses(after.Inactive); a != b || a == "" {
		t.Errorf("its devices are at\n%s\nand were at\n%s", b, a)
	}
	wantNothing(t, want, Env{})
}
