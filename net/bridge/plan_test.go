package bridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"

	"github.com/google/go-cmp/cmp"
)

func card(name, mac string) NIC {
	return NIC{Name: name, MAC: mac, PermanentMAC: mac, Kind: "physical", Up: true, Carrier: true, MTU: 1500, SpeedMbit: 1000}
}

func machine(change func(*Facts)) Facts {
	f := Facts{NICs: []NIC{card("enp5s0", "02:00:00:00:00:05"), card("enp6s0", "02:00:00:00:00:06"), {Name: "wlp3s0", MAC: "02:00:00:00:00:03", Kind: "wireless", Carrier: true}}}
	f.NICs[0].Gateways = []string{"192.168.1.1"}
	if change != nil {
		change(&f)
	}
	return f
}

func TestMakePlanChoosesTheNIC(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   configs.NIC
		change func(*Facts)
		nic    string
		why    string
	}{
		{"by name", configs.NIC{Name: "enp6s0"}, nil, "enp6s0", "named in the layout"},
		{"by MAC", configs.NIC{MAC: "02:00:00:00:00:06"}, nil, "enp6s0", "its MAC is in the layout"},
		{"by MAC in capitals", configs.NIC{MAC: "02:00:00:00:00:06"}, func(f *Facts) { f.NICs[1].PermanentMAC = "02:00:00:00:00:0A"; f.NICs[1].MAC = "02:00:00:00:00:06" }, "enp6s0", "its MAC is in the layout"},
		{"by MAC, the permanent one first", configs.NIC{MAC: "02:00:00:00:00:06"}, func(f *Facts) { f.NICs[0].MAC = "02:00:00:00:00:06" }, "enp6s0", "its MAC is in the layout"},
		{"by MAC, not the bridge that borrowed it", configs.NIC{MAC: "02:00:00:00:00:05"}, func(f *Facts) {
			f.NICs = append([]NIC{{Name: "br0", MAC: "02:00:00:00:00:05", Kind: "bridge"}}, f.NICs...)
		}, "enp5s0", "its MAC is in the layout"},
		{"by default route", configs.NIC{}, nil, "enp5s0", "the default route goes through it"},
		{"the port that is there", configs.NIC{}, func(f *Facts) {
			f.NICs[1].Master = "br0"
			f.NICs = append(f.NICs, NIC{Name: "br0", Kind: "bridge", MAC: "02:00:00:00:00:06", Gateways: []string{"192.168.1.1"}})
			f.NICs[0].Gateways = nil
		}, "enp6s0", "it is the port of br0 already"},
		{"a veth by name", configs.NIC{Name: "eth0"}, func(f *Facts) {
			f.NICs = append(f.NICs, NIC{Name: "eth0", Kind: "veth", MAC: "02:00:00:00:00:09"})
		}, "eth0", "named in the layout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, refusals, _ := MakePlan(configs.Network{Bridge: "br0", NIC: c.want}, machine(c.change))
			if len(refusals) > 0 || plan.NIC != c.nic || plan.Why != c.why {
				t.Errorf("MakePlan = %s (%s), %v; want %s (%s)", plan.NIC, plan.Why, refusals, c.nic, c.why)
			}
			if err := plan.checkValues(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMakePlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   configs.NIC
		change func(*Facts)
		code   string
		says   string
	}{
		{"a missing name", configs.NIC{Name: "enp5s1"}, nil, "nic-missing", "there is enp5s0 (02:00:00:00:00:05), enp6s0 (02:00:00:00:00:06)"},
		{"a missing MAC", configs.NIC{MAC: "02:00:00:00:00:99"}, nil, "nic-missing", "enp6s0 (02:00:00:00:00:06)"},
		{"wireless", configs.NIC{Name: "wlp3s0"}, nil, "nic-wireless", "802.11 station may only send frames from its own MAC"},
		{"wireless by default route", configs.NIC{}, func(f *Facts) { f.NICs[2].Gateways, f.NICs[0].Gateways = f.NICs[0].Gateways, nil }, "nic-wireless", "use a wired card"},
		{"wireless by MAC", configs.NIC{MAC: "02:00:00:00:00:03"}, nil, "nic-wireless", "cannot be bridged"},
		{"a port of another bridge", configs.NIC{Name: "enp5s0"}, func(f *Facts) {
			f.NICs[0].Master = "vmbr0"
			f.NICs = append(f.NICs, NIC{Name: "vmbr0", Kind: "bridge"})
		}, "nic-taken", "port of the bridge vmbr0"},
		{"a port of a bond", configs.NIC{Name: "enp5s0"}, func(f *Facts) {
			f.NICs[0].Master = "bond0"
			f.NICs = append(f.NICs, NIC{Name: "bond0", Kind: "bond"})
		}, "nic-taken", "port of the bond bond0"},
		{"a VLAN", configs.NIC{Name: "enp5s0.10"}, func(f *Facts) {
			f.NICs = append(f.NICs, NIC{Name: "enp5s0.10", Kind: "vlan", MAC: "02:00:00:00:00:05"})
		}, "nic-kind", "no network card (vlan)"},
		{"a veth by default route", configs.NIC{}, func(f *Facts) {
			f.NICs[0].Gateways = nil
			f.NICs = append(f.NICs, NIC{Name: "eth0", Kind: "veth", MAC: "02:00:00:00:00:09", Gateways: []string{"10.0.0.1"}})
		}, "nic-kind", "no network card (veth)"},
		{"the bridge itself", configs.NIC{Name: "br0"}, func(f *Facts) {
			f.NICs = append(f.NICs, NIC{Name: "br0", Kind: "bridge", MAC: "02:00:00:00:00:05"})
		}, "nic-kind", "its own port"},
		{"a bridge name that is taken", configs.NIC{}, func(f *Facts) {
			f.NICs = append(f.NICs, NIC{Name: "br0", Kind: "vlan"})
		}, "bridge-name-taken", "is no bridge (vlan)"},
		{"no default route", configs.NIC{}, func(f *Facts) { f.NICs[0].Gateways = nil }, "nic-none", "enp5s0"},
		{"two default routes", configs.NIC{}, func(f *Facts) { f.NICs[1].Gateways = f.NICs[0].Gateways }, "nic-ambiguous", "enp6s0"},
		{"no card at all", configs.NIC{}, func(f *Facts) { f.NICs = nil }, "nic-none", "there is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, refusals, _ := MakePlan(configs.Network{Bridge: "br0", NIC: c.want}, machine(c.change))
			if len(refusals) != 1 || refusals[0].Code != c.code || !strings.Contains(refusals[0].Error(), c.says) {
				t.Errorf("refusals %v, want %s saying %q", refusals, c.code, c.says)
			}
		})
	}
}

