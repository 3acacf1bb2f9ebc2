//go:build nix

package nixos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// evaluatedHost is the variant under the setting, as nested maps.
func evaluatedHost(t *testing.T, variant, setting string) map[string]any {
	t.Helper()
	dir := placed(t, everything(t, variants()[variant], NoFlake))
	return mustEval(t, fmt.Sprintf("import %s { modules = [ %s/configuration.nix ]; %s %s }", stub("host.nix"), dir, settings[setting], userModules)).(map[string]any)
}

// at walks a path of names.
func at(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, name := range path {
		m, is := v.(map[string]any)
		if !is {
			t.Fatalf("%s in %v: no set", name, path)
		}
		v = m[name]
	}
	return v
}

// What must hold of the specification's host, written by hand and not taken
// from a golden.
func TestNixSpecification(t *testing.T) {
	old, new_ := evaluatedHost(t, "hypervisor", "25.11"), evaluatedHost(t, "hypervisor", "26.05 nftables")
	for _, c := range []struct {
		host any
		path []string
		want any
	}{
		{old, []string{"networking", "bridges", "br0", "interfaces"}, []any{"enp5s0"}},
		{old, []string{"networking", "interfaces", "br0", "useDHCP"}, true},
		{old, []string{"networking", "interfaces", "enp5s0"}, map[string]any{"useDHCP": false}},
		{old, []string{"networking", "useNetworkd"}, true},
		{old, []string{"boot", "initrd", "luks", "devices", "cryptroot", "device"}, "/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_500GB_S466NX0M712345A-part2"},
		{old, []string{"boot", "initrd", "luks", "devices", "cryptroot", "keyFile"}, "/key/hypervisor"},
		{old, []string{"boot", "initrd", "luks", "devices", "cryptroot", "fallbackToPassword"}, true},
		{old, []string{"boot", "initrd", "luks", "devices", "cryptroot", "keyFileTimeout"}, nil},
		{old, []string{"boot", "initrd", "luks", "devices", "crypt-vmstore-2", "allowDiscards"}, true},
		{old, []string{"boot", "initrd", "luks", "devices", "crypt-bulk-0", "allowDiscards"}, false},
		{new_, []string{"boot", "initrd", "luks", "devices", "crypt-bulk-0", "fallbackToPassword"}, false},
		{new_, []string{"boot", "initrd", "luks", "devices", "crypt-bulk-0", "preOpenCommands"}, ""},
		{old, []string{"fileSystems", "/mnt/bulk", "device"}, "/dev/disk/by-uuid/" + uuid(0xb2, 0)},
		{old, []string{"fileSystems", "/nix", "fsType"}, "btrfs"},
		{old, []string{"fileSystems", "/boot"}, map[string]any{"device": "/dev/disk/by-uuid/1A2B-3C4D", "fsType": "vfat", "options": []any{"umask=0077"}}},
		{old, []string{"swapDevices"}, []any{map[string]any{"device": "/swap/swapfile"}}},
		{old, []string{"hardware", "cpu", "amd", "updateMicrocode"}, true},
		{old, []string{"boot", "kernelModules"}, []any{"kvm-amd"}},
		{old, []string{"virtualisation", "libvirtd", "allowedBridges"}, []any{"br0"}},
		{old, []string{"users", "groups"}, map[string]any{"libvirtd": map[string]any{"members": []any{"snyssen"}}, "kvm": map[string]any{"members": []any{"snyssen"}}}},
		{old, []string{"systemd", "services", "hvinstall-vms", "serviceConfig", "ExecStart"}, BinaryPath + " --plan " + LayoutPath + " --only vms --yes"},
		{old, []string{"systemd", "paths", "hvinstall-vms", "pathConfig"}, map[string]any{"PathChanged": LayoutPath}},
		{old, []string{"networking", "firewall", "extraInputRules"}, nil},
		{new_, []string{"networking", "firewall", "extraCommands"}, nil},
		{new_, []string{"networking", "firewall", "extraInputRules"}, "ip saddr { 100.64.0.0/10, 192.168.1.0/24 } tcp dport 2049 accept\nip6 saddr { fd00::/8 } tcp dport 2049 accept\n\niifname \"virbr*\" meta l4proto { tcp, udp } th dport 53 accept\niifname \"virbr*\" udp dport { 67, 69, 547 } accept\n"},
		{new_, []string{"networking", "nftables", "enable"}, true},
		{new_, []string{"services", "openssh", "settings"}, map[string]any{"PasswordAuthentication": false, "KbdInteractiveAuthentication": false, "PermitRootLogin": "no", "X11Forwarding": false}},
		{new_, []string{"services", "rpcbind", "enable"}, false},
		{new_, []string{"systemd", "services", "rpc-statd", "enable"}, false},
		{new_, []string{"services", "nfs", "settings", "nfsd"}, map[string]any{"vers2": false, "vers3": false, "vers4": true}},
		{new_, []string{"environment", "etc", "systemd/resolved.conf.d/hvinstall.conf", "text"}, "[Resolve]\nLLMNR=no\nMulticastDNS=no\n"},
		{old, []string{"services", "tailscale"}, map[string]any{"enable": true, "port": jsonNumber("41641")}},
		{old, []string{"time", "timeZone"}, "Europe/Brussels"},
		{old, []string{"console", "keyMap"}, "be-latin1"},
		{old, []string{"system", "stateVersion"}, "25.11"},
	} {
		if d := cmp.Diff(c.want, at(t, c.host, c.path...)); d != "" {
			t.Errorf("%s (-want +evaluated):\n%s", strings.Join(c.path, "."), d)
		}
	}
}

