//go:build libvirt

package vmstore

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"

	"github.com/digitalocean/go-libvirt"
)

// blankURL is an image that is quickly there and never boots.
func blankURL(t testing.TB) string {
	t.Helper()
	const path = "/mnt/blank.qcow2"
	if _, err := os.Stat(path); err != nil {
		pack(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
	}
	return "file://" + path
}

// blank is an appliance VM that never boots.
func blank(t testing.TB, root, name string) configs.VM {
	t.Helper()
	return configs.VM{
		Name: name, VCPU: 1, RAMMB: 64, Running: new(bool),
		DiskImage: &configs.VMDisk{URL: blankURL(t), Dest: filepath.Join(root, name, name+".qcow2")},
	}
}

func running(vm configs.VM) configs.VM {
	on := true
	vm.Running = &on
	return vm
}

// validate asks virt-xml-validate and libvirt.
func validate(t testing.TB, xml string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "domain.xml")
	if err := os.WriteFile(file, []byte(xml), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("virt-xml-validate", file, "domain").CombinedOutput(); err != nil {
		t.Errorf("virt-xml-validate: %v: %s\n%s", err, out, xml)
	}
}

// domainOf is what a probe sees of one VM.
func domainOf(t testing.TB, name string) Domain {
	t.Helper()
	facts, err := Probe(testContext(t), qemuPlan("/mnt/none"), "/")
	if err != nil {
		t.Fatal(err)
	}
	if d := facts.domain(name); d != nil {
		return *d
	}
	t.Fatalf("libvirt does not know %s", name)
	return Domain{}
}

func wantNothing(t testing.TB, want configs.VMPlan, env Env) run {
	t.Helper()
	r := mustRun(t, want, env)
	if r.changed != 0 {
		t.Errorf("a further run did %v, want nothing", r.did())
	}
	return r
}

func wantDid(t testing.TB, r run, ids ...string) {
	t.Helper()
	if have := strings.Join(r.did(), " "); have != strings.Join(ids, " ") {
		t.Errorf("did %q, want %q", have, strings.Join(ids, " "))
	}
}

// TestDefinitionsAreValid: every form of VM passes both validators, and what
// libvirt makes of it is no difference.
func TestDefinitionsAreValid(t *testing.T) {
	root := store(t)
	yes, no := true, false
	iso := &configs.VMISO{URL: "file:///mnt/tiny.iso", Dest: filepath.Join(root, "iso/i.iso")}
	if err := os.WriteFile("/mnt/tiny.iso", isoOfTest(t), 0o644); err != nil {
		t.Fatal(err)
	}
	forms := map[string]func(*configs.VM){
		"plain": func(*configs.VM) {},
		"bios":  func(v *configs.VM) { v.Firmware.UEFI = &no },
		"sb":    func(v *configs.VM) { v.Firmware.SecureBoot = true },
		"tpm":   func(v *configs.VM) { v.Firmware.TPM = true },
		"usb": func(v *configs.VM) {
			v.USBDevices = []configs.USBHost{{VendorID: "0x1A86", ProductID: "0x7523"}, {VendorID: "10c4", ProductID: "ea60"}}
		},
		"seed": func(v *configs.VM) { v.CloudInit = &configs.Cloud{UserData: "#cloud-config\n"} },
		"iso":  func(v *configs.VM) { v.DiskImage, v.ISOImage = nil, iso },
		"iso-out": func(v *configs.VM) {
			v.DiskImage = nil
			v.ISOImage = &configs.VMISO{URL: iso.URL, Dest: filepath.Join(root, "iso-out/i.iso"), EnableMount: &no}
		},
		"all": func(v *configs.VM) {
			v.DiskImage = nil
			v.ISOImage = &configs.VMISO{URL: iso.URL, Dest: filepath.Join(root, "all/i.iso"), EnableMount: &yes}
			v.CloudInit = &configs.Cloud{}
			v.Firmware = configs.Firmware{UEFI: &yes, SecureBoot: true, TPM: true}
			v.USBDevices = []configs.USBHost{{VendorID: "0x1a87", ProductID: "0x7523"}}
			v.VCPU = 2
		},
		"name with.odd+chars": func(*configs.VM) {},
	}
	var vms []configs.VM
	for name, form := range forms {
		vm := blank(t, root, name)
		form(&vm)
		vms = append(vms, vm)
	}
	want := qemuPlan(root, vms...)
	r := mustRun(t, want, Env{})
	for _, v := range r.plan.VMs {
		validate(t, v.XML)
		have, err := os.ReadFile(filepath.Join(v.Spec.Dir, "domain.xml"))
		if err != nil || string(have) != domainOf(t, v.Name).Inactive {
			t.Errorf("%s: domain.xml is not what libvirt has (%v)", v.Name, err)
		}
		kvm := v.Spec
		kvm.DomainType = "kvm"
		text, err := domainXML(kvm)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, text)
	}
	again := wantNothing(t, want, Env{})
	c, err := newConnection(defaultURI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for i, v := range again.plan.VMs {
		if err := c.do(testContext(t), func(l *libvirt.Libvirt) error {
			_, err := l.DomainDefineXMLFlags(v.XML, libvirt.DomainDefineValidate)
			return err
		}); err != nil {
			t.Errorf("%s: DomainDefineXMLFlags(VALIDATE): %v", v.Name, err)
		}
		if v.Action != Keep || len(v.Differences) > 0 || v.Name != r.plan.VMs[i].Name {
			t.Errorf("%s: %s with differences %v; want keep, and none", v.Name, v.Action, v.Differences)
		}
	}
	// libvirt chooses the firmware when a VM starts.
	for name, firmware := range map[string]string{"plain": "OVMF_CODE_4M.fd", "sb": "OVMF_CODE_4M.ms.fd"} {
		virsh(t, "start", name)
		if d := domainOf(t, name); !strings.Contains(d.Live, firmware) {
			t.Errorf("%s: the firmware is not %s:\n%s", name, firmware, d.Live)
		}
		if again := wantNothing(t, want, Env{}); len(again.plan.RestartLines()) > 0 {
			t.Errorf("%s: right after the start: %v", name, again.plan.RestartLines())
		}
		virsh(t, "destroy", name)
	}
	// Asked for later, Secure Boot takes another firmware and the same variables,
	// which are kept besides.
	plain := slices.IndexFunc(want.VMs, func(v configs.VM) bool { return v.Name == "plain" })
	want.VMs[plain].Firmware.SecureBoot = true
	vars := domainOf(t, "plain").NVRAM
	before, err := os.ReadFile(vars)
	if err != nil {
		t.Fatal(err)
	}
	wantDid(t, mustRun(t, want, Env{}), "vms/plain/keep", "vms/plain/define", "vms/plain/xml")
	kept := readPrevious("/", root, time.Now())
	if len(kept) != 1 || kept[0].NVRAM != vars {
		t.Fatalf("kept %+v, want %s", kept, vars)
	}
	wantFile(t, filepath.Join(kept[0].Path, keptNVRAM), before)
	wantFile(t, vars, before)
	virsh(t, "start", "plain")
	if d := domainOf(t, "plain"); !strings.Contains(d.Live, "OVMF_CODE_4M.ms.fd") || d.NVRAM != vars {
		t.Errorf("with Secure Boot its variables are %s, want %s, and it runs with\n%s", d.NVRAM, vars, d.Live)
	}
}

// TestChangeWhileRunning: a change is made in place, the running VM is not
// touched, and what waits for a restart is said until it is so.
func TestChangeWhileRunning(t *testing.T) {
	root := store(t)
	vm := running(blank(t, root, "a"))
	want := qemuPlan(root, vm)
	mustRun(t, want, Env{})
	before := domainOf(t, "a")
	want.VMs[0].RAMMB = 96
	r := mustRun(t, want, Env{})
	wantDid(t, r, "vms/a/define", "vms/a/xml")
	if r.plan.VMs[0].Action != Change || fmt.Sprint(r.plan.VMs[0].Differences) != "[ram 64 → 96 MiB]" {
		t.Errorf("%s %v, want change [ram 64 → 96 MiB]", r.plan.VMs[0].Action, r.plan.VMs[0].Differences)
	}
	for range 2 {
		r = wantNothing(t, want, Env{})
		if line := r.plan.VMs[0].RestartLine(); line != "restart needed: ram 64 → 96 MiB" {
			t.Errorf("RestartLine() = %q", line)
		}
	}
	after := domainOf(t, "a")
	if after.UUID != before.UUID || !after.Active || after.LiveRAMMB != 64 || after.RAMMB != 96 {
		t.Errorf("the VM is %+v; want the same one, running with 64 MiB", after)
	}
	r = mustRun(t, want, Env{Restart: true, Shutdown: time.Second})
	wantDid(t, r, "vms/a/restart")
	if r = wantNothing(t, want, Env{Restart: true}); len(r.plan.RestartLines()) > 0 {
		t.Errorf("after the restart: %v", r.plan.RestartLines())
	}
	if d := domainOf(t, "a"); d.LiveRAMMB != 96 {
		t.Errorf("it runs with %d MiB, want 96", d.LiveRAMMB)
	}
}

// TestEditedByHand: what virsh edit changed against the layout is changed
// back; what it added is kept.
func TestEditedByHand(t *testing.T) {
	root := store(t)
	want := qemuPlan(root, blank(t, root, "a"))
	mustRun(t, want, Env{})
	virsh(t, "setmaxmem", "a", "128M", "--config")
	r := mustRun(t, want, Env{})
	wantDid(t, r, "vms/a/define")
	if d := domainOf(t, "a"); d.RAMMB != 64 {
		t.Errorf("ram is %d, want 64", d.RAMMB)
	}
	extra := filepath.Join(root, "extra.qcow2")
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", extra, "10M")
	virsh(t, "attach-disk", "a", extra, "vdb", "--config", "--subdriver", "qcow2")
	virsh(t, "desc", "a", "--config", "somebody's words")
	// What they put in is kept beside the disk too, and nothing else done.
	wantDid(t, mustRun(t, want, Env{}), "vms/a/xml")
	wantNothing(t, want, Env{})
	want.VMs[0].RAMMB = 96
	r = mustRun(t, want, Env{})
	if fmt.Sprint(r.plan.VMs[0].ByHand) != "[disk:vdb]" {
		t.Errorf("ByHand = %v, want [disk:vdb]", r.plan.VMs[0].ByHand)
	}
	d := domainOf(t, "a")
	if len(d.Disks) != 2 || d.Disks[1].Path != extra || d.RAMMB != 96 {
		t.Errorf("disks %v, ram %d; want the added disk kept and 96", d.Disks, d.RAMMB)
	}
	wantNothing(t, want, Env{})
	// A snapshot's overlay is the disk now, and stays it.
	virsh(t, "snapshot-create-as", "a", "s1", "--disk-only", "--diskspec", "vdb,snapshot=no")
	overlay := domainOf(t, "a").Disks[0].Path
	want.VMs[0].RAMMB = 80
	mustRun(t, want, Env{})
	if d := domainOf(t, "a"); overlay == filepath.Join(root, "a/a.qcow2") || d.Disks[0].Path != overlay || d.RAMMB != 80 {
		t.Errorf("the disk is %s, ram %d; want the overlay %s kept, and 80", d.Disks[0].Path, d.RAMMB, overlay)
	}
	wantNothing(t, want, Env{})
	// What the layout had and no longer has goes.
	want.VMs[0].USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}}
	mustRun(t, want, Env{})
	want.VMs[0].USBDevices = nil
	mustRun(t, want, Env{})
	if d := domainOf(t, "a"); len(d.USB) != 0 || len(d.Disks) != 2 {
		t.Errorf("USB %v, disks %v; want the USB device gone and the disk kept", d.USB, d.Disks)
	}
}

