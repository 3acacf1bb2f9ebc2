//go:build guest

package unlock_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hvinstall/initrd/boot"
	"hvinstall/testvm"
)

// all seven volumes, the root and both pools.
func wantAll(t *testing.T, said string, r boot.Report, by string) {
	t.Helper()
	for _, want := range []string{
		"MARKER root", " /mnt/bulk btrfs rw,noatime,",
		"LEFT 0 0", "PRINTK 7",
		"MOUNT /dev/mapper/cryptroot / btrfs ro,noatime,compress=zstd",
		" /mnt/vmstore btrfs rw,noatime,", "discard=async",
		"crypt-bulk-3>../dm-",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the system does not say %q:\n%s", want, said)
		}
	}
	if r.UnlockedBy != by {
		t.Errorf("unlocked by %q, want %q", r.UnlockedBy, by)
	}
	for _, v := range r.Volumes {
		if !v.Open {
			t.Errorf("%s is not open: %s", v.Mapping, v.Problem)
		}
	}
	for _, p := range r.Pools {
		if p.State != boot.PoolMounted {
			t.Errorf("pool %s is %s: %s", p.Name, p.State, p.Problem)
		}
	}
	t.Logf("stick %.2f s, first open %.2f s, last open %.2f s, mounted %.2f s, switch_root %.2f s", r.Stick, r.FirstOpen, r.LastOpen, r.Mounted, r.SwitchRoot)
}

func TestStick(t *testing.T) {
	vm := machine{config: config(), sticks: []string{"stick"}, append: os.Getenv("HVINSTALL_TEST_APPEND")}.boot(t)
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %q", r.Warnings)
	}
	wantReadable(t, vm)
}

