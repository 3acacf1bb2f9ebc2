package unlock

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

func TestParseUevent(t *testing.T) {
	e, ok := parseUevent([]byte("add@/devices/pci0000:00/block/sda/sda1\x00ACTION=add\x00SUBSYSTEM=block\x00DEVNAME=sda1\x00X=a=b\x00"))
	if !ok || e.action != "add" || e.path != "/devices/pci0000:00/block/sda/sda1" || e.vars["SUBSYSTEM"] != "block" || e.vars["X"] != "a=b" {
		t.Errorf("%+v, %v", e, ok)
	}
	for _, bad := range []string{"", "add", "libudev\x00\xfe\xed\xca\xfe@/x\x00", "@/x\x00", "add@x\x00"} {
		if e, ok := parseUevent([]byte(bad)); ok {
			t.Errorf("%q is taken for %+v", bad, e)
		}
	}
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte("add@/x\x00A=b\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseUevent(data) })
}

func TestParseArguments(t *testing.T) {
	a := parseArguments("BOOT_IMAGE=/x quiet init=/bin/a init=\"/my init\" \"dyndbg=file a +p\" rd.hvinstall.debug=0 ro rw usb-storage.quirks=1:2:u usb_storage.delay_use=0 modprobe.blacklist=a-b,c\n")
	if a.get("init") != "/my init" || a.get("dyndbg") != "file a +p" || a.get("nothing") != "" {
		t.Errorf("init %q, dyndbg %q", a.get("init"), a.get("dyndbg"))
	}
	if !a.has("quiet") || a.has("rd.hvinstall.debug") || a.has("verbose") || !a.writableRoot() {
		t.Errorf("flags of %+v", a)
	}
	if got := a.moduleOptions("usb_storage"); got != "quirks=1:2:u delay_use=0" {
		t.Errorf("usb_storage's options are %q", got)
	}
	if !a.blacklisted("a_b") || !a.blacklisted("c") || a.blacklisted("b") {
		t.Error("the blacklist")
	}
	if parseArguments("rw ro").writableRoot() {
		t.Error("the last of rw and ro does not count")
	}
}

// TestJudgeArguments: a quoted word is one, as for the kernel, and the last of
// many counts as much as the first.
func TestJudgeArguments(t *testing.T) {
	for line, opens := range map[string]bool{
		`root=x rw quiet console=ttyS0`: false, `rw init=/sbin/init init=/bin/bash`: true, `rw init=/bin/bash init=/sbin/init`: true,
		`"init=/bin/bash"`: true, `quiet "systemd.debug_shell"`: true, `rw "x=systemd.debug_shell"`: false, `-- --unit=x`: false,
	} {
		if err := parseArguments(line).judge(); (err != nil) != opens {
			t.Errorf("%s: %v", line, err)
		}
	}
	if got := initWords([]string{"--unit=debug-shell.service", "emergency", "--crash-shell", "single", "-x"}); strings.Join(got, " ") != "emergency single" {
		t.Errorf("the init is given %q", got)
	}
	for given, want := range map[string]string{"linux": "linux", "": "linux", "vt220": "vt220", "a/../b": "linux", "x\ny": "linux"} {
		if got := initEnvironment(given); len(got) != 2 || got[1] != "TERM="+want {
			t.Errorf("TERM=%q: %q", given, got)
		}
	}
}

// FuzzArguments: whatever is judged to open nothing has no word that opens, as
// the init itself and systemd read it.
func FuzzArguments(f *testing.F) {
	f.Add(`a="b c" d`)
	f.Add(`rw "systemd.debug_shell" init=/bin/sh`)
	f.Fuzz(func(t *testing.T, line string) {
		a := parseArguments(line)
		if a.judge() != nil {
			return
		}
		if _, named := map[string]bool{"/bin/bash": true, "/bin/sh": true}[a.get("init")]; named || a.has("systemd.debug_shell") || a.has("systemd.debug-shell") {
			t.Errorf("%q opens the host", line)
		}
	})
}

// luksHead and vfatHead are the first bytes of what cryptsetup and mkfs.vfat
// make, reduced to the fields that are read.
func luksHead(version byte, uuid string) []byte {
	head := make([]byte, 4096)
	copy(head, "LUKS\xba\xbe\x00")
	head[7] = version
	copy(head[168:], uuid)
	return head
}

func vfatHead(fat32 bool, serial uint32) []byte {
	head := make([]byte, 512)
	binary.LittleEndian.PutUint16(head[11:], 512)
	head[13], head[16], head[510], head[511] = 1, 2, 0x55, 0xaa
	at := 67
	if !fat32 {
		at = 39
		binary.LittleEndian.PutUint16(head[22:], 32)
	}
	head[at-1] = 0x29
	binary.LittleEndian.PutUint32(head[at:], serial)
	return head
}

func TestIdentifyContent(t *testing.T) {
	noSerial := vfatHead(true, 1)
	noSerial[66] = 0
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xaa
	for name, c := range map[string]struct {
		head []byte
		kind content
		uuid string
	}{
		"LUKS2":             {luksHead(2, "ABCDEF00-aaaa-bbbb-cccc-dddddddddddd"), luks, "abcdef00-aaaa-bbbb-cccc-dddddddddddd"},
		"LUKS1":             {luksHead(1, "abcdef00-aaaa-bbbb-cccc-dddddddddddd"), luks, "abcdef00-aaaa-bbbb-cccc-dddddddddddd"},
		"LUKS of tomorrow":  {luksHead(3, "x"), other, ""},
		"LUKS without UUID": {luksHead(2, ""), other, ""},
		"FAT32":             {vfatHead(true, 0x8B347D3C), vfat, "8B34-7D3C"},
		"FAT16":             {vfatHead(false, 0x00AB0001), vfat, "00AB-0001"},
		"FAT, no serial":    {noSerial, other, ""},
		"MBR":               {mbr, other, ""},
		"zeros":             {make([]byte, 4096), other, ""},
		"short":             {[]byte("LUKS"), other, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if kind, uuid := identifyContent(c.head); kind != c.kind || uuid != c.uuid {
				t.Errorf("%s %q, want %s %q", kind, uuid, c.kind, c.uuid)
			}
		})
	}
}