// TestRenamedBridge: another name for the bridge that carries the VMs is
// refused with the name that it has, whoever made it.
func TestRenamedBridge(t *testing.T) {
	_, refusals, _ := MakePlan(configs.Network{Bridge: "lan0", NIC: configs.NIC{Name: "enp5s0"}}, machine(func(f *Facts) {
		f.NICs[0].Master = "br0"
		f.NICs = append(f.NICs, NIC{Name: "br0", Kind: "bridge", MAC: "02:00:00:00:00:05"})
	}))
	if len(refusals) != 1 || !strings.Contains(refusals[0].Hint, "write bridge: br0 in the layout") || strings.Contains(refusals[0].Error(), "did not make") {
		t.Errorf("refusals %v, want one with the bridge's name", refusals)
	}
}

func TestMakePlanWarns(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   configs.Network
		change func(*Facts)
		says   string
	}{
		{"no carrier", configs.Network{}, func(f *Facts) { f.NICs[0].Carrier = false }, "enp5s0 has no carrier"},
		{"another MTU", configs.Network{MTU: 9000}, nil, "changes from 1500 to 9000 bytes"},
		{"another MAC", configs.Network{}, func(f *Facts) { f.NICs[0].MAC = "02:00:00:00:00:77" }, "keeps the address in use"},
		{"a VLAN on it", configs.Network{}, func(f *Facts) { f.NICs = append(f.NICs, NIC{Name: "enp5s0.7", Kind: "vlan"}) }, "VMs get none of that VLAN"},
	} {
		_, refusals, warnings := MakePlan(c.want, machine(c.change))
		if len(refusals) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], c.says) {
			t.Errorf("%s: refusals %v, warnings %q, want one saying %q", c.name, refusals, warnings, c.says)
		}
	}
	if _, _, warnings := MakePlan(configs.Network{}, machine(nil)); len(warnings) > 0 {
		t.Errorf("a plain machine warns %q", warnings)
	}
}