// TestAdopt takes over a VM made by hand: its UUID, disk, MAC, bus, machine
// and firmware stay.
func TestAdopt(t *testing.T) {
	root := store(t)
	disk := filepath.Join(root, "old.qcow2")
	pack(t, "qemu-img", "create", "-q", "-f", "qcow2", disk, "80M")
	xml := fmt.Sprintf(`<domain type='qemu'><name>old</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='sda' bus='sata'/></disk>
<interface type='bridge'><mac address='52:54:00:aa:bb:cc'/><source bridge='br0'/><model type='e1000'/></interface></devices></domain>`, disk)
	file := filepath.Join(root, "old.xml")
	if err := os.WriteFile(file, []byte(xml), 0o644); err != nil {
		t.Fatal(err)
	}
	virsh(t, "define", file)
	virsh(t, "start", "old")
	before := domainOf(t, "old")
	want := qemuPlan(root, running(blank(t, root, "old")))
	want.VMs[0].RAMMB, want.VMs[0].Running, want.DomainType = 96, nil, ""
	r := mustRun(t, want, Env{})
	v := r.plan.VMs[0]
	if v.Action != Adopt || len(r.plan.Images) != 0 || !strings.Contains(join(v.Differences), "ram 64 → 96 MiB") {
		t.Errorf("%s, images %v, differences %v; want adopt, none, and the ram", v.Action, r.plan.Images, v.Differences)
	}
	after := domainOf(t, "old")
	if after.UUID != before.UUID || after.Disks[0] != before.Disks[0] || after.NICs[0] != before.NICs[0] ||
		after.Machine != before.Machine || after.UEFI || after.LiveRAMMB != 64 || !after.Active || after.Autostart || after.Type != "qemu" {
		t.Errorf("it was\n%+v, and is\n%+v", before, after)
	}
	if said := fmt.Sprint(r.plan.Notes); !strings.Contains(said, "does not start with the host, and stays so") {
		t.Errorf("notes %s", said)
	}
	if r = wantNothing(t, want, Env{}); r.plan.VMs[0].Action != Keep {
		t.Errorf("then it is %s, want keep", r.plan.VMs[0].Action)
	}
	if _, err := os.Stat(filepath.Join(root, "old", "old.qcow2")); err == nil {
		t.Error("an image was downloaded for a VM that has its disk")
	}
	// Off, it is not started, until the layout says so; in an order of the
	// host's it is where the layout says when.
	virsh(t, "destroy", "old")
	virsh(t, "autostart", "old")
	if wantNothing(t, want, Env{}); domainOf(t, "old").Active {
		t.Error("it was off, and was started")
	}
	if err := StartDefined(testContext(t), want, &news{}); err != nil || domainOf(t, "old").Active {
		t.Errorf("the boot (%v) started it beside libvirt", err)
	}
	on := true
	want.VMs[0].Running = &on
	wantDid(t, mustRun(t, want, Env{}), "vms/old/start")
	want.VMs[0].Autostart = new(bool)
	wantDid(t, mustRun(t, want, Env{}), "vms/old/autostart")
	// Removing it leaves the disk that lies elsewhere.
	want.VMs[0].State = "absent"
	r = mustRun(t, want, Env{Shutdown: time.Second})
	if lines := strings.Join(r.plan.VMs[0].Lost.Lines("old"), "\n"); !strings.Contains(lines, "not deleted, it lies elsewhere: "+disk) {
		t.Errorf("Lost says\n%s", lines)
	}
	if _, err := os.Stat(disk); err != nil {
		t.Errorf("the disk outside the VM's directory is gone: %v", err)
	}
}

