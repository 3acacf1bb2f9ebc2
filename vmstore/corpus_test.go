package vmstore

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
)

// corpus are VMs as other tools leave them: written out in testdata/domains,
// and composed of the parts that those have in common.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/domains/*.xml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no domains: %v", err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".xml")] = string(text)
	}
	for i := range 72 {
		all[fmt.Sprintf("composed-%02d", i)] = composed(i)
	}
	return all
}

// variant is one way to write a part; "@" stands for the number of the domain.
type variant []string

func (v variant) of(i int) string { return v[i%len(v)] }

// composed is the i-th combination. The strides are coprime to the numbers of
// variants, so that each meets each other.
func composed(i int) string {
	q35 := i%3 != 1
	machine := variant{"pc-q35-5.2", "pc-q35-9.1", "pc-q35-7.2"}.of(i)
	os := variant{
		"", `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram>/nv/@_VARS.fd</nvram>`,
		`<loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.secboot.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS.ms.fd'>/nv/@.fd</nvram>`,
		`<firmware><feature enabled='yes' name='secure-boot'/></firmware>`, `<firmware><feature enabled='no' name='secure-boot'/></firmware><nvram>/nv/@</nvram>`,
	}.of(i)
	if !q35 && strings.Contains(os, "secure") {
		os = ""
	}
	auto := map[bool]string{true: " firmware='efi'"}[strings.Contains(os, "<firmware>")]
	disk := variant{
		`<target dev='vda' bus='virtio'/><boot order='1'/><address type='pci' domain='0x0000' bus='0x00' slot='0x09' function='0x0'/>`,
		`<target dev='sda' bus='scsi'/><serial>S@</serial><wwn>5000c50015ea71@</wwn><boot order='3'/><address type='drive' controller='0' bus='0' target='0' unit='0'/>`,
		`<target dev='sda' bus='sata' rotation_rate='1'/><address type='drive' controller='0' bus='0' target='0' unit='0'/>`,
		`<iotune><read_iops_sec>900</read_iops_sec></iotune><target dev='vda' bus='virtio'/><alias name='ua-root-@'/><address type='pci' domain='0x0000' bus='0x00' slot='0x0a' function='0x0'/>`,
	}.of(i + i/5)
	if !q35 {
		machine = variant{"pc-i440fx-4.2", "pc-i440fx-8.1"}.of(i)
		disk = strings.NewReplacer("bus='sata'", "bus='ide'", "sda' bus='ide'", "hda' bus='ide'").Replace(disk)
	}
	extra := variant{
		"",
		`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/a.iso' startupPolicy='optional'/><target dev='sdb' bus='sata'/><readonly/><address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>`,
		`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/photos-@.qcow2'/><target dev='sda' bus='sata'/><address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>`,
		`<hostdev mode='subsystem' type='usb' managed='yes'><source><vendor id='0x1a86'/><product id='0x7523'/><address bus='1' device='4'/></source><address type='usb' bus='0' port='1'/></hostdev><hostdev mode='subsystem' type='usb' managed='yes'><source><vendor id='0x1a86'/><product id='0x7523'/><address bus='1' device='5'/></source></hostdev>`,
		`<tpm model='tpm-tis'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm><sound model='ich9'/>`,
		`<filesystem type='mount' accessmode='passthrough'><driver type='virtiofs'/><source dir='/srv/share'/><target dir='share'/></filesystem>`,
		`<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x04' slot='0x00' function='0x0'/></source><rom bar='off'/></hostdev>`,
	}.of(i + i/3)
	if strings.Contains(disk, "dev='sda'") {
		extra = strings.NewReplacer("dev='sda'", "dev='sdf'", "unit='0'", "unit='5'").Replace(extra)
	}
	backing := map[bool]string{true: "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"}[strings.Contains(extra, "virtiofs")]
	nic := variant{
		`<interface type='bridge'><mac address='52:54:00:20:00:@'/><source bridge='br0'/><target dev='vnet-@'/><model type='virtio'/><address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></interface>`,
		`<interface type='network'><mac address='52:54:00:20:00:@'/><source network='default'/><model type='e1000'/><link state='down'/></interface>`,
		`<interface type='bridge'><mac address='52:54:00:21:00:@'/><source bridge='br9'/><model type='e1000e'/><boot order='9'/></interface><interface type='bridge'><mac address='52:54:00:20:00:@'/><source bridge='br0'/><model type='virtio'/></interface>`,
		`<interface type='direct'><mac address='52:54:00:20:00:@'/><source dev='eno1' mode='bridge'/><model type='virtio'/></interface>`,
		"",
	}.of(i + i/7)
	if !strings.Contains(disk, "<boot ") {
		os += "<boot dev='hd'/>"
		nic = strings.ReplaceAll(nic, "<boot order='9'/>", "")
	}
	head := variant{"", "<title>t@</title>\n  <description>of @ &lt;here&gt;</description>", "<metadata><x:y xmlns:x='urn:x' z='1'> a </x:y></metadata>", "<!-- by hand -->"}.of(i + i/4)
	tune := variant{
		"<vcpu placement='static'>2</vcpu>", "<vcpu placement='auto' current='1'>2</vcpu>",
		"<vcpu cpuset='0-3'>2</vcpu><iothreads>2</iothreads><cputune><shares>512</shares><vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='2'/></cputune>",
	}.of(i + i/2)
	cpu := variant{
		"<cpu mode='host-passthrough'/>", "", "<cpu mode='host-model'><topology sockets='1' dies='1' cores='2' threads='1'/></cpu>",
		"<cpu mode='custom' match='exact'><model>Haswell</model><topology sockets='2' cores='1' threads='1'/><feature policy='disable' name='aes'/></cpu>",
	}.of(i + i/6)
	features := variant{
		"<acpi/><apic/>", "<acpi/><apic/><hyperv mode='custom'><relaxed state='on'/></hyperv>", "<acpi/><kvm><hidden state='on'/></kvm><vmport state='off'/>", "<pae/>",
	}.of(i + i/8)
	if os != "" && features == "<pae/>" {
		features = "<acpi/>" // UEFI takes it
	}
	if strings.Contains(os, "secure='yes'") {
		features += "<smm state='on'/>"
	}
	ns, tail := "", ""
	if i%4 == 3 {
		ns, tail = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'", "\n  <qemu:commandline>\n    <qemu:arg value='-S@'/>\n  </qemu:commandline>"
	}
	text := "<domain type='kvm'" + ns + `>
  <name>vm@</name>
  <uuid>0a1f5a51-9f2d-4a53-8d0f-2b6b3a1e00@</uuid>
  ` + head + `
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  ` + backing + tune + `
  <os` + auto + `><type arch='x86_64' machine='` + machine + `'>hvm</type>` + os + `</os>
  <features>` + features + `</features>
  ` + cpu + `
  <clock offset='utc'/>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/old/@.qcow2'/>` + disk + `</disk>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    ` + nic + extra + `
    <video><model type='vga'/></video>
  </devices>` + tail + `
</domain>
`
	return strings.ReplaceAll(text, "@", fmt.Sprintf("%02d", i))
}

