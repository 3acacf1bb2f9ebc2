//go:build nix

package nixos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nix runs nix-instantiate with a store and a state of its own, so that it
// needs neither root nor a daemon. There is no nixpkgs: what is evaluated is
// ours, and testdata/stub.
func nix(t testing.TB, stdin string, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath("nix-instantiate"); err != nil {
		t.Fatal("nix-instantiate is missing: apt-get install nix-bin")
	}
	dir := os.Getenv("HVINSTALL_NIX_DIR") // made once by TestMain
	cmd := exec.Command("nix-instantiate", args...)
	cmd.Env = append(os.Environ(), "NIX_STATE_DIR="+dir+"/var", "NIX_LOCALSTATE_DIR="+dir+"/var", "NIX_STORE_DIR="+dir+"/store",
		"NIX_LOG_DIR="+dir+"/log", "NIX_CONF_DIR="+dir+"/etc", "NIX_PATH=")
	cmd.Stdin = strings.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("nix-instantiate: %w: %s", err, stderr.String())
	}
	return out.Bytes(), nil
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hvinstall-nix-")
	if err != nil {
		panic(err)
	}
	for _, sub := range []string{"etc", "store", "var"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			panic(err)
		}
	}
	// As root, nix would build as other users, which a test machine has not.
	if err := os.WriteFile(filepath.Join(dir, "etc/nix.conf"), []byte("build-users-group =\n"), 0o644); err != nil {
		panic(err)
	}
	os.Setenv("HVINSTALL_NIX_DIR", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// eval evaluates an expression strictly and decodes its JSON.
func eval(t testing.TB, expr string) (any, error) {
	t.Helper()
	out, err := nix(t, expr, "--eval", "--strict", "--json", "-")
	if err != nil {
		return nil, err
	}
	var v any
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// jsonNumber is a number as eval decodes it.
func jsonNumber(s string) json.Number { return json.Number(s) }

func mustEval(t testing.TB, expr string) any {
	t.Helper()
	v, err := eval(t, expr)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func stub(name string) string {
	path, err := filepath.Abs(filepath.Join("testdata/stub", name))
	if err != nil {
		panic(err)
	}
	return path
}

// placed writes the files into a folder, with the user's own gpu.nix that the
// layouts import.
func placed(t testing.TB, files []File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range append(files, File{"gpu.nix", "{ ... }: { boot.kernelParams = [ \"amdgpu.dc=1\" ]; }\n"}) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Path), []byte(f.Content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// golden compares a value with testdata/golden/NAME, field by field.
func golden(t *testing.T, name string, got any) {
	t.Helper()
	path := filepath.Join("testdata/golden", name)
	if *update {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(got); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-golden +evaluated; -update rewrites):\n%s", name, d)
	}
}

func TestNixParsesEveryFile(t *testing.T) {
	for name, in := range variants() {
		dir := placed(t, everything(t, in, forms()[name]))
		for _, f := range everything(t, in, forms()[name]) {
			if _, err := nix(t, "", "--parse", filepath.Join(dir, f.Path)); err != nil {
				t.Errorf("%s of %s: %v", f.Path, name, err)
			}
		}
	}
}

// Every file by itself, applied to stub arguments.
func TestNixEvaluatesEveryFile(t *testing.T) {
	for name, in := range variants() {
		t.Run(name, func(t *testing.T) {
			files := everything(t, in, NoFlake)
			var names []string
			for _, f := range files {
				names = append(names, quote(f.Path))
			}
			dir := placed(t, files)
			got := mustEval(t, fmt.Sprintf("import %s { dir = %s; names = [ %s ]; systemdInitrd = false; }", stub("files.nix"), dir, strings.Join(names, " ")))
			golden(t, name+".files.json", got)
		})
	}
}

// settings are what a flake may have decided outside the generated files: the
// release and its default of stage 1, and the firewall.
var settings = map[string]string{
	"25.05":          `systemdInitrd = false; nftables = false; release = "25.05";`,
	"25.11":          `systemdInitrd = false; nftables = false; release = "25.11";`,
	"26.05":          `systemdInitrd = true; nftables = false; release = "26.05";`,
	"26.05 nftables": `systemdInitrd = true; nftables = true; release = "26.05";`,
}

const userModules = `specialArgs.flake.modules.nixos.tailscale = { ... }: { services.tailscale.enable = true; };`

// The whole host through the module system of testdata/stub, which knows the
// options' real names and types and fails on any other.
func TestNixEvaluatesTheHost(t *testing.T) {
	for name, in := range variants() {
		t.Run(name, func(t *testing.T) {
			dir := placed(t, everything(t, in, NoFlake))
			got := map[string]any{}
			for setting, arguments := range settings {
				got[setting] = mustEval(t, fmt.Sprintf("import %s { modules = [ %s/configuration.nix ]; %s %s }", stub("host.nix"), dir, arguments, userModules))
			}
			golden(t, name+".json", got)
		})
	}
}

// The stub must be able to fail: an option that there is not, a wrong type, a
// second value, and each assertion.
func TestNixStubRefuses(t *testing.T) {
	dir := placed(t, everything(t, hypervisor(), NoFlake))
	for module, want := range map[string]string{
		`{ services.nfs.servers.enable = true; }`:                                                "services.nfs.servers is not declared",
		`{ fileSystems."/".mountOptions = [ ]; }`:                                                "mountOptions is not declared",
		`{ virtualisation.libvirtd.enable = "yes"; }`:                                            "not bool",
		`{ networking.hostName = "other"; }`:                                                     "conflicting definitions",
		`({ lib, ... }: { boot.initrd.luks.devices.cryptroot.keyFileTimeout = lib.mkForce 5; })`: "keyFileTimeout is only supported",
		`{ lib, ... }: { virtualisation.libvirtd.qemu.ovmf.packages = [ ]; }`:                    "ovmf submodule has been removed",
		`{ boot.loader.grub.enable = true; }`:                                                    "one boot loader",
		`{ systemd.services.hvinstall-vms.unitConfig.After = { }; }`:                             "not bool or int",
		`{ users.users.snyssen.hashedPasswordFile = "/elsewhere"; }`:                             "conflicting definitions",
		`{ networking.interfaces.br0.macAddress = "3C-7C-3F-12-34-56"; }`:                        "macAddress",
		`{ boot.initrd.luks.devices.cryptroot = { device = "/dev/sda2"; }; }`:                    "conflicting definitions",
	} {
		_, err := eval(t, fmt.Sprintf("import %s { modules = [ %s/configuration.nix (%s) ]; %s %s }", stub("host.nix"), dir, module, settings["25.11"], userModules))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %s: %v, want an error with %q", module, err, want)
		}
	}
	// Wrong for systemd's stage 1.
	_, err := eval(t, fmt.Sprintf("import %s { modules = [ %s/configuration.nix { boot.initrd.luks.devices.cryptroot.preOpenCommands = \"x\"; } ]; %s %s }", stub("host.nix"), dir, settings["26.05"], userModules))
	if err == nil || !strings.Contains(err.Error(), "not supported by systemd stage 1") {
		t.Errorf("preOpenCommands under systemd: %v, want the assertion", err)
	}
}

// flake.nix called as nix calls it: the host is found, its users are found.
func TestNixEvaluatesTheFlake(t *testing.T) {
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			in := variants()[name]
			files := everything(t, in, form)
			files = append(files, File{HostDir(in) + "/gpu.nix", "{ ... }: { }\n"})
			dir := placed(t, files)
			got := mustEval(t, fmt.Sprintf("import %s { dir = %s; %s }", stub("flake.nix"), dir, settings["26.05"]))
			golden(t, name+".flake.json", got)
			host := got.(map[string]any)["hosts"].(map[string]any)["hypervisor"].(map[string]any)
			users := host["home-manager"].(map[string]any)["users"].(map[string]any)
			if len(users) != len(in.Layout.Users) {
				t.Errorf("Home Manager finds the users %v, want %d", users, len(in.Layout.Users))
			}
			if host["networking"].(map[string]any)["hostName"] != "hypervisor" {
				t.Errorf("the flake's host is %v", host["networking"])
			}
		})
	}
}