func FuzzContent(f *testing.F) {
	f.Add(luksHead(2, "u"))
	f.Add(vfatHead(true, 7))
	f.Fuzz(func(_ *testing.T, head []byte) { identifyContent(head) })
}

func TestParseSuperblock(t *testing.T) {
	block := make([]byte, 4096)
	copy(block[0x40:], "_BHRfS_M")
	copy(block[0x20:], "\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x55\x55\x55\x55\x55\x55")
	block[0x88] = 3
	sb, ok := parseSuperblock(block)
	if !ok || sb.fsid != "11111111-2222-3333-4444-555555555555" || sb.devices != 3 {
		t.Errorf("%+v, %v", sb, ok)
	}
	if _, ok := parseSuperblock(make([]byte, 4096)); ok {
		t.Error("zeros are taken for a btrfs")
	}
}

func FuzzSuperblock(f *testing.F) {
	block := make([]byte, 4096)
	copy(block[0x40:], "_BHRfS_M")
	f.Add(block)
	f.Add(block[:0x100])
	f.Fuzz(func(t *testing.T, block []byte) {
		if sb, ok := parseSuperblock(block); ok && len(sb.fsid) != 36 {
			t.Errorf("the UUID %q", sb.fsid)
		}
	})
}

func TestParseOptions(t *testing.T) {
	flags, data := parseOptions(boot.Options{"defaults", "noatime,compress=zstd", "nofail", "x-systemd.device-timeout=5s", "ro", "subvol=root"})
	if flags != unix.MS_NOATIME|unix.MS_RDONLY || data != "compress=zstd,subvol=root" {
		t.Errorf("flags %#x, data %q", flags, data)
	}
	if flags, _ := parseOptions(boot.Options{"ro", "rw"}); flags != 0 {
		t.Errorf("ro, then rw: %#x", flags)
	}
}

