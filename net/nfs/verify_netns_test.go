//go:build netns

package nfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/step"
)

// These need root and another hand: nft and systemd-analyze.

func needs(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: apt-get install %s", program, pkg)
	}
}

func TestFilterIsWhatNftReads(t *testing.T) {
	needs(t, "nft", "nftables")
	want := spec()
	want.Exports[1].Clients = []string{"192.168.1.0/24", "192.168.1.7/32", "192.168.0.0/16", "fd00::/64", "fd00::7/128"}
	plan, _ := MakePlan(want, []Pool{bulk})
	if err := checkFilter(t.Context(), plan.filterText()); err != nil {
		t.Fatal(err)
	}
	if err := checkFilter(t.Context(), strings.ReplaceAll(plan.filterText(), "accept", "accpet")); err == nil {
		t.Error("nft finds no fault with a misspelt filter")
	}
	// Loaded twice in a namespace of its own, beside a table of somebody else's.
	file := filepath.Join(t.TempDir(), "nfs.nft")
	if err := os.WriteFile(file, []byte(plan.filterText()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-n", "sh", "-ec", "nft add table inet mine; nft -f "+file+"; nft -f "+file+"; nft list ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, part := range []string{"table inet mine", filterDigest(plan.filterRules()), "192.168.0.0/16", "fd00::/64"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	if n := strings.Count(string(out), "jump clients"); n != 1 {
		t.Errorf("the rule is there %d times:\n%s", n, out)
	}
}

func TestUnitsVerify(t *testing.T) {
	needs(t, "systemd-analyze", "systemd")
	needs(t, "rpc.nfsd", "nfs-kernel-server")
	root := t.TempDir()
	plan, _ := MakePlan(spec(), []Pool{bulk})
	for _, f := range plan.files() {
		if err := f.put(root); err != nil {
			t.Fatal(err)
		}
	}
	// The units as the host has them, ours in their place; in a mount namespace.
	script := `
mount -t tmpfs tmpfs /run
mkdir -p /run/u /run/w /run/systemd/system
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /etc
cp -r "$1"/etc/systemd/system/. /etc/systemd/system/
systemd-analyze verify --man=no /etc/systemd/system/hvinstall-nfs-filter.service nfs-server.service`
	out, err := exec.Command("unshare", "-m", "sh", "-ec", script, "sh", root).CombinedOutput()
	if err != nil || strings.Contains(string(out), "hvinstall") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// It can find fault.
	broken := filepath.Join(root, dropInFile)
	if err := os.WriteFile(broken, []byte("[Service]\nNonsense=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-m", "sh", "-ec", script, "sh", root).CombinedOutput(); err == nil && !strings.Contains(string(out), "hvinstall") {
		t.Errorf("systemd-analyze finds no fault with a broken drop-in:\n%s", out)
	}
}

// TestEnable needs no running systemd: it works below a root.
func TestEnable(t *testing.T) {
	needs(t, "systemctl", "systemd")
	needs(t, "rpc.nfsd", "nfs-kernel-server")
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	if err := os.MkdirAll(units, 0o755); err != nil {
		t.Fatal(err)
	}
	plan, _ := MakePlan(spec(), []Pool{bulk})
	enable := plan.enableStep(Env{Root: root}, nil)
	if state, found, err := enable.Check(t.Context()); state != step.Absent || err != nil {
		t.Errorf("before the system is unpacked: %s, %q, %v; want absent", state, found, err)
	}
	for _, unit := range []string{"nfs-server.service", "multi-user.target"} {
		text, err := os.ReadFile("/lib/systemd/system/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(units, unit), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runner := step.Runner{}
	files := plan.filesStep(Env{Root: root}, nil)
	if n, err := runner.Run(t.Context(), []step.Step{files, enable}); n != 2 || err != nil {
		t.Errorf("changed %d steps, %v; want 2", n, err)
	}
	if n, err := runner.Run(t.Context(), []step.Step{files, enable}); n != 0 || err != nil {
		t.Errorf("the second run changed %d steps, %v", n, err)
	}
}
