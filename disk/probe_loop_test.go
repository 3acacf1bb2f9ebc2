//go:build loop

package disk

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// TestProbeLoopDevices probes real block devices with real content, twice, and
// holds their hashes before and after against each other.
func TestProbeLoopDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("loop devices need root")
	}
	contents := map[string]string{
		"btrfs": "mkfs.btrfs -q -L bulk $F",
		"luks2": "echo -n x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --iter-time 1 $F -",
		"vfat":  "mkfs.vfat -n KEYS $F",
		"gpt":   "sgdisk -n1:0:+20M -t1:ef00 -c1:disk-os-ESP -n2:0:0 -t2:8309 -c2:disk-os-luks $F && mkfs.vfat -F 32 --offset 2048 -n ESP $F 16384",
		"":      "true",
	}
	type attached struct{ device, kind string }
	var devices []attached
	for kind, command := range contents {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 256<<20); err != nil {
			t.Fatal(err)
		}
		run(t, "F="+path+"; "+command)
		device := strings.TrimSpace(run(t, "losetup --find --show --sector-size 512 "+path))
		t.Cleanup(func() { run(t, "losetup -d "+device) })
		devices = append(devices, attached{device, kind})
	}
	before := map[string]string{}
	for _, d := range devices {
		before[d.device] = testvm.Sum(t, d.device)
	}
	for range 2 {
		started := time.Now()
		facts, err := ProbeOptions{Loop: true}.Probe(context.Background(), "/")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("probed %d disks in %v", len(facts.Disks), time.Since(started))
		for _, want := range devices {
			d := named(t, facts, filepath.Base(want.device))
			switch {
			case want.kind == "":
				if !d.Blank() {
					t.Errorf("the empty one is %s", d.Content())
				}
			case len(d.Signatures) != 1 || d.Signatures[0].Type != want.kind:
				t.Errorf("%s is %+v", want.kind, d.Signatures)
			case want.kind == "gpt":
				if p := d.Partitions; len(p) != 2 || p[0].Label != "disk-os-ESP" || p[0].Type != TypeESP ||
					len(p[0].Signatures) != 1 || p[0].Signatures[0].Label != "ESP" || p[1].Start != 21<<20 {
					t.Errorf("partitions read from the disk: %+v", p)
				}
			}
		}
	}
	for _, d := range devices {
		if testvm.Sum(t, d.device) != before[d.device] {
			t.Errorf("%s (%s) has changed", d.device, d.kind)
		}
	}
}

func run(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nneeded are btrfs-progs, cryptsetup-bin, dosfstools, gdisk and mount", command, err, out)
	}
	return string(out)
}