func TestClaims(t *testing.T) {
	samsung := identity{bus: nvme, model: "Samsung SSD 970", serial: "S4EVNX0M", wwid: "eui.0025385b71b0a1b2", namespace: "1"}
	seagate := identity{bus: scsi, vendor: "ATA", model: "ST4000VN008-2DR1", serial: "ZGY0A1B2", wwid: "naa.5000c500a1b2c3d4"}
	stick := identity{bus: usb, vendor: "SanDisk", model: "Ultra", serial: "4C530001230101117392"}
	for _, c := range []struct {
		disk identity
		id   string
		want claim
	}{
		{samsung, "/dev/disk/by-id/nvme-Samsung_SSD_970_S4EVNX0M", itself},
		{samsung, "nvme-Samsung_SSD_970_S4EVNX0M_1", itself},
		{samsung, "nvme-Samsung_SSD_970_S4EVNX0M-part2", itself},
		{samsung, "nvme-eui.0025385b71b0a1b2", itself},
		{samsung, "nvme-Samsung_SSD_970_S4EVNX0M_2", stranger}, // the drive's other namespace
		{samsung, "nvme-Samsung_SSD_980_S4EVNX0M", renamed},
		{samsung, "ata-Samsung_SSD_970_S4EVNX0M", stranger}, // another bus
		{samsung, "nvme-Samsung_SSD_970_XS4EVNX0M", stranger},
		{samsung, "nvme-Other", stranger},
		{seagate, "ata-ST4000VN008-2DR166_ZGY0A1B2", itself}, // the kernel's model is cut
		{seagate, "ata-ST2000VN004_ZGY0A1B2", renamed},
		{seagate, "wwn-0x5000c500a1b2c3d4", itself},
		{seagate, "scsi-35000c500a1b2c3d4", itself},
		{seagate, "scsi-SATA_ST4000VN008-2DR1_ZGY0A1B2", itself},
		{seagate, "wwn-0x5000c500a1b2c3d5", stranger},
		{seagate, "usb-ST4000VN008-2DR1_ZGY0A1B2-0:0", stranger},
		{stick, "usb-SanDisk_Ultra_4C530001230101117392-0:0", itself},
		{stick, "ata-SanDisk_Ultra_4C530001230101117392", renamed}, // an enclosure
		{identity{bus: virtio, serial: "os"}, "virtio-os", itself},
		{identity{bus: virtio, serial: "s"}, "virtio-os", stranger},
		{identity{bus: mmc, model: "BJTD4R", serial: "0x1a2b3c4d"}, "mmc-BJTD4R_0x1a2b3c4d", itself},
		// A serial number that is a name's tail, by accident or on purpose.
		{identity{bus: usb, vendor: "A", model: "B", serial: "0:0"}, "usb-SanDisk_Ultra_4C53-0:0", stranger},
		{identity{bus: nvme, model: "X", serial: "part2"}, "nvme-Samsung_SSD_970_S4EVNX0M-part2", stranger},
		{identity{bus: nvme, model: "X", serial: "1"}, "nvme-Samsung_SSD_970_S4EVNX0M_1", stranger},
		{identity{bus: nvme, model: "X", serial: "NX0M"}, "nvme-Samsung_SSD_970_S4EVNX0M", stranger},
		{identity{bus: usb, vendor: "ATA", model: "ST4000VN008-2DR166", serial: "1"}, "ata-ST4000VN008-2DR166_1", stranger},
		{identity{bus: nvme}, "nvme-Other", stranger},
		{identity{}, "", stranger},
	} {
		if got := c.disk.claims(boot.Volume{DiskID: c.id}); got != c.want {
			t.Errorf("%+v is %q: %v, want %v", c.disk, c.id, got, c.want)
		}
	}
	for _, text := range []string{"\x1b[2J\x9b", "a\nb", "\u202e../x", "é"} {
		evil := identity{bus: usb, vendor: text, model: text, serial: text}
		if name := evil.byID(); strings.Trim(name, "abcdefghijklmnopqrstuvwxyzJ0123456789_-.[") != "" {
			t.Errorf("%q is shown as %q", text, name)
		}
	}
	enclosed := identity{bus: usb, vendor: "JMicron", model: "Tech", serial: "0123456789AB"}
	for _, behindUSB := range []bool{false, true} {
		want := stranger
		if behindUSB {
			want = renamed
		}
		if got := enclosed.claims(boot.Volume{DiskID: "ata-ST4000VN008-2DR166_ZGY0A1B2", USB: behindUSB}); got != want {
			t.Errorf("in an enclosure, USB %v: %v, want %v", behindUSB, got, want)
		}
	}
}

func TestParseKeymap(t *testing.T) {
	data := append([]byte("bkeymap"), make([]byte, 256)...)
	data[7], data[7+4] = 1, 1
	for i := range 2 * 128 {
		data = binary.LittleEndian.AppendUint16(data, uint16(i))
	}
	entries, err := parseKeymap(data)
	if err != nil || len(entries) != 256 {
		t.Fatalf("%d entries, %v; want 256", len(entries), err)
	}
	if diff := cmp.Diff(keymapEntry{4, 1, 129}, entries[129], cmp.AllowUnexported(keymapEntry{})); diff != "" {
		t.Error(diff)
	}
	for _, bad := range [][]byte{nil, []byte("bkeymap"), data[:len(data)-1]} {
		if _, err := parseKeymap(bad); err == nil {
			t.Errorf("%d bytes are taken for a keymap", len(bad))
		}
	}
}

func FuzzKeymap(f *testing.F) {
	f.Add(append([]byte("bkeymap\x01"), make([]byte, 600)...))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseKeymap(data) })
}

func TestWrap(t *testing.T) {
	long := "pool bulk is mounted DEGRADED at /mnt/bulk; missing: ata-ST2000VN004-2E4164_ZGY0ABCD; what is written now has no second copy"
	lines := wrap("   12.34  ", "WARNING: "+long, 79)
	for _, l := range lines {
		if len(l) > 79 {
			t.Errorf("%d columns: %q", len(l), l)
		}
	}
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "          ") {
		t.Errorf("%q", lines)
	}
	if got := strings.Join(strings.Fields(strings.Join(lines, " ")), " "); got != "12.34 WARNING: "+long {
		t.Errorf("words were lost: %q", got)
	}
}

