package nixos

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// The files of every variant are in testdata/golden, one txtar each; the tests
// tagged nix evaluate the same files by Nix itself.
func TestGenerateGoldens(t *testing.T) {
	for name, in := range variants() {
		t.Run(name, func(t *testing.T) {
			var archive txtar.Archive
			for _, f := range everything(t, in, forms()[name]) {
				archive.Files = append(archive.Files, txtar.File{Name: f.Path, Data: []byte(f.Content)})
			}
			golden := filepath.Join("testdata", "golden", name+".txtar")
			got := txtar.Format(&archive)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("files of %s (-golden +generated; -update rewrites):\n%s", name, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

// The lines that the host's specification shows.
func TestNetworkIsTheSpecifications(t *testing.T) {
	got := networkNix(hypervisor())
	for _, want := range []string{`lanNic = "enp5s0";`, `bridges.br0.interfaces = [ lanNic ];`, `"${lanNic}".useDHCP = false;`, `br0.useDHCP = true;`, "useNetworkd = true;"} {
		if !strings.Contains(got, want) {
			t.Errorf("network.nix lacks %q:\n%s", want, got)
		}
	}
}

// A password hash, or anything else that only root may read, never reaches a
// Nix file: the store is readable by all.
func TestNoHashInAnyFile(t *testing.T) {
	for name, in := range variants() {
		for _, f := range everything(t, in, forms()[name]) {
			if strings.Contains(f.Content, "$y$") || strings.Contains(f.Content, "j9T") {
				t.Errorf("%s of %s holds the password hash", f.Path, name)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*Input)
		want  string
	}{
		"no nixos":        {func(in *Input) { in.Layout.OS.NixOS = nil }, "no os.nixos"},
		"key file":        {func(in *Input) { in.Layout.Encryption.KeyFilename = "a b;reboot" }, "takes only letters"},
		"key file folder": {func(in *Input) { in.Layout.Encryption.KeyFilename = "../x" }, "takes only letters"},
		"luks uuid":       {func(in *Input) { in.Volumes[0].UUID = "$(reboot)" }, "which is none"},
		"stick":           {func(in *Input) { in.Sticks[0].UUID = "8B34-7D3C; reboot" }, "no volume serial"},
		"mount option":    {func(in *Input) { in.Pools[0].Subvolumes[0].Options = []string{"x,$(reboot)"} }, "cannot stand in fstab"},
		"mount point":     {func(in *Input) { in.Pools[0].Subvolumes[0].Mountpoint = "/mnt/${x}" }, "scripts take an absolute path"},
		"no root":         {func(in *Input) { in.System.Subvolumes = in.System.Subvolumes[1:] }, "mounted at /"},
		"user":            {func(in *Input) { in.Layout.Users[0].Name = "../../flake" }, "not one that NixOS takes"},
		"bridge":          {func(in *Input) { in.Layout.Network.Bridge = "br 0" }, "no interface name"},
		"no nic":          {func(in *Input) { in.NIC = NIC{} }, "no NIC is known"},
		"client":          {func(in *Input) { in.Exports[0].Clients = []string{"1.2.3.4 -j ACCEPT"} }, "not a network"},
		"export":          {func(in *Input) { in.Exports[0].Path = "/mnt/bulk/\"x" }, "cannot stand in exports"},
		"release":         {func(in *Input) { in.Release = "unstable" }, "not of the form"},
		"import":          {func(in *Input) { in.Layout.OS.NixOS.Imports = []string{"a b"} }, "is not a module"},
		"option":          {func(in *Input) { in.Layout.OS.NixOS.Options = map[string]any{"a b": 1} }, "no Nix identifier"},
		"option twice":    {func(in *Input) { in.Layout.OS.NixOS.Options = map[string]any{"a.b": true, `a."b"`: true} }, "set twice"},
		"option below":    {func(in *Input) { in.Layout.OS.NixOS.Options = map[string]any{"a": true, "a.b": true} }, "gives a value"},
		"NUL":             {func(in *Input) { in.Layout.Locale.Lang = "C\x00" }, "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			in := hypervisor()
			test.spoil(&in)
			_, err := Generate(in)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Generate = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestBlueprintWantsHostsFolder(t *testing.T) {
	for dir, want := range map[string]string{"nix/hosts/hypervisor": `prefix = "nix/";`, "hosts/hypervisor": "inherit inputs;\n  };"} {
		f, err := GenerateFlake(hypervisor(), BlueprintFlake, dir)
		if err != nil || !strings.Contains(f.Content, want) {
			t.Errorf("GenerateFlake(%s) = %v, want %q in:\n%s", dir, err, want, f.Content)
		}
	}
	for _, dir := range []string{"machines/hypervisor", "hosts/other", "../hosts/hypervisor", "/hosts/hypervisor", "a b"} {
		if _, err := GenerateFlake(hypervisor(), BlueprintFlake, dir); err == nil {
			t.Errorf("GenerateFlake(%s) = nil error, want a refusal", dir)
		}
	}
}

func TestWarnings(t *testing.T) {
	in := variants()["bare"]
	in.Layout.Users = []configs.User{{Name: "a", Groups: []string{"wheel"}}}
	all := strings.Join(Warnings(in), "\n")
	for _, want := range []string{"state_version", "nobody can log in", "no password_hash", "CPU is not known"} {
		if !strings.Contains(all, want) {
			t.Errorf("Warnings lack %q:\n%s", want, all)
		}
	}
	if w := Warnings(hypervisor()); len(w) != 0 {
		t.Errorf("Warnings(hypervisor) = %q, want none", w)
	}
}

func TestMountUnit(t *testing.T) {
	// As systemd-escape --path --suffix=mount prints them.
	for path, want := range map[string]string{"/": "-.mount", "/mnt/bulk": "mnt-bulk.mount", "/mnt/vm-store": `mnt-vm\x2dstore.mount`, "/srv/a.b_c": "srv-a.b_c.mount"} {
		if got := mountUnit(path); got != want {
			t.Errorf("mountUnit(%s) = %s, want %s", path, got, want)
		}
	}
}

// TestStageOneTrustsNoUUID: a stick with a volume or a btrfs of the host's UUIDs
// is neither opened nor mounted as the system.
func TestStageOneTrustsNoUUID(t *testing.T) {
	for name, in := range variants() {
		for _, f := range everything(t, in, forms()[name]) {
			for _, v := range in.Volumes {
				if strings.Contains(f.Content, "by-uuid/"+v.UUID) {
					t.Errorf("%s: %s opens %s by its UUID", name, f.Path, v.Mapping)
				}
			}
			if strings.Contains(f.Content, "by-uuid/"+in.System.UUID) {
				t.Errorf("%s: %s mounts the system by its UUID", name, f.Path)
			}
		}
	}
}