func TestPlanKeepsTheBridgesMAC(t *testing.T) {
	plan, _, _ := MakePlan(configs.Network{}, machine(func(f *Facts) {
		f.NICs[0].Master = "br0"
		f.NICs = append(f.NICs, NIC{Name: "br0", Kind: "bridge", MAC: "02:00:00:00:00:AA"})
	}))
	if plan.MAC != "02:00:00:00:00:aa" || plan.NICMAC != "02:00:00:00:00:05" {
		t.Errorf("MAC %s of the bridge, %s of the NIC", plan.MAC, plan.NICMAC)
	}
}

func TestLines(t *testing.T) {
	plan, _, _ := MakePlan(configs.Network{Addresses: []string{"192.168.1.10/24"}, Gateway: []string{"192.168.1.1"}}, machine(nil))
	want := []string{
		"NIC      enp5s0  02:00:00:00:00:05  1 Gbit/s",
		"chosen   the default route goes through it",
		"MAC      02:00:00:00:00:05 stays the bridge's own, so leases and reservations stay too",
		"address  192.168.1.10/24",
		"gateway  192.168.1.1",
	}
	if diff := cmp.Diff(want, plan.Lines()); diff != "" {
		t.Error(diff)
	}
}

func TestUnits(t *testing.T) {
	plan, _, _ := MakePlan(configs.Network{}, machine(nil))
	want := map[string]string{
		"05-hvinstall-br0.netdev": unitHeader + `[NetDev]
Name=br0
Kind=bridge
MACAddress=02:00:00:00:00:05

[Bridge]
STP=no
ForwardDelaySec=0
`,
		"05-hvinstall-br0.network": unitHeader + `[Match]
Name=br0

[Network]
LinkLocalAddressing=ipv6
IPv6AcceptRA=yes
DHCP=yes

[DHCPv4]
ClientIdentifier=mac
`,
		"06-hvinstall-br0-nic.network": unitHeader + `[Match]
PermanentMACAddress=02:00:00:00:00:05
Type=ether

[Network]
Bridge=br0
DHCP=no
LinkLocalAddressing=no
IPv6AcceptRA=no
`,
	}
	have := map[string]string{}
	for _, u := range plan.Units() {
		have[u.Name] = u.Text
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	// networkd takes the first file that matches; the bridge has the NIC's MAC.
	if plan.unitName("network") >= "06-hvinstall-br0-nic.network" {
		t.Error("the NIC's file sorts before the bridge's")
	}
}

func TestCheckValuesKeepsLinesWhole(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"bridge":  func(p *Plan) { p.Bridge = "br0\nBridge=x" },
		"long":    func(p *Plan) { p.Bridge = "abcdefghijklmnop" },
		"slash":   func(p *Plan) { p.Bridge = "../br0" },
		"nic":     func(p *Plan) { p.NIC = "en*" },
		"mac":     func(p *Plan) { p.MAC = "00:00:00:00:00:00" },
		"address": func(p *Plan) { p.Addresses = []string{"192.168.1.1"} },
		"gateway": func(p *Plan) { p.Gateways = []string{"192.168.1.1\n[Match]"} },
		"domain":  func(p *Plan) { p.Domains = []string{"a b"} },
		"percent": func(p *Plan) { p.Domains = []string{"%H"} },
		"mtu":     func(p *Plan) { p.MTU = 70000 },
	} {
		plan, _, _ := MakePlan(configs.Network{}, machine(nil))
		change(&plan)
		if plan.checkValues() == nil {
			t.Errorf("%s: %+v is accepted", name, plan)
		}
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		errors, notes    string
	}{
		{"a file that wins by name", "etc/systemd/network/00-lan.network", "[Match]\nName=en*\n", "00-lan.network matches enp5s0", ""},
		{"a file that comes later", "etc/systemd/network/80-dhcp.network", "[Match]\nName=en*\n", "", ""},
		{"netplan's", "run/systemd/network/10-netplan-enp5s0.network", "[Match]\nName=enp5s0\n", "", ""},
		{"another card's", "etc/systemd/network/00-lan.network", "[Match]\nName=enp6s0 enp7s*\n", "", ""},
		{"all but one", "etc/systemd/network/00-lan.network", "[Match]\nName=!enp5s0 br0\n", "", ""},
		{"by MAC", "usr/lib/systemd/network/00-lan.network", "[Match]\nPermanentMACAddress=02-00-00-00-00-05\n", "matches enp5s0", ""},
		{"by both", "etc/systemd/network/00-lan.network", "[Match]\nType=ether\nName=wl*\n", "", ""},
		{"by what cannot be known", "etc/systemd/network/00-lan.network", "[Match]\nPath=pci-0000:05:*\nType=ether\n", "", "may match enp5s0"},
		{"no match section", "etc/systemd/network/00-lan.network", "[Network]\nDHCP=yes\n", "", ""},
		{"the bridge", "etc/systemd/network/00-br.network", "[Match]\nKind=bridge\nName=br*\n", "matches br0", ""},
		{"ifupdown", "etc/network/interfaces", "auto lo\niface lo inet loopback\nallow-hotplug enp5s0\niface enp5s0 inet dhcp\n", "/etc/network/interfaces:4 configures enp5s0", ""},
		{"ifupdown, another card", "etc/network/interfaces.d/x", "iface enp6s0 inet dhcp\n", "", ""},
		{"ifupdown without an address", "etc/network/interfaces", "iface enp5s0 inet manual\n", "", ""},
		{"ifupdown's bridge", "etc/network/interfaces.d/br", "iface br0 inet dhcp\n  bridge_ports enp5s0\n", "configures br0", ""},
		{"NetworkManager", "etc/systemd/system/multi-user.target.wants/NetworkManager.service", "", "NetworkManager is enabled", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			plan, _, _ := MakePlan(configs.Network{}, machine(nil))
			errors, notes, err := plan.conflicts(root)
			if err != nil {
				t.Fatal(err)
			}
			for what, pair := range map[string][2]string{"errors": {strings.Join(errors, "; "), c.errors}, "notes": {strings.Join(notes, "; "), c.notes}} {
				if (pair[1] == "") != (pair[0] == "") || !strings.Contains(pair[0], pair[1]) {
					t.Errorf("%s = %q, want %q", what, pair[0], pair[1])
				}
			}
		})
	}
}