// TestDisksGrow: online through libvirt, offline by qemu-img, never smaller.
func TestDisksGrow(t *testing.T) {
	root := store(t)
	on, off := running(blank(t, root, "on")), blank(t, root, "off")
	want := qemuPlan(root, on, off)
	mustRun(t, want, Env{})
	virtual := func(name string) int64 {
		f, err := inspect(filepath.Join(root, name, name+".qcow2"))
		if err != nil {
			t.Fatal(err)
		}
		return f.Virtual
	}
	want.VMs[0].DiskGB, want.VMs[1].DiskGB = 2, 2
	r := mustRun(t, want, Env{})
	if r.changed != 2 || virtual("on") != 2<<30 || virtual("off") != 2<<30 {
		t.Errorf("did %v; on has %d, off has %d; want 2 GiB each", r.did(), virtual("on"), virtual("off"))
	}
	for _, e := range r.events {
		if strings.Contains(e.Message, "qemu-img") && e.Step == "vms/on/grow" {
			t.Errorf("qemu-img on a running VM: %s", e.Message)
		}
	}
	if out := virsh(t, "domblkinfo", "on", "vda"); !strings.Contains(out, "2147483648") {
		t.Errorf("the running VM sees %s", out)
	}
	want.VMs[0].DiskGB, want.VMs[1].DiskGB = 1, 1
	r = wantNothing(t, want, Env{})
	if virtual("on") != 2<<30 || virtual("off") != 2<<30 || len(r.plan.Notes) < 2 || !strings.Contains(r.plan.Notes[0].What, "never shrunk") {
		t.Errorf("on has %d, off has %d, notes %v; want 2 GiB kept, and said", virtual("on"), virtual("off"), r.plan.Notes)
	}
	// Our own code refuses, even when asked directly.
	c, err := newConnection(defaultURI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	w := &worker{libvir: c}
	d, _, err := c.lookup(testContext(t), "on")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.growOnline(testContext(t), d, r.plan.VMs[0].Spec, 1<<30); err == nil || !strings.Contains(err.Error(), "never shrunk") {
		t.Errorf("growOnline to less: %v, want a ShrinkError", err)
	}
	if err := growFile(testContext(t), r.plan.VMs[1].Spec.Disk, "qcow2", 1<<30, &news{}); err == nil || !strings.Contains(err.Error(), "never shrunk") {
		t.Errorf("growFile to less: %v, want a ShrinkError", err)
	}
}

// TestAbsent removes everything libvirt and the pool have of a VM.
func TestAbsent(t *testing.T) {
	root := store(t)
	vm := running(blank(t, root, "gone"))
	vm.Firmware.TPM = true
	other := blank(t, root, "other")
	want := qemuPlan(root, vm, other)
	mustRun(t, want, Env{})
	virsh(t, "snapshot-create-as", "gone", "s1", "--disk-only", "--no-metadata")
	virsh(t, "managedsave", "gone")
	tpm := filepath.Join("/var/lib/libvirt/swtpm", domainOf(t, "gone").UUID)
	if _, err := os.Stat(tpm); err != nil {
		t.Fatalf("there is no TPM state to remove: %v", err)
	}
	if err := os.Symlink("/etc", filepath.Join(root, "gone", "link")); err != nil {
		t.Fatal(err)
	}
	want.VMs[0].State = "absent"
	want.VMs[0].Protected = true
	facts, err := Probe(testContext(t), want, "/")
	if err != nil {
		t.Fatal(err)
	}
	if _, refusals := MakePlan(want, "testhost", facts, Options{}); len(refusals) != 1 || refusals[0].Code != "vm-protected" {
		t.Errorf("refusals %v, want vm-protected", refusals)
	}
	want.VMs[0].Protected = false
	r := mustRun(t, want, Env{Shutdown: time.Second})
	wantDid(t, r, "vms/gone/keep", "vms/gone/undefine", "vms/gone/delete")
	if out := virsh(t, "list", "--all", "--name"); out != "other" {
		t.Errorf("libvirt has %q, want other", out)
	}
	for _, path := range []string{filepath.Join(root, "gone"), tpm, "/var/lib/libvirt/qemu/save/gone.save"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Error("the symlink was followed")
	}
	if r = wantNothing(t, want, Env{}); r.plan.VMs[0].Action != Gone {
		t.Errorf("then it is %s, want gone", r.plan.VMs[0].Action)
	}
	// The other one is out of the layout: said, and not touched.
	want.VMs = want.VMs[:1]
	r = wantNothing(t, want, Env{})
	if len(r.plan.Undeclared) != 1 || r.plan.Undeclared[0].Name != "other" {
		t.Errorf("undeclared %v, want other", r.plan.Undeclared)
	}
	domainOf(t, "other")
}

// TestDiskGone: a pool that is not mounted is not a reason to make VMs anew.
func TestDiskGone(t *testing.T) {
	root := store(t)
	want := qemuPlan(root, blank(t, root, "a"))
	mustRun(t, want, Env{})
	if err := os.Rename(filepath.Join(root, "a"), filepath.Join(root, "away")); err != nil {
		t.Fatal(err)
	}
	r, err := tryRun(testContext(t), want, Env{})
	if err == nil || r.refusals[0].Code != "disk-gone" {
		t.Errorf("err %v, refusals %v; want disk-gone", err, r.refusals)
	}
	if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
		t.Error("the VM's directory was made anew")
	}
}