// stageOne is where the mount script runs in the tests: folders in place of
// /dev/disk/by-uuid and /key, and stand-ins for mount and umount.
type stageOne struct {
	*testing.T
	dir, script string
}

func newStageOne(t *testing.T, script string) stageOne {
	t.Helper()
	s := stageOne{t, t.TempDir(), ""}
	s.script = strings.NewReplacer("/dev/disk/by-uuid", s.dir+"/by-uuid", "/key", s.dir+"/key").Replace(script)
	for _, sub := range []string{"by-uuid", "bin"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// A stick is a folder in by-uuid; mounting it copies its files.
	for name, text := range map[string]string{
		"mount":  "#!/bin/sh\necho mount \"$@\" >>" + s.dir + "/calls\nfor a; do from=$at; at=$a; done\n[ ! -e \"$from/broken\" ] || exit 32\ncp \"$from\"/* \"$at\"/ 2>/dev/null || true\n",
		"umount": "#!/bin/sh\necho umount \"$@\" >>" + s.dir + "/calls\nfor a; do at=$a; done\nrm -f \"$at\"/*\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, "bin", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s stageOne) stick(serial string, files ...string) {
	s.Helper()
	dir := filepath.Join(s.dir, "by-uuid", serial)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(serial), 0o644); err != nil {
			s.Fatal(err)
		}
	}
}