func TestIdentityOfTheLeaseIsKept(t *testing.T) {
	root := t.TempDir()
	plan, _, _ := MakePlan(configs.Network{}, machine(nil))
	if err := plan.writeUnits(filepath.Join(root, unitFolder), identity{IAID: "1707736607"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, unitFolder, "05-hvinstall-br0.network"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "ClientIdentifier=duid\nIAID=1707736607\n") {
		t.Errorf("the file is\n%s", text)
	}
	if differs, err := plan.differingUnit(root); err != nil || differs != "" {
		t.Errorf("a second look finds %q, %v", differs, err)
	}
	// A bridge that was renamed in the layout leaves nothing behind.
	renamed, _, _ := MakePlan(configs.Network{Bridge: "lan0"}, machine(nil))
	if err := renamed.writeUnits(filepath.Join(root, unitFolder), identity{}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(root, unitFolder, "*br0*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestQEMUsHelper(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"allow br0\n":              "allow",
		"allow all\n":              "allow",
		"# allow br0\n":            "",
		"allow br1\n":              "",
		"allow br0\ndeny all\n":    "deny",
		"deny br0\nallow br0\n":    "deny",
		"include /etc/qemu/x\n":    "",
		"  allow   br0  \nallow x": "allow",
	} {
		if got := helperAnswer([]byte(text), "br0"); got != want {
			t.Errorf("helperAnswer(%q) = %q, want %q", text, got, want)
		}
	}
	if got := string(withAllowed([]byte("# mine\nallow virbr0"), "br0")); got != "# mine\nallow virbr0\nallow br0\n" {
		t.Errorf("withAllowed = %q", got)
	}
}
