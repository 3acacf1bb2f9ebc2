//go:build guest

package unlock_test

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hvinstall/crypt"
	"hvinstall/initrd/boot"
	"hvinstall/testvm"
)

func TestClonedSticksAndDecoyDisk(t *testing.T) {
	vm := machine{config: config(), sticks: []string{"clone", "empty", "decoy"}, later: []string{"stick"}}.boot(t)
	// The boot waits for no other stick once one has opened everything.
	expect(t, vm, `has no file hypervisor`)
	if err := vm.Plug("stick"); err != nil {
		t.Fatal(err)
	}
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
	if !strings.Contains(strings.Join(r.Warnings, "\n"), "has no file hypervisor") {
		t.Errorf("warnings %q do not tell of the empty stick", r.Warnings)
	}
}

// A disk that somebody copied by dd has the LUKS UUID of the plan's, and its key
// opens it just as well: the plan's own is known by bus, model and serial number.
// In its place, a copy waits for a person's word.
func TestCopyOfTheOSDisk(t *testing.T) {
	slaves := regexp.MustCompile(`SLAVES .*cryptroot=(\w+)`)
	t.Run("beside it", func(t *testing.T) {
		vm := machine{config: config(), sticks: []string{"twin"}, later: []string{"stick"}}.boot(t)
		expect(t, vm, lines("one is a copy or a forgery"))
		if err := vm.Plug("stick"); err != nil {
			t.Fatal(err)
		}
		said, r := booted(t, vm)
		wantAll(t, said, r, "stick "+stickUUID)
		if m := slaves.FindStringSubmatch(said); m == nil || !strings.HasPrefix(m[1], "nvme") {
			t.Errorf("the root is on %v, want the plan's NVMe", m)
		}
		if warnings := strings.Join(r.Warnings, "\n"); !strings.Contains(warnings, "one is a copy") || !strings.Contains(warnings, "the plan's is "+filepath.Base(byID(disks[0].drive))) {
			t.Errorf("warnings %q do not tell of the copy and the plan's disk", r.Warnings)
		}
	})
	t.Run("in its place", func(t *testing.T) {
		c := config()
		c.PoolWait = boot.Duration(5 * time.Second)
		c.Volumes[0].KeyDigest = osKeyDigest(t)
		vm := machine{config: c, sticks: []string{"stick", "twin"}, without: []string{"os"}}.boot(t)
		expect(t, vm, `key stick .* is there`)
		expect(t, vm, lines(`the OS disk nvme-QEMU_NVMe_Ctrl_NVOS is not there, and another disk carries its LUKS UUID: sd\w+ \(ata-.*HD010\)`))
		expect(t, vm, `Type yes if that is`)
		if err := vm.Send("no\r"); err != nil {
			t.Fatal(err)
		}
		expect(t, vm, `that was not yes`)
		if err := vm.Send("yes\r"); err != nil {
			t.Fatal(err)
		}
		said, r := booted(t, vm)
		if warnings := strings.Join(r.Warnings, "\n"); !strings.Contains(warnings, "learns the new name") {
			t.Errorf("warnings %q do not tell of the new name", r.Warnings)
		}
		wantAll(t, said, r, "stick "+stickUUID)
		if m := slaves.FindStringSubmatch(said); m == nil || !strings.HasPrefix(m[1], "sd") {
			t.Errorf("the root is on %v, want the copy", m)
		}
	})
}

// Pools' disks under other names (another serial number, another model, another
// bus) are opened by the stick with nobody there, and told of.
func TestPoolDisksMoved(t *testing.T) {
	c := config()
	c.PoolWait = boot.Duration(5 * time.Second)
	vm := machine{config: c, sticks: []string{"stick"}, moved: []testvm.Drive{
		{ID: "nv1", Model: testvm.NVMe, Serial: "MOVED"},
		{ID: "hd1", Model: testvm.USB, Serial: "ENCLOSURE"},
		{ID: "hd3", Model: testvm.SATA, Serial: "HD003B", Product: "ST2000VN005"},
	}}.boot(t)
	said, r := booted(t, vm)
	wantAll(t, said, r, "stick "+stickUUID)
	warnings := strings.Join(r.Warnings, "\n")
	for _, mapping := range []string{"crypt-vmstore-1", "crypt-bulk-1", "crypt-bulk-3"} {
		if !strings.Contains(warnings, mapping+" is on ") {
			t.Errorf("warnings %q do not tell of %s", r.Warnings, mapping)
		}
	}
}