func (s stageOne) run(shell ...string) (string, error) {
	s.Helper()
	// Functions, as Debian's busybox prefers its own applets to the PATH.
	script := fmt.Sprintf("mount() { %[1]s/bin/mount \"$@\"; }\numount() { %[1]s/bin/umount \"$@\"; }\n%[2]s", s.dir, s.script)
	cmd := exec.Command(shell[0], append(shell[1:], "-e", "-c", script)...)
	cmd.Env = []string{"PATH=" + s.dir + "/bin:" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s stageOne) key() string {
	data, _ := os.ReadFile(filepath.Join(s.dir, "key/hypervisor"))
	return string(data)
}

// The script that mounts a stick, as NixOS runs it: bash in systemd's stage 1,
// busybox in the scripted one.
func TestNixMountsTheStick(t *testing.T) {
	script, _ := at(t, evaluatedHost(t, "systemd-sticks", "26.05"), "boot", "initrd", "systemd", "services", "hvinstall-key", "script").(string)
	script = strings.ReplaceAll(script, "30 * 5", "1 * 5")
	scripted, _ := at(t, evaluatedHost(t, "grub-static", "25.11"), "boot", "initrd", "luks", "devices", "cryptroot", "preOpenCommands").(string)
	scripted = strings.ReplaceAll(scripted, "10 * 5", "1 * 5")
	if script == "" || scripted == "" {
		t.Fatal("the scripts are not where they should be")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Fatal("busybox is missing: apt-get install busybox")
	}
	for _, shell := range [][]string{{"bash"}, {"busybox", "sh"}} {
		t.Run(shell[0], func(t *testing.T) {
			s := newStageOne(t, script)
			s.stick("0011-AAFF", "hypervisor", "holiday.jpg")
			if out, err := s.run(shell...); err != nil || s.key() != "0011-AAFF" {
				t.Errorf("one stick: the key is %q, %v: %s", s.key(), err, out)
			}

			s = newStageOne(t, script)
			s.stick("8B34-7D3C", "holiday.jpg")
			s.stick("0011-AAFF", "broken")
			s.stick("1234-5678", "hypervisor")
			if out, err := s.run(shell...); err != nil || s.key() != "1234-5678" {
				t.Errorf("the third stick has the key: it is %q, %v: %s", s.key(), err, out)
			}

			s = newStageOne(t, script)
			s.stick("FFFF-FFFF", "hypervisor")
			started := time.Now()
			out, err := s.run(shell...)
			if took := time.Since(started); err != nil || s.key() != "" || !strings.Contains(out, "no USB stick") || took < time.Second/2 {
				t.Errorf("a stranger's stick: the key is %q, %v after %v: %s", s.key(), err, took, out)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "key/hypervisor")); err == nil {
				t.Error("systemd's stage 1 finds something in the key file's place; it would fail instead of asking")
			}

			// A stick that comes late.
			s = newStageOne(t, script)
			late := time.AfterFunc(300*time.Millisecond, func() { s.stick("8B34-7D3C", "hypervisor") })
			out, err = s.run(shell...)
			late.Stop()
			if err != nil || s.key() == "" {
				t.Errorf("a late stick: the key is %q, %v: %s", s.key(), err, out)
			}
		})
	}

	// Scripted: seven volumes wait once, and the passphrase is asked for at
	// once: cryptsetup fails on a folder without trying a key.
	s := newStageOne(t, scripted)
	for i := range 3 {
		started := time.Now()
		if out, err := s.run("busybox", "sh"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if took := time.Since(started); i > 0 && took > time.Second {
			t.Errorf("volume %d waited again, %v", i+1, took)
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, "key/hypervisor")); err != nil || !info.IsDir() {
		t.Errorf("without a stick the key file's place holds %v, %v; want a folder", info, err)
	}
}

// The crypttab that NixOS makes of the devices (luksroot.nix, stage1Crypttab),
// as systemd's own generator reads it.
func TestNixCrypttab(t *testing.T) {
	const generator = "/lib/systemd/system-generators/systemd-cryptsetup-generator"
	if _, err := os.Stat(generator); err != nil {
		t.Fatal("systemd-cryptsetup-generator is missing: apt-get install systemd")
	}
	devices := at(t, evaluatedHost(t, "systemd-sticks", "26.05"), "boot", "initrd", "luks", "devices").(map[string]any)
	var crypttab strings.Builder
	for name, d := range devices {
		options := []string{}
		for _, o := range at(t, d, "crypttabExtraOpts").([]any) {
			options = append(options, o.(string))
		}
		if at(t, d, "allowDiscards") == true {
			options = append(options, "discard")
		}
		options = append(options, fmt.Sprintf("keyfile-timeout=%vs", at(t, d, "keyFileTimeout")))
		fmt.Fprintf(&crypttab, "%s %s %s %s\n", name, at(t, d, "device"), at(t, d, "keyFile"), strings.Join(options, ","))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "crypttab")
	if err := os.WriteFile(file, []byte(crypttab.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(generator, dir, dir, dir)
	cmd.Env = append(os.Environ(), "SYSTEMD_CRYPTTAB="+file, "SYSTEMD_LOG_TARGET=console")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("the generator: %v: %s", err, out)
	}
	for mapping, timeout := range map[string]string{"cryptroot": "90s", "crypt-bulk-0": "30s", "crypt-vmstore-0": "infinity"} {
		unit := "systemd-cryptsetup@" + strings.ReplaceAll(mapping, "-", `\x2d`) + ".service"
		// Required, so that stage 1 waits for a slow disk; and no failure of it
		// ends the boot, as cryptsetup.target is only wanted.
		if _, err := os.Lstat(filepath.Join(dir, "cryptsetup.target.requires", unit)); err != nil {
			t.Errorf("%s is not waited for: %v", mapping, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, unit))
		if err != nil || !strings.Contains(string(text), "Before=cryptsetup.target") || !strings.Contains(string(text), "After=cryptsetup-pre.target") {
			t.Errorf("%s is not ordered behind the stick and before the target, %v:\n%s", unit, err, text)
		}
		device := strings.ReplaceAll(strings.TrimPrefix(at(t, devices[mapping], "device").(string), "/"), "-", `\x2d`)
		device = strings.ReplaceAll(device, "/", "-") + ".device.d/50-device-timeout.conf"
		conf, err := os.ReadFile(filepath.Join(dir, device))
		if err != nil || !strings.Contains(string(conf), "JobRunningTimeoutSec="+timeout) {
			t.Errorf("%s waits for its disk by %v, want %s:\n%s", mapping, err, timeout, conf)
		}
	}
}