// disko.nix through disko's own types; the labels are those that disko would
// give by itself, so that a layout module which expects them finds the disks.
func TestNixDisko(t *testing.T) {
	for name, in := range variants() {
		dir := placed(t, everything(t, in, NoFlake))
		got := mustEval(t, fmt.Sprintf("import %s { file = %s/disko.nix; }", stub("disko.nix"), dir)).(map[string]any)
		if d := cmp.Diff(got["expected"], got["labels"]); d != "" {
			t.Errorf("%s: partition labels (-disko's +ours):\n%s", name, d)
		}
		golden(t, name+".disko.json", got["evaluated"])
	}
}

// Strings that mean something to Nix, to shells or to terminals, there and
// back through Nix itself.
func TestNixStringsRoundTrip(t *testing.T) {
	corpus := []string{
		"", " ", "a", `"`, `\`, `\\`, `\"`, "$", "${", "${}", "$${x}", "$$${x}", `\${x}`, `\\${x}`, "''", "'''", "''${x}", "''\\n", "${builtins.currentSystem}",
		"\n", "\r", "\r\n", "\t", "\x01\x1b[31m\x7f", "a\nb", "\\n", `"; boot = { }; x = "`, `" + builtins.readFile "/etc/shadow" + "`, "#", "/* */", "é☃𝄞", "$(reboot)", "`reboot`",
		strings.Repeat("$", 7) + "{", strings.Repeat(`\`, 7) + "${", "{$}{", "$\\{", "\u2028",
	}
	var list strings.Builder
	for _, s := range corpus {
		list.WriteString(quote(s) + " ")
	}
	got := mustEval(t, "[ "+list.String()+" ]").([]any)
	for i, s := range corpus {
		if got[i] != s {
			t.Errorf("quote(%q) = %s, which Nix reads as %q", s, quote(s), got[i])
		}
	}
	var set strings.Builder
	for i, s := range corpus {
		fmt.Fprintf(&set, "%s = %d; ", attrName(s), i)
	}
	names := mustEval(t, "{ "+set.String()+" }").(map[string]any)
	for i, s := range corpus {
		if fmt.Sprint(names[s]) != fmt.Sprint(i) {
			t.Errorf("the attribute %q is %v, want %d", s, names[s], i)
		}
	}
}

func TestNixNumbersRoundTrip(t *testing.T) {
	var p printer
	p.value(list{0, -1, int64(-1 << 63), int64(1<<63 - 1), 1.5, -2.25, 1e300, 1e-9, 3.0, true, nil, list{}, attrs{}})
	got := mustEval(t, p.String()).([]any)
	want := []string{"0", "-1", "-9223372036854775808", "9223372036854775807", "1.5", "-2.25", "1e+300", "1e-09", "3", "true", "<nil>", "[]", "map[]"}
	for i := range want {
		if s := strings.TrimSuffix(fmt.Sprint(got[i]), ".0"); s != want[i] {
			t.Errorf("value %d is %s, want %s", i, s, want[i])
		}
	}
}

// What os.nixos.imports takes is one list element to Nix, and no more.
func TestNixImportsAreOneElement(t *testing.T) {
	for _, expr := range acceptedImports {
		if _, _, err := importExpr(expr); err != nil {
			t.Errorf("importExpr(%s) = %v, want it taken", expr, err)
		}
		known := "flake inputs lib config pkgs modulesPath x self a"
		out, err := nix(t, "{ "+strings.ReplaceAll(known, " ", ", ")+", ... }: builtins.length [ "+expr+" ]", "--parse", "-")
		if err != nil {
			t.Errorf("Nix does not parse %s: %v", expr, err)
			continue
		}
		n := mustEval(t, "builtins.length ((x: [ "+lazily(expr)+" ]) { })")
		if fmt.Sprint(n) != "1" {
			t.Errorf("%s is %v elements, want 1 (%s)", expr, n, out)
		}
	}
}

// lazily binds the names that an import may use.
func lazily(expr string) string {
	return "(let flake = { }; inputs = { }; lib = { }; config = { }; pkgs = { }; modulesPath = /m; self = { }; a = { }; in [ " + expr + " ])] ++ [ ] ++ builtins.tail [ 1"
}