// wantReadable looks at the console as a person does.
func wantReadable(t *testing.T, vm *testvm.VM) {
	t.Helper()
	text, _, _ := strings.Cut(strings.ReplaceAll(vm.Transcript(), "\r", ""), "SYSTEM args")
	if strings.Contains(text, "Kernel panic") {
		t.Errorf("a panic:\n%s", text)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "  ") && strings.Contains(line, "volumes") && len(line) > 81 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

func TestPassphraseOpensAllSeven(t *testing.T) {
	c := config()
	c.KeyWait = boot.Duration(2 * time.Second)
	vm := machine{config: c}.boot(t)
	expect(t, vm, `no key stick within 2s \(looked for VFAT 8B34-7D3C`)
	expect(t, vm, `Passphrase for hypervisor \(or plug a key stick in\): $`)
	for range 3 {
		if err := vm.Send("wrong\r"); err != nil {
			t.Fatal(err)
		}
		expect(t, vm, `that passphrase opens none of the volumes; again in [124] s`)
		expect(t, vm, `Passphrase for hypervisor \(or plug a key stick in\): $`)
	}
	if err := vm.Send("typo\x15correct horse battery stapel\b\ble\r"); err != nil {
		t.Fatal(err)
	}
	said, r := booted(t, vm)
	wantAll(t, said, r, "the passphrase")
	for n := 1; n <= 7; n++ { // each as it opens
		if line := fmt.Sprintf("%d of 7 volumes open, by the passphrase", n); !strings.Contains(vm.Transcript(), line) {
			t.Errorf("nobody is told %q:\n%s", line, vm.Transcript())
		}
	}
	if text := vm.Transcript(); strings.Contains(text, "horse") || strings.Contains(text, "wrong\r") {
		t.Errorf("what was typed is on the console:\n%s", text)
	}
	if n := strings.Count(vm.Transcript(), "Passphrase for"); n != 4 {
		t.Errorf("%d prompts, want 4: one for all volumes, and three again", n)
	}
	wantReadable(t, vm)
}

func TestStickPluggedInAtThePrompt(t *testing.T) {
	c := config()
	c.KeyWait = boot.Duration(time.Second)
	vm := machine{config: c, later: []string{"stick"}}.boot(t)
	expect(t, vm, `Passphrase for hypervisor`)
	if err := vm.Plug("stick"); err != nil {
		t.Fatal(err)
	}
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
}

func TestWrongKey(t *testing.T) {
	vm := machine{config: config(), sticks: []string{"clone"}}.boot(t)
	expect(t, vm, `WARNING: the key of stick 8B34-7D3C opens none of the volumes`)
	expect(t, vm, `Passphrase for hypervisor`)
	if err := vm.Send(passphrase + "\r"); err != nil {
		t.Fatal(err)
	}
	said, r := booted(t, vm)
	wantAll(t, said, r, "the passphrase")
}

func TestNoPassphraseAllowed(t *testing.T) {
	c := config()
	c.FallbackToPassword, c.KeyWait = false, boot.Duration(time.Second)
	vm := machine{config: c, later: []string{"stick"}}.boot(t)
	expect(t, vm, `WARNING: no key stick within 1s .*\s+.*allows no passphrase`)
	if err := vm.Plug("stick"); err != nil {
		t.Fatal(err)
	}
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
	if strings.Contains(vm.Transcript(), "Passphrase for") {
		t.Error("a passphrase was asked for")
	}
}

func TestPoolDiskMissing(t *testing.T) {
	for _, c := range []struct {
		policy boot.Degraded
		want   boot.PoolState
		line   string
	}{
		{boot.DegradedSkip, boot.PoolSkipped, `WARNING: pool bulk is NOT mounted at /mnt/bulk; missing:\s+ata-ST2000VN004_HD002`},
		{boot.DegradedMount, boot.PoolDegraded, `WARNING: pool bulk is mounted DEGRADED at /mnt/bulk; missing:\s+ata-ST2000VN004_HD002`},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			conf := config()
			conf.Pools[1].Degraded, conf.PoolWait = c.policy, boot.Duration(8*time.Second)
			vm := machine{config: conf, sticks: []string{"stick"}, without: []string{"hd2"}}.boot(t)
			expect(t, vm, `pool bulk: waiting up to 8s for ata-ST2000VN004_HD002`)
			expect(t, vm, c.line)
			said, r := booted(t, vm)
			if r.Pools[0].State != boot.PoolMounted || r.Pools[1].State != c.want {
				t.Errorf("pools %+v", r.Pools)
			}
			if mounted := strings.Contains(said, " /mnt/bulk btrfs "); mounted != (c.want == boot.PoolDegraded) {
				t.Errorf("bulk mounted: %v\n%s", mounted, said)
			}
			// <12> is a user's warning, as journald takes it from the kernel's log.
			if !regexp.MustCompile(`KMSG <12>.*hvinstall: WARNING: pool bulk is .*ata-ST2000VN004_HD002`).MatchString(said) {
				t.Errorf("the journal is told nothing:\n%s", said)
			}
			if len(r.Pools[1].Missing) != 1 || !strings.Contains(strings.Join(r.Warnings, "\n"), "pool bulk is") {
				t.Errorf("the report: %+v, %q", r.Pools[1], r.Warnings)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	conf := config()
	conf.Pools[1].Degraded = boot.DegradedWait
	t.Run("a person goes on", func(t *testing.T) {
		vm := machine{config: conf, sticks: []string{"stick"}, without: []string{"hd2"}}.boot(t)
		expect(t, vm, `pool bulk: waiting up to 1m for ata-ST2000VN004_HD002`)
		expect(t, vm, `Press Enter to go on without it: $`)
		if err := vm.Send("\r"); err != nil {
			t.Fatal(err)
		}
		_, r := booted(t, vm)
		if r.Pools[0].State != boot.PoolMounted || r.Pools[1].State != boot.PoolSkipped {
			t.Errorf("pools %+v", r.Pools)
		}
	})
	t.Run("the disk comes", func(t *testing.T) {
		vm := machine{config: conf, sticks: []string{"stick"}, later: []string{"hd2"}}.boot(t)
		expect(t, vm, `Press Enter to go on without it: $`)
		if err := vm.Plug("hd2"); err != nil {
			t.Fatal(err)
		}
		said, r := booted(t, vm)
		wantAll(t, said, r, "stick "+stickUUID)
	})
}

func TestOSDiskMissing(t *testing.T) {
	c := config()
	c.PoolWait = boot.Duration(3 * time.Second)
	vm := machine{config: c, sticks: []string{"stick"}, without: []string{"os"}}.boot(t)
	expect(t, vm, `(?s)WARNING: the OS disk is missing: looked for\s+nvme-QEMU_NVMe_Ctrl_NVOS\s+\(LUKS\s+00000001-aaaa-bbbb-cccc-dddddddddddd\);\s+it\s+is\s+waited\s+for`)
}

func TestLiveMedium(t *testing.T) {
	f := fixed(t)
	image, err := f.buildImage(nil)
	if err != nil {
		t.Fatal(err)
	}
	squashfs, err := os.ReadFile(f.path("squashfs"))
	if err != nil {
		t.Fatal(err)
	}
	withImage, err := withModes(image, map[string]addition{"hvinstall/root.squashfs": {squashfs, 0o644}})
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(squashfs))
	for name, c := range map[string]struct {
		image  []byte
		sticks []string
		append string
	}{
		"stick":    {image, []string{"stick", "live"}, "hvinstall.live=" + liveUUID},
		"ram":      {withImage, nil, "hvinstall.live=ram"},
		"verified": {withImage, nil, "hvinstall.live=ram hvinstall.sha256=" + sum},
	} {
		t.Run(name, func(t *testing.T) {
			// The machine's clock has no battery.
			said, r := booted(t, machine{sticks: c.sticks, append: c.append, qemu: []string{"-rtc", "base=1970-01-02T00:00:00"}}.start(t, f, written(t, c.image)))
			for _, want := range []string{"MOUNT overlay / overlay rw", "MARKER root", "LIVE root.squashfs"} {
				if !strings.Contains(said, want) {
					t.Errorf("the live system does not say %q:\n%s", want, said)
				}
			}
			clock := regexp.MustCompile(`CLOCK (\d+)`).FindStringSubmatch(said)
			if clock == nil {
				t.Fatalf("no clock:\n%s", said)
			}
			if now, _ := strconv.ParseInt(clock[1], 10, 64); time.Unix(now, 0).Year() < 2020 {
				t.Errorf("the clock is at %s, before its image was made", time.Unix(now, 0))
			}
			if !r.Live || r.SwitchRoot == 0 {
				t.Errorf("the report: %+v", r)
			}
		})
	}
	t.Run("another image", func(t *testing.T) {
		vm := machine{append: "hvinstall.live=ram hvinstall.sha256=" + strings.Repeat("0", 64)}.start(t, f, written(t, withImage))
		expect(t, vm, `(?s)has sha256\s+`+sum+`,\s+and\s+hvinstall\.sha256=.*the boot cannot go on`)
	})
}

// written is an initramfs as a file.
func written(t *testing.T, image []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUdevKnowsTheMappings starts Debian's udevd after the init has made the
// mappings, as systemd does: device units are ready, a degraded pool's, too.
func TestUdevKnowsTheMappings(t *testing.T) {
	c := config()
	c.Pools[1].Degraded, c.PoolWait = boot.DegradedMount, boot.Duration(8*time.Second)
	vm := machine{config: c, sticks: []string{"stick"}, without: []string{"hd2"}, append: "test.udev"}.boot(t)
	said := expect(t, vm, `(?s)REPORT-END(.*?)UDEV-END`)[1]
	for _, fs := range []string{rootFS, vmstoreFS, bulkFS} {
		if !strings.Contains(said, "/dev/disk/by-uuid/"+fs+" ../../dm-") {
			t.Errorf("no by-uuid link to %s", fs)
		}
	}
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "DM ") && (strings.Contains(line, "SYSTEMD_READY=0") || !strings.Contains(line, "ID_FS_UUID=") || !strings.Contains(line, "DM_NAME=")) {
			t.Errorf("not ready: %s", line)
		}
	}
	if n := strings.Count(said, "DM DM_NAME=crypt"); n != 6 {
		t.Errorf("%d mappings, want 6:\n%s", n, said)
	}
}
