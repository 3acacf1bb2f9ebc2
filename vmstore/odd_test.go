//go:build libvirt

package vmstore

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
)

// oddVMs defines what virt-install has made of options that a person may give
// it (each file names them), with the files that they need, below root.
func oddVMs(t *testing.T, root string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("testdata/virt-install/*.xml")
	if err != nil || len(paths) != 10 {
		t.Fatalf("there are %d definitions (%v), want 10", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`file="/vmstore/([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			qcow2(t, filepath.Join(root, m[1]), "64M")
		}
		byHand(t, strings.ReplaceAll(string(text), `"/vmstore/`, `"`+root+`/`))
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		// libvirt sorts the controllers that it adds only when it reads them back.
		byHand(t, virsh(t, "dumpxml", "--inactive", "--security-info", name))
		names = append(names, name)
	}
	return names
}

// seen is what a VM was before a run: its definition, with the passwords, and
// the machine that QEMU makes of it.
type seen struct{ definition, machine string }

func looks(t *testing.T, names []string) map[string]seen {
	t.Helper()
	all := map[string]seen{}
	for _, name := range names {
		definition := virsh(t, "dumpxml", "--inactive", "--security-info", name)
		// This machine has no huge pages to give; the guest does not see them.
		file := filepath.Join(t.TempDir(), "domain.xml")
		if err := os.WriteFile(file, []byte(strings.Replace(definition, "<hugepages/>", "", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		all[name] = seen{definition, virsh(t, "domxml-to-native", "qemu-argv", "--xml", file)}
	}
	return all
}

// machineBut is QEMU's command line without its memory, the number of its
// processors, and what another run of it would number otherwise.
func machineBut(argv string) []string {
	argv = regexp.MustCompile(`"fd":"[0-9]+"|libvirt-[0-9]+-`).ReplaceAllString(argv, "")
	lines := strings.Split(strings.ReplaceAll(argv, " -", "\n-"), "\n")
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "-m ") || strings.HasPrefix(line, "-smp ") || strings.HasPrefix(line, `-object '{"qom-type":"memory-backend-`)
	})
}

// TestOddVMs: ten VMs of virt-install's, each with something that its owner
// would miss, are taken over, changed, and found again by a host that was
// installed anew. Nothing but what the layout names is another afterwards, in
// libvirt's definition and in what QEMU makes of it.
func TestOddVMs(t *testing.T) {
	root := store(t)
	names := oddVMs(t, root)
	virsh(t, "snapshot-create-as", "snap", "before-update", "--disk-only")
	virsh(t, "autostart", "desk")
	want := qemuPlan(root)
	want.DomainType = ""
	for _, name := range names {
		want.VMs = append(want.VMs, configs.VM{Name: name, DiskImage: &configs.VMDisk{URL: blankURL(t), Dest: filepath.Join(root, name, name+".qcow2")}})
	}
	at := func(name string) *configs.VM { return &want.VMs[slices.Index(names, name)] }
	at("scsi").DiskImage.Dest = filepath.Join(root, "scsi/system.qcow2") // of two without a boot order
	compare := func(what string, before map[string]seen, r run) {
		t.Helper()
		for i, v := range r.plan.VMs {
			after := looks(t, []string{v.Name})[v.Name]
			one := run{plan: Plan{VMs: []VM{r.plan.VMs[i]}}}
			// libvirt has its own place for a drive that is new.
			if lost := missingFrom(t, before[v.Name].definition, after.definition, v.Differences); lost != "" {
				t.Errorf("%s, %s: besides %v it no longer has %s", what, v.Name, v.Differences, lost)
			}
			a := besides(t, before[v.Name].definition, one, func(d Difference) bool { return d.Have == "" })
			b := besides(t, after.definition, one, func(d Difference) bool { return d.Want == "" })
			if a != b && !slices.ContainsFunc(v.Differences, func(d Difference) bool { return strings.HasPrefix(d.What, "cdrom") }) {
				t.Errorf("%s, %s: besides %v something has changed:\n%s", what, v.Name, v.Differences, firstDifference(a, b))
			}
			have := machineBut(after.machine)
			for _, line := range machineBut(before[v.Name].machine) {
				if !slices.Contains(have, line) {
					t.Errorf("%s, %s: its machine no longer has\n%s", what, v.Name, line)
				}
			}
			if len(withoutNote(v.Differences)) == 0 && len(have) != len(machineBut(before[v.Name].machine)) {
				t.Errorf("%s, %s: its machine is\n%s\nand was\n%s", what, v.Name, after.machine, before[v.Name].machine)
			}
			if d := domainOf(t, v.Name); d.Active || d.Autostart != (v.Name == "desk") {
				t.Errorf("%s: %s runs: %v, starts with the host: %v", what, v.Name, d.Active, d.Autostart)
			}
		}
	}
	before := looks(t, names)
	r := mustRun(t, want, Env{})
	for _, v := range r.plan.VMs {
		if v.Action != Adopt || len(withoutNote(v.Differences)) > 0 {
			t.Errorf("%s: %s with %v, want it adopted as it is", v.Name, v.Action, v.Differences)
		}
	}
	if asks := r.plan.AdoptedWithChanges(); len(asks) > 0 || len(r.plan.Images) > 1 {
		t.Errorf("asks for %v, images %v", asks, r.plan.Images)
	}
	compare("taken over", before, r)
	wantNothing(t, want, Env{})
	// What the layout then names changes, and nothing else.
	for _, name := range names {
		if name != "grown" { // its memory is in NUMA cells: refused, for a person to decide
			at(name).RAMMB = domainOf(t, name).RAMMB + 64
		}
	}
	at("scsi").VCPU = 2
	at("old").CloudInit, at("tpm").CloudInit = &configs.Cloud{UserData: "#cloud-config\n"}, &configs.Cloud{UserData: "#cloud-config\n"}
	at("files").DiskGB = 1
	before = looks(t, names)
	r = mustRun(t, want, Env{})
	compare("changed", before, r)
	if system, err := inspect(filepath.Join(root, "files/system.qcow2")); err != nil || system.Virtual != 1<<30 {
		t.Errorf("the disk that it starts from has %d (%v), want 1 GiB", system.Virtual, err)
	}
	if data, err := inspect(filepath.Join(root, "files/data.qcow2")); err != nil || data.Virtual != 64<<20 {
		t.Errorf("the data disk has %d (%v)", data.Virtual, err)
	}
	wantNothing(t, want, Env{})
	// The host is installed anew: libvirt knows none of them.
	before = looks(t, names)
	forgetAll(t)
	for i := range want.VMs {
		want.VMs[i].Running, want.VMs[i].Autostart = new(bool), new(bool)
	}
	on := true
	at("desk").Autostart = &on
	r = mustRun(t, want, Env{})
	for _, v := range r.plan.VMs {
		if v.From != InFile || len(v.Differences) > 0 {
			t.Errorf("%s: from %q with %v", v.Name, v.From, v.Differences)
		}
	}
	compare("found again", before, r)
	wantNothing(t, want, Env{})
	// What cannot be decided is refused before anything happens.
	before = looks(t, names)
	at("grown").RAMMB = 512
	if r, err := tryRun(testContext(t), want, Env{}); err == nil || codes(r.refusals) != "vm-numa" {
		t.Errorf("%v, want vm-numa", err)
	}
	compare("refused", before, run{plan: Plan{VMs: r.plan.VMs}})
}
