package install

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/vmstore"
)

// TestHostileDigest: who consented to a plan consented to all that decides what
// is installed, also where the layout only names it.
func TestHostileDigest(t *testing.T) {
	file, err := os.Open(filepath.Join("../testdata/machines", "hypervisor-blank.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	facts, err := LoadFacts(file)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../configs/examples/hypervisor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const list = "sha256:https://example.org/SHA256SUMS"
	text := strings.Replace(string(example), "  - name: haos\n", "  - name: haos\n    cloud_init: {user_data: /etc/haos.user-data, network_config: \"a: b\"}\n", 1)
	text = strings.Replace(text, "haos_ova-16.2.qcow2.xz\n", "haos_ova-16.2.qcow2.xz\n      checksum: "+list+"\n", 1)
	text += "libvirt_disk_template: /etc/disk.xml\n"
	const image = "https://github.com/home-assistant/operating-system/releases/download/16.2/haos_ova-16.2.qcow2.xz"
	start := func() vmstore.Facts {
		return vmstore.Facts{
			Libvirt: vmstore.Libvirt{Local: true},
			Texts:   map[string]string{"/etc/disk.xml": "<domain type='kvm'><name>{{.Name}}</name><uuid>{{.UUID}}</uuid><devices><disk><source file='{{.Disk}}'/></disk></devices></domain>"},
			Seeds:   map[string]string{"/etc/haos.user-data": strings.Repeat("a", 64)},
			Sources: map[string]vmstore.Source{image: {Checksum: list, Sum: "sha256:" + strings.Repeat("b", 64)}},
		}
	}
	digest := func(text string, facts Facts) string {
		l, err := configs.Load("layout.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p := Make(Input{Layout: l, Facts: facts})
		if len(p.Digest) < 32 {
			t.Errorf("the digest has %d bits", len(p.Digest)*4)
		}
		return p.Digest
	}
	with := func(change func(*vmstore.Facts)) Facts {
		f, vms := facts, start()
		vms.Texts, vms.Seeds, vms.Sources = maps.Clone(vms.Texts), maps.Clone(vms.Seeds), maps.Clone(vms.Sources)
		change(&vms)
		f.VMs = &vms
		return f
	}
	same := with(func(*vmstore.Facts) {})
	before := digest(text, same)
	if again := digest(text, same); again != before {
		t.Errorf("the same plan has the digests %s and %s", before, again)
	}
	other := same
	if other.LiveImage == nil {
		t.Fatal("the captured machine has no live image")
	}
	live := *other.LiveImage
	live.SHA256 = strings.Repeat("c", 64)
	other.LiveImage = &live
	for name, got := range map[string]string{
		"the system's image": digest(text, other),
		"a template": digest(text, with(func(f *vmstore.Facts) {
			f.Texts["/etc/disk.xml"] = "<domain type='qemu'><name>{{.Name}}</name><uuid>{{.UUID}}</uuid><devices><disk><source file='{{.Disk}}'/></disk></devices></domain>"
		})),
		"a file of user data": digest(text, with(func(f *vmstore.Facts) { f.Seeds["/etc/haos.user-data"] = strings.Repeat("d", 64) })),
		"a sum in a list": digest(text, with(func(f *vmstore.Facts) {
			f.Sources[image] = vmstore.Source{Checksum: list, Sum: "sha256:" + strings.Repeat("e", 64)}
		})),
		"a checksum":                digest(strings.Replace(text, list, "sha256:"+strings.Repeat("f", 64), 1), same),
		"a text of network_config":  digest(strings.Replace(text, "a: b", "a: c", 1), same),
		"a group":                   digest(strings.Replace(text, "groups: [wheel", "groups: [adm, wheel", 1), same),
		"what an address leads to ": digest(strings.Replace(text, "16.2/haos_ova", "16.3/haos_ova", 1), same),
	} {
		if got == before {
			t.Errorf("%s changes, and the digest does not", name)
		}
	}
}
