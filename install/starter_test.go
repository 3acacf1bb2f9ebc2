package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/disk"
)

// loadStarter runs a starter through what 'hvinstall check' runs.
func loadStarter(t *testing.T, f Facts) (*configs.Layout, string) {
	t.Helper()
	text := Starter(f)
	path := filepath.Join(t.TempDir(), "layout.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	layout, err := configs.LoadFile(path, "")
	if err != nil {
		t.Fatalf("the starter does not pass check:\n%v\n%s", err, text)
	}
	return layout, text
}

// TestStarterOfEveryMachine: it passes check, and proposes nobody's data.
func TestStarterOfEveryMachine(t *testing.T) {
	for name, f := range allMachines(t) {
		t.Run(name, func(t *testing.T) {
			layout, text := loadStarter(t, f)
			eligible := false
			for _, d := range f.Disks.Disks {
				if d.Blank() && !d.Live && len(d.ByID) > 0 && d.Transport != "usb" && d.Size >= smallestStarterOS {
					eligible = true
				}
			}
			if eligible != (layout.OS != nil) {
				t.Errorf("a disk is eligible for the system: %v; the starter has an os: %v", eligible, layout.OS != nil)
			}
			if !strings.Contains(text, "CHOOSE") {
				t.Error("no choice is marked")
			}
			ids := map[string]bool{}
			name := func(id string) disk.Disk {
				if ids[id] {
					t.Errorf("%s is named twice", id)
				}
				ids[id] = true
				found := f.Disks.ByName(id)
				if len(found) != 1 {
					t.Fatalf("%s names %d disks", id, len(found))
				}
				d := found[0]
				if !d.Blank() || d.Live || d.ReadOnly {
					t.Errorf("%s is proposed, and it is %s, live %v", id, d.Content(), d.Live)
				}
				return d
			}
			if layout.OS != nil {
				name(layout.OS.Disk.ID)
			}
			for _, pool := range layout.Pools {
				for _, ref := range pool.Disks {
					if d := name(ref.ID); d.Rotational != (pool.StorageMedia == "hdd") {
						t.Errorf("%s is in a pool of %s", ref.ID, pool.StorageMedia)
					}
				}
			}
			for _, key := range layout.Encryption.USBKeys {
				if key.Disk != "" {
					name(key.Disk)
				}
			}
			for _, line := range strings.Split(text, "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("blanks at the end of %q", line)
				}
			}
		})
	}
}

// TestStarterOfTheSpecification: the starter groups the specification's disks
// as the specification does.
func TestStarterOfTheSpecification(t *testing.T) {
	layout, _ := loadStarter(t, allMachines(t)["hypervisor-blank"])
	if layout.OS == nil || len(layout.Pools) != 2 {
		t.Fatalf("os %v, %d pools", layout.OS, len(layout.Pools))
	}
	if d := layout.OS.Disk.ID; !strings.Contains(d, "500G") {
		t.Errorf("the system goes to %s, want one of 500 GB", d)
	}
	for i, want := range []string{"vmstore ssd", "bulk hdd"} {
		if p := layout.Pools[i]; p.Name+" "+p.StorageMedia != want || len(p.Disks) != 3 {
			t.Errorf("pool %d is %s %s of %d disks, want %s of 3", i, p.Name, p.StorageMedia, len(p.Disks), want)
		}
	}
	if layout.Network == nil || layout.Network.NIC.Name != "enp5s0" {
		t.Errorf("network: %+v", layout.Network)
	}
	if len(layout.Encryption.USBKeys) != 1 {
		t.Errorf("keys: %+v", layout.Encryption.USBKeys)
	}
}

// TestStarterTrustsNoText: what a device calls itself must not become YAML.
func TestStarterTrustsNoText(t *testing.T) {
	f := allMachines(t)["hypervisor-blank"]
	f.Vendor = "Evil\nos: {disk: /dev/sda}"
	f.Hostname, f.Live = "a b: c\n#", false
	f.Network.NICs[0].Driver = "x\nhostname: y"
	for i := range f.Disks.Disks {
		f.Disks.Disks[i].Serial = "s\n  evil: true"
		f.Disks.Disks[i].Model = "# \u2028 evil"
	}
	layout, _ := loadStarter(t, f)
	if layout.Hostname != "hypervisor" {
		t.Errorf("hostname = %q", layout.Hostname)
	}
}

// TestStarterOfAnEmptyMachine: nothing to propose is still a valid layout.
func TestStarterOfAnEmptyMachine(t *testing.T) {
	layout, text := loadStarter(t, Facts{Version: FactsVersion})
	if layout.OS != nil || len(layout.Pools) != 0 || layout.Network != nil {
		t.Errorf("proposed out of nothing:\n%s", text)
	}
}