func TestLineEditing(t *testing.T) {
	for typed, want := range map[string]string{
		"secret\r": "secret", "sec\x7fcret\n": "secret", "x\x15secret\r": "secret", "né\x7fe\r": "ne", "\x7f\x7fa\r": "a", "\r": "",
	} {
		var l line
		done := false
		for i := range len(typed) {
			done = l.key(typed[i])
		}
		if !done || string(l.text()) != want {
			t.Errorf("%q gives %q, %v; want %q", typed, l.text(), done, want)
		}
	}
	var l line
	for range 2 * maxPassphrase {
		l.key('a')
	}
	if len(l.text()) != maxPassphrase {
		t.Errorf("a line of %d bytes", len(l.text()))
	}
	l.wipe()
	if strings.Trim(string(l.buf[:]), "\x00") != "" {
		t.Error("the line is not wiped")
	}
}

func TestFindInit(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"sbin", "usr/lib/systemd", "nix/store/x"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"usr/lib/systemd/systemd", "nix/store/x/init"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Debian's and Nix' links are absolute: outside, they lead elsewhere.
	if err := os.Symlink("/usr/lib/systemd/systemd", filepath.Join(root, "sbin/init")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/sbin/init": true, "/nix/store/x/init": true, "/sbin": false, "/bin/init": false} {
		if got := executable(root, path); got != want {
			t.Errorf("executable(%s) = %v, want %v", path, got, want)
		}
	}
}

// TestRootProvesItself: what is not the host's own file, whatever it is, proves
// nothing and holds up nothing.
func TestRootProvesItself(t *testing.T) {
	secret := boot.RootSecret([48]byte{1})
	proof, err := boot.RootProof(secret)
	if err != nil {
		t.Fatal(err)
	}
	other := boot.RootSecret([48]byte{2})
	salted := append([]byte(strings.Repeat("0", 31)+"1"), secret[32:]...)
	for name, c := range map[string]struct {
		make func(file string) error
		want bool
	}{
		"its own":      {func(file string) error { return os.WriteFile(file, secret, 0o600) }, true},
		"another's":    {func(file string) error { return os.WriteFile(file, other, 0o600) }, false},
		"another salt": {func(file string) error { return os.WriteFile(file, salted, 0o600) }, false},
		"the proof":    {func(file string) error { return os.WriteFile(file, []byte(proof), 0o600) }, false},
		"nothing":      {func(string) error { return nil }, false},
		"empty":        {func(file string) error { return os.WriteFile(file, nil, 0o600) }, false},
		"more than it": {func(file string) error { return os.WriteFile(file, append(secret, secret...), 0o600) }, false},
		"a link to it": {func(file string) error {
			return errors.Join(os.WriteFile(file+"2", secret, 0o600), os.Symlink(file+"2", file))
		}, false},
		"a link outside": {func(file string) error { return os.Symlink("/proc/self/mem", file) }, false},
		"a FIFO":         {func(file string) error { return unix.Mkfifo(file, 0o600) }, false},
		"a folder":       {func(file string) error { return os.Mkdir(file, 0o700) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, boot.RootSecretPath)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), c.make(file)); err != nil {
				t.Fatal(err)
			}
			if err := provesItself(boot.Root{Proof: proof}, root); (err == nil) != c.want {
				t.Errorf("%v", err)
			}
			if err := provesItself(boot.Root{}, root); err != nil {
				t.Errorf("without a proof: %v", err)
			}
		})
	}
}

func TestRemoveAllKeepsOneEntry(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a/b/c", "hvinstall/root.squashfs", "init"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	removeAll(int(dir.Fd()), "hvinstall")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "hvinstall" {
		t.Errorf("left: %v", entries)
	}
	if _, err := os.Stat(filepath.Join(root, "hvinstall/root.squashfs")); err != nil {
		t.Error(err)
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("a\x00\nb"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readSecret(key); err != nil || string(got) != "a\x00\nb" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Symlink(key, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "empty", "nothing", "."} {
		if _, err := readSecret(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is taken for a key file", name)
		}
	}
}

func TestLoaderCountsEachModuleOnce(t *testing.T) {
	l := newLoader(boot.Modules{List: []boot.Module{
		{Name: "a", Path: "/nowhere/a.ko", Needs: []string{"b", "c"}, Always: true},
		{Name: "b", Path: "/nowhere/b.ko", Needs: []string{"c"}},
		{Name: "c", Path: "/nowhere/c.ko"},
	}}, nil, nil)
	done := make(chan struct{})
	go func() { l.loadAlways(); l.load("a", "b", "c", "not-there"); close(done) }()
	<-done
	for _, name := range []string{"a", "b", "c"} {
		if _, ok := l.begun[name]; !ok {
			t.Errorf("%s was not loaded", name)
		}
	}
}