// node is a line of a document: an element's start with its attributes, an
// attribute, a text or a comment, with the place where it is.
type node struct{ path, text string }

// nodes reads a document by another reader than the product's. White space
// between elements is none of its content.
func nodes(t testing.TB, text string) []node {
	t.Helper()
	type level struct {
		path  string
		count map[string]int
	}
	stack := []level{{"", map[string]int{}}}
	var all []node
	full := func(n xml.Name) string {
		if n.Space == "" {
			return n.Local
		}
		return n.Space + ":" + n.Local
	}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		at := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			name := full(token.Name)
			at.count[name]++
			path := fmt.Sprintf("%s/%s[%d]", at.path, name, at.count[name])
			all = append(all, node{path, "<" + name + ">"})
			for _, a := range token.Attr {
				all = append(all, node{path + "/@" + full(a.Name), full(a.Name) + "=" + a.Value})
			}
			stack = append(stack, level{path, map[string]int{}})
		case xml.EndElement:
			all = append(all, node{at.path, "</>"})
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if s := strings.TrimSpace(string(token)); s != "" {
				all = append(all, node{at.path, s})
			}
		case xml.Comment:
			all = append(all, node{at.path + "/#", "<!--" + string(token) + "-->"})
		}
	}
}

var place = regexp.MustCompile(`(/[^/@\[]+)(/|$)`)

// unnamed are the lines that no difference names.
func unnamed(all []node, differences []Difference, leave func(Difference) bool) string {
	var b strings.Builder
	for _, n := range all {
		named := slices.ContainsFunc(differences, func(d Difference) bool {
			return !leave(d) && slices.ContainsFunc(d.Paths, func(p string) bool {
				for place.MatchString(p) {
					p = place.ReplaceAllString(p, "$1[1]$2")
				}
				return n.path == p || strings.HasPrefix(n.path, p+"/")
			})
		})
		if !named {
			b.WriteString(n.text + "\n")
		}
	}
	return b.String()
}

// silent is the layout that says no more than it must.
const silent = "silent"

// layouts are what a person may want of a VM that is there.
var layouts = map[string]func(*configs.VM){
	"as it is": func(*configs.VM) {},
	silent:     func(v *configs.VM) { v.VCPU, v.RAMMB, v.Bridge = 0, 0, "" },
	"ram":      func(v *configs.VM) { v.RAMMB *= 2 },
	"less ram": func(v *configs.VM) { v.RAMMB = 512 },
	"vcpu":     func(v *configs.VM) { v.VCPU *= 2 },
	"one vcpu": func(v *configs.VM) { v.VCPU = 1 },
	"bridge":   func(v *configs.VM) { v.Bridge = "br7" },
	"mac":      func(v *configs.VM) { v.MACAddress = "52:54:00:77:77:77" },
	"seed":     func(v *configs.VM) { v.CloudInit = &configs.Cloud{UserData: "#cloud-config\n"} },
	"iso": func(v *configs.VM) {
		v.DiskImage, v.ISOImage = nil, &configs.VMISO{URL: "https://example.org/i.iso", Dest: filepath.Join(filepath.Dir(v.DiskImage.Dest), "i.iso")}
	},
	"usb": func(v *configs.VM) {
		v.USBDevices = []configs.USBHost{{VendorID: "0x1a86", ProductID: "0x7523"}, {VendorID: "0x0403", ProductID: "0x6001"}}
	},
	"tpm":         func(v *configs.VM) { v.Firmware.TPM = true },
	"secure boot": func(v *configs.VM) { v.Firmware.SecureBoot = true },
	"bios":        func(v *configs.VM) { v.Firmware.UEFI = new(bool) },
	"large disk":  func(v *configs.VM) { v.DiskGB = 500 },
}