// TestSeed is judged by blkid, isoinfo and the kernel.
func TestSeed(t *testing.T) {
	root := store(t)
	userData := filepath.Join(root, "user-data.yaml")
	if err := os.WriteFile(userData, []byte("#cloud-config\nhostname: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vm := running(blank(t, root, "a"))
	vm.CloudInit = &configs.Cloud{UserData: userData, NetworkConfig: "version: 2\n"}
	want := qemuPlan(root, vm)
	mustRun(t, want, Env{})
	seed := filepath.Join(root, "a", "seed.iso")
	out, err := exec.Command("blkid", "-p", "-o", "export", seed).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("LABEL=CIDATA")) || !bytes.Contains(out, []byte("TYPE=iso9660")) {
		t.Errorf("blkid: %v: %s", err, out)
	}
	out, err = exec.Command("isoinfo", "-J", "-f", "-i", seed).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("/meta-data\n")) || !bytes.Contains(out, []byte("/user-data\n")) || !bytes.Contains(out, []byte("/network-config\n")) {
		t.Errorf("isoinfo: %v: %s", err, out)
	}
	out, err = exec.Command("isoinfo", "-J", "-x", "/user-data", "-i", seed).CombinedOutput()
	if err != nil || string(out) != "#cloud-config\nhostname: x\n" {
		t.Errorf("user-data: %v: %q", err, out)
	}
	out, err = exec.Command("isoinfo", "-J", "-x", "/meta-data", "-i", seed).CombinedOutput()
	if err != nil || string(out) != "instance-id: a\nlocal-hostname: a\n" {
		t.Errorf("meta-data: %v: %q", err, out)
	}
	wantNothing(t, want, Env{})
	if err := os.WriteFile(userData, []byte("#cloud-config\nhostname: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantDid(t, mustRun(t, want, Env{}), "vms/a/seed")
}

// TestTemplates overrides both templates.
func TestTemplates(t *testing.T) {
	root := store(t)
	file := filepath.Join(root, "vm.xml.tmpl")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`<domain type='{{.DomainType}}'><name>{{xml .Name}}</name><uuid>{{.UUID}}</uuid><metadata><own xmlns="urn:own">kept</own></metadata>
<memory unit='MiB'>{{.RAMMB}}</memory><vcpu>{{.VCPU}}</vcpu><os><type arch='x86_64' machine='{{.Machine}}'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='{{.DiskFormat}}'/><source file='{{.Disk}}'/><target dev='{{.DiskTarget}}' bus='{{.DiskBus}}'/></disk></devices></domain>`)
	want := qemuPlan(root, blank(t, root, "a"))
	want.DiskTemplate = file
	r := mustRun(t, want, Env{})
	validate(t, r.plan.VMs[0].XML)
	wantNothing(t, want, Env{})
	if d := domainOf(t, "a"); !strings.Contains(d.Inactive, "urn:own") || len(d.NICs) != 0 {
		t.Errorf("it was not made from the template:\n%s", d.Inactive)
	}
	write(`<domain type='{{.DomainType}}'><name>{{.Name}}</name><uuid>{{.UUID}}</uuid><nonsense/><source file='{{.Disk}}'/></domain>`)
	if _, err := tryRun(testContext(t), want, Env{}); err == nil || !strings.Contains(err.Error(), "defining the domain") {
		t.Errorf("a template against libvirt's schema: %v", err)
	}
}

// TestStage puts the files below another root, as the live system does, and
// the first boot defines the VMs.
func TestStage(t *testing.T) {
	root := store(t)
	target := filepath.Join(root, "target")
	inTarget := filepath.Join(root, "pool")
	want := qemuPlan(inTarget, blank(t, inTarget, "a"))
	want.VMs[0].DiskGB, want.VMs[0].CloudInit = 1, &configs.Cloud{}
	r := mustRun(t, want, Env{Root: target})
	wantDid(t, r, "vms/a/directory", "vms/a/image", "vms/a/grow", "vms/a/seed", "vms/a/xml")
	wantNothing(t, want, Env{Root: target})
	if out := virsh(t, "list", "--all", "--name"); out != "" {
		t.Errorf("the live system's libvirt has %q", out)
	}
	// The target becomes the root.
	if err := os.Rename(filepath.Join(target, inTarget), inTarget); err != nil {
		t.Fatal(err)
	}
	r = mustRun(t, want, Env{})
	wantDid(t, r, "vms/a/define", "vms/a/xml", "vms/a/autostart")
	wantNothing(t, want, Env{})
}

// TestBootOrder: with the unit enabled libvirt's autostart is off, and the
// VMs start in their order even when one of them cannot.
func TestBootOrder(t *testing.T) {
	root := store(t)
	var vms []configs.VM
	for i, name := range []string{"last", "third", "first", "second"} {
		vm := running(blank(t, root, name))
		vm.BootOrder = []int{0, 30, 10, 20}[i]
		vms = append(vms, vm)
	}
	vms[2].BootDelay = configs.Duration(200 * time.Millisecond)
	want := qemuPlan(root, vms...)
	// Without the unit they all start, at once, and it is said.
	r := mustRun(t, want, Env{})
	if r.plan.Ordered || len(r.plan.Notes) == 0 || r.plan.Notes[0].Code != "boot-order" || !domainOf(t, "first").Autostart {
		t.Errorf("without the unit: ordered %v, notes %v", r.plan.Ordered, r.plan.Notes)
	}
	unit := InstallUnit("/", "/usr/bin/hvinstall", "/etc/hvinstall/layout.yaml", "")
	if err := unit.Do(testContext(t), &news{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll("/etc/systemd/system/multi-user.target.wants") })
	r = mustRun(t, want, Env{})
	if d := domainOf(t, "first"); !r.plan.Ordered || d.Autostart {
		t.Errorf("ordered %v, autostart %v; want the unit to start them", r.plan.Ordered, d.Autostart)
	}
	for _, vm := range vms {
		virsh(t, "destroy", vm.Name)
	}
	// One that cannot start keeps none of the others off.
	if err := os.Rename(filepath.Join(root, "first", "first_VARS.fd"), filepath.Join(root, "vars")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "first", "first_VARS.fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := tryRun(testContext(t), want, Env{}); err == nil || !strings.Contains(err.Error(), "starting first") {
		t.Errorf("err = %v, want the start of first", err)
	}
	if out := strings.Join(strings.Fields(virsh(t, "list", "--name")), " "); out != "second third last" {
		t.Errorf("running in order of their start: %q, want second third last", out)
	}
	if err := os.Remove(filepath.Join(root, "first", "first_VARS.fd")); err != nil {
		t.Fatal(err)
	}
	wantDid(t, mustRun(t, want, Env{}), "vms/start")
	// A layout that is refused keeps no VM off: the unit falls back to this.
	for _, vm := range vms {
		virsh(t, "destroy", vm.Name)
	}
	want.VMs[0].Bridge = "br9"
	if _, err := tryRun(testContext(t), want, Env{}); err == nil {
		t.Error("a missing bridge was not refused")
	}
	want.VMs = append(want.VMs, running(blank(t, root, "not-yet-defined")))
	if err := StartDefined(testContext(t), want, &news{}); err != nil {
		t.Error(err)
	}
	if out := strings.Join(strings.Fields(virsh(t, "list", "--name")), " "); out != "first second third last" {
		t.Errorf("running in order of their start: %q, want first second third last", out)
	}
	file := filepath.Join(t.TempDir(), UnitName)
	if err := os.WriteFile(file, []byte(Unit("/bin/true", "/etc/hvinstall/layout.yaml", "/mnt/vmstore")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", file).CombinedOutput(); err != nil || strings.Contains(string(out), UnitName) {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

// TestStatus is the data of hvinstall status.
func TestStatus(t *testing.T) {
	root := store(t)
	vm := running(blank(t, root, "a"))
	want := qemuPlan(root, vm, blank(t, root, "b"))
	mustRun(t, want, Env{})
	want.VMs[0].RAMMB, want.VMs[0].DiskGB = 96, 1
	want.VMs[1] = blank(t, root, "c")
	facts, err := Probe(testContext(t), want, "/")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := MakePlan(want, "testhost", facts, Options{})
	s := MakeStatus(p, facts)
	if len(s.VMs) != 3 {
		t.Fatalf("%+v", s)
	}
	a, c, b := s.VMs[0], s.VMs[1], s.VMs[2]
	if a.State != "running" || fmt.Sprint(a.Differs) != "[ram 64 → 96 MiB disk 64 MiB → 1.0 GiB]" || a.Restart != "restart needed: ram 64 → 96 MiB" || a.DiskUsed == 0 || a.DiskSize != 64<<20 {
		t.Errorf("a: %+v", a)
	}
	if c.State != "not defined" || !c.Declared || fmt.Sprint(c.Differs) != "[not defined no disk]" {
		t.Errorf("c: %+v", c)
	}
	if b.Declared || b.State != "shut off" || b.DiskUsed == 0 {
		t.Errorf("b: %+v", b)
	}
}

// TestLibvirtdRestarts while a run is under way.
func TestLibvirtdRestarts(t *testing.T) {
	root := store(t)
	var vms []configs.VM
	for i := range 6 {
		vms = append(vms, blank(t, root, fmt.Sprintf("vm%d", i)))
	}
	vms[0] = running(vms[0])
	want := qemuPlan(root, vms...)
	facts, err := Probe(testContext(t), want, "/")
	if err != nil {
		t.Fatal(err)
	}
	p, refusals := MakePlan(want, "testhost", facts, Options{})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	steps, err := p.Steps(Env{})
	if err != nil {
		t.Fatal(err)
	}
	restarts := 0
	for i := range steps {
		do := steps[i].Do
		if id := steps[i].ID; id == "vms/vm1/define" || id == "vms/vm3/autostart" || id == "vms/vm0/start" {
			steps[i].Do = func(ctx ctxType, report reporterType) error {
				theLibvirtd.stop()
				restarts++
				back := make(chan error, 1)
				go func() { time.Sleep(300 * time.Millisecond); back <- startLibvirtd() }()
				err := do(ctx, report)
				if e := <-back; e != nil {
					t.Error(e)
				}
				return err
			}
		}
	}
	runner := runnerOf(1)
	if _, err := runner.Run(testContext(t), steps); err != nil {
		t.Fatal(err)
	}
	if restarts != 3 {
		t.Errorf("libvirtd was restarted %d times, want 3", restarts)
	}
	wantNothing(t, want, Env{})
}

// TestWithoutLibvirtd says so, and changes nothing.
func TestWithoutLibvirtd(t *testing.T) {
	root := store(t)
	theLibvirtd.stop()
	_ = os.Remove(libvirtSocket)
	defer func() {
		if err := startLibvirtd(); err != nil {
			t.Error(err)
		}
	}()
	want := qemuPlan(root, blank(t, root, "a"))
	r, err := tryRun(testContext(t), want, Env{})
	if err == nil || len(r.refusals) != 1 || r.refusals[0].Code != "libvirt" {
		t.Errorf("err %v, refusals %v; want libvirt", err, r.refusals)
	}
	wantClean(t, root)
}

// TestTestDriver runs against libvirt's own mock: the protocol and the
// convergence, without QEMU.
func TestTestDriver(t *testing.T) {
	root := store(t)
	// The mock's state lives as long as a connection to it.
	c, err := newConnection("test:///default")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.do(testContext(t), func(l *libvirt.Libvirt) error { _, err := l.ConnectGetLibVersion(); return err }); err != nil {
		t.Fatal(err)
	}
	want := qemuPlan(root, running(blank(t, root, "a")))
	want.URI, want.DomainType = "test:///default", "test"
	want.DiskTemplate = filepath.Join(root, "t.xml")
	if err := os.WriteFile(want.DiskTemplate, []byte(`<domain type='test'><name>{{.Name}}</name><uuid>{{.UUID}}</uuid><memory unit='MiB'>{{.RAMMB}}</memory><vcpu>{{.VCPU}}</vcpu><os><type>hvm</type></os>
<devices><disk type='file' device='disk'><source file='{{.Disk}}'/><target dev='vda'/></disk></devices></domain>`), 0o644); err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, want, Env{})
	if len(r.plan.Undeclared) != 1 || r.plan.Undeclared[0].Name != "test" {
		t.Errorf("undeclared %v, want libvirt's own test", r.plan.Undeclared)
	}
	wantNothing(t, want, Env{})
	want.VMs[0].RAMMB = 128
	mustRun(t, want, Env{})
	wantNothing(t, want, Env{})
	want.VMs[0].State = "absent"
	mustRun(t, want, Env{Shutdown: time.Second})
	wantNothing(t, want, Env{})
}

func isoOfTest(t testing.TB) []byte {
	t.Helper()
	image, err := isoImage("TEST", []isoFile{{"a", []byte("b")}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}