// A prepared disk: the LUKS UUID of the OS volume, a stick with the serial number
// of the real one, and a key that fits. Whoever says yes to it, has no key tried
// on it, and types no passphrase into it either.
func TestForgedOSDisk(t *testing.T) {
	c := config()
	c.PoolWait, c.KeyWait = boot.Duration(5*time.Second), boot.Duration(5*time.Second)
	c.Volumes[0].KeyDigest = osKeyDigest(t)
	vm := machine{config: c, sticks: []string{"clone", "forged"}, without: []string{"os"}}.boot(t)
	expect(t, vm, `key stick .* is there`)
	expect(t, vm, `Type yes if that is`)
	if err := vm.Send("yes\r"); err != nil {
		t.Fatal(err)
	}
	expect(t, vm, lines(`its volume key is not the one that this host was made with`))
	expect(t, vm, `Passphrase for hypervisor`)
	if err := vm.Send(passphrase + "\r"); err != nil {
		t.Fatal(err)
	}
	expect(t, vm, lines(`that passphrase opens none of the volumes`))
}

// A root file system with the UUID of the host's, and another's secret in it:
// nothing of it runs, and no pool is opened for it.
func TestForgedRoot(t *testing.T) {
	c := config()
	c.Root.Proof = proofOf(rootSecret(2))
	vm := machine{config: c, sticks: []string{"stick"}}.boot(t)
	said := expect(t, vm, `(?s)(.*)`+lines(`its root is not this host's own`))
	if opened := regexp.MustCompile(`[2-7] of 7 volumes open`).FindString(said[1]); opened != "" || strings.Contains(said[1], "SYSTEM args") {
		t.Errorf("%q, and this was said:\n%s", opened, said[1])
	}
	expect(t, vm, `(?i)enter`)
}

// osKeyDigest is what the initramfs of a host remembers of its OS volume.
func osKeyDigest(t *testing.T) string {
	t.Helper()
	file, err := os.Open(fixed(t).path("os"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	header, err := crypt.ParseHeader(io.NewSectionReader(file, 17*mib, luksHeader))
	if err != nil || header.KeyDigest == "" {
		t.Fatalf("the header of the OS volume: digest %q, %v", header.KeyDigest, err)
	}
	return header.KeyDigest
}

// lines is an expression for words on a console, wherever their lines end.
func lines(words string) string { return strings.ReplaceAll(words, " ", `\s+`) }

// The cipher of an adopted volume is loaded although no other volume has it.
func TestOldCipher(t *testing.T) {
	c := config()
	c.Volumes = append(c.Volumes, boot.Volume{UUID: oldUUID, Mapping: "crypt-old-1", Pool: "old", DiskID: "/dev/disk/by-id/ata-QEMU_HARDDISK_HD011", Adopted: true})
	c.PoolWait = boot.Duration(10 * time.Second)
	c.Pools = append(c.Pools, boot.Pool{Name: "old", FSUUID: "44444444-2222-3333-4444-555555555555", Members: 1, Subvolume: "/", Mountpoint: "/mnt/old"})
	said, r := booted(t, machine{config: c, sticks: []string{"stick", "old"}}.boot(t))
	if v := r.Volumes[len(r.Volumes)-1]; !v.Open {
		t.Errorf("%s is not open: %s\n%s", v.Mapping, v.Problem, said)
	}
	// There is no btrfs on it: that holds up none of the others.
	if len(r.Pools) != 3 || r.Pools[1].State != boot.PoolMounted || r.Pools[2].State != boot.PoolSkipped {
		t.Errorf("pools %+v", r.Pools)
	}
}