// TestMergeLeavesTheRest: whatever VM there is, and whatever the layout wants
// of it, what no difference names is as it was, byte for byte and in its order.
func TestMergeLeavesTheRest(t *testing.T) {
	refused, merged, all := map[string]int{}, 0, corpus(t)
	if len(all) < 60 {
		t.Fatalf("the corpus has %d domains, want 60 at least", len(all))
	}
	for name, text := range all {
		for layout, change := range layouts {
			have := Domain{Persistent: true, Inactive: text}
			if err := have.read(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			vm := configs.VM{
				Name: have.Name, VCPU: have.VCPU, RAMMB: have.RAMMB, Bridge: "br0",
				DiskImage: &configs.VMDisk{URL: "https://example.org/x.qcow2", Dest: "/mnt/vmstore/" + have.Name + "/" + have.Name + ".qcow2"},
			}
			change(&vm)
			facts := goodHost()
			facts.Host.Bridges = []string{"br0", "br7"}
			for _, nic := range have.NICs {
				facts.Host.Bridges = append(facts.Host.Bridges, nic.Bridge)
			}
			facts.Host.CPUs = 64
			facts.Domains = []Domain{have}
			for _, d := range have.Disks {
				facts.Files[d.Path] = File{Format: d.Format, Virtual: 20 << 30, Size: 20 << 30}
			}
			plan, refusals := MakePlan(configs.VMPlan{VMs: []configs.VM{vm}}, "h", facts, Options{})
			if len(refusals) > 0 {
				refused[codes(refusals)]++
				continue
			}
			merged++
			v := plan.VMs[0]
			if layout == silent && !have.made() && (slices.ContainsFunc(v.Differences, func(d Difference) bool { return !strings.HasPrefix(d.Paths[0], "/domain/metadata") }) || v.Spec.VCPU != have.VCPU || v.Spec.RAMMB != have.RAMMB) {
				t.Errorf("%s: the layout names neither processors nor memory nor bridge, and %v changes; %d vCPU, %d MiB", name, v.Differences, v.Spec.VCPU, v.Spec.RAMMB)
			}
			for _, d := range v.Differences {
				for _, p := range d.Paths {
					if _, covered := ownerOf(p); !covered {
						t.Errorf("%s, %s: %s is changed, and no line of the table has it", name, layout, p)
					}
				}
			}
			before := unnamed(nodes(t, text), v.Differences, func(d Difference) bool { return d.Have == "" })
			after := unnamed(nodes(t, v.XML), v.Differences, func(d Difference) bool { return d.Want == "" })
			if before != after {
				t.Errorf("%s, %s: besides %v something has changed:\n%s", name, layout, v.Differences, firstDifference(before, after))
			}
			again := Domain{Persistent: true, Inactive: v.XML}
			if err := again.read(); err != nil {
				t.Fatal(err)
			}
			if again.UUID != have.UUID || again.Machine != have.Machine || again.UEFI != have.UEFI && layout != "bios" {
				t.Errorf("%s, %s: %s %s UEFI %v is now %s %s %v", name, layout, have.UUID, have.Machine, have.UEFI, again.UUID, again.Machine, again.UEFI)
			}
			facts.Domains = []Domain{again}
			if plan, refusals = MakePlan(configs.VMPlan{VMs: []configs.VM{vm}}, "h", facts, Options{}); len(refusals) > 0 || len(plan.VMs[0].Differences) > 0 {
				t.Errorf("%s, %s: once that is done there are %v, %v", name, layout, refusals, plan.VMs[0].Differences)
			}
		}
	}
	t.Logf("%d domains, %d layouts each: %d merged, refused: %v", len(all), len(layouts), merged, refused)
	for code := range refused {
		if !slices.Contains([]string{"disk-ambiguous", "vm-numa", "vm-topology", "vm-maxmemory", "vm-numa disk-ambiguous", "vm-topology disk-ambiguous"}, code) {
			t.Errorf("%d were refused for %s", refused[code], code)
		}
	}
	if merged < len(all)*len(layouts)*3/4 {
		t.Errorf("only %d of %d were merged", merged, len(all)*len(layouts))
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			return fmt.Sprintf("it was  %q\nit is   %q", strings.Join(x[max(i-3, 0):min(i+3, len(x))], " "), strings.Join(y[min(max(i-3, 0), len(y)):min(i+3, len(y))], " "))
		}
	}
	return "more: " + strings.Join(y[min(len(x), len(y)):], " ")
}
