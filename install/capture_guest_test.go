//go:build guest

package install

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/disk"
	"hvinstall/testvm"
)

var updateCaptures = flag.Bool("update-captures", false, "keep what the guests show in testdata/captures")

const captures = "../testdata/captures"

// discoverGuest boots a guest that has hvinstall, runs setup in it, and returns
// what discover --json says there. Everything is shown to the tester by way of
// a shared folder: a console is no place for files.
func discoverGuest(t *testing.T, name string, g testvm.Guest, setup string, files map[string][]byte) (*testvm.VM, string, Facts) {
	t.Helper()
	share := t.TempDir()
	for name, data := range files {
		write(t, filepath.Join(share, name), string(data), 0o644)
	}
	binary := filepath.Join(share, "hvinstall")
	if err := testvm.BuildProgram(binary); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(share, "setup"), "#!/usr/bin/busybox sh\nset -x\n"+setup, 0o755)
	g.Shares = []testvm.Share{{Tag: "share", Path: share}}
	vm := testvm.BootGuest(t, g)
	shell(t, vm, "mkdir -p /share && mount -t 9p -o trans=virtio,version=9p2000.L share /share")
	// A command that fails shows itself by what discover then lacks.
	shell(t, vm, "/share/setup >/share/setup.log 2>&1; true")
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(share, "setup.log")); t.Failed() && err == nil {
			t.Logf("setup:\n%s", log)
		}
	})
	shell(t, vm, "udevadm settle --timeout=30; echo 3 >/proc/sys/vm/drop_caches; "+
		"strace -f -o /share/strace -e trace=openat,open,creat,openat2,ioctl,write,pwrite64,unlink,unlinkat,mkdir,mkdirat,rename,renameat2,mount /share/hvinstall discover --json >/share/facts.json")
	file, err := os.Open(filepath.Join(share, "facts.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	facts, err := LoadFacts(file)
	if err != nil {
		t.Fatalf("reading back what discover wrote: %v", err)
	}
	noWrites(t, filepath.Join(share, "strace"))
	if *updateCaptures {
		if err := os.MkdirAll(captures, 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(share, "facts.json"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(captures, name+".json"), string(data), 0o644)
	}
	return vm, share, facts
}

// noWrites reads a trace of discover: nothing is opened for writing, and
// nothing is written but its own output.
func noWrites(t *testing.T, path string) {
	t.Helper()
	trace, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for line := range strings.SplitSeq(string(trace), "\n") {
		switch {
		case strings.Contains(line, "O_RDWR"), strings.Contains(line, "O_WRONLY"), strings.Contains(line, "O_CREAT"), strings.Contains(line, "O_TRUNC"):
			t.Errorf("opened for writing: %s", line)
		case strings.Contains(line, `"/dev/`) && strings.Contains(line, "O_RDONLY"):
			opened++
			if !strings.Contains(line, "O_CLOEXEC") {
				t.Errorf("opened without O_CLOEXEC: %s", line)
			}
		case strings.Contains(line, "write(") && !strings.Contains(line, "write(1,") && !strings.Contains(line, "eventfd") && !isWakeup(line):
			t.Errorf("written elsewhere than to standard output: %s", line)
		case strings.Contains(line, "unlink"), strings.Contains(line, "mkdir"), strings.Contains(line, "rename"), strings.Contains(line, "mount("):
			t.Errorf("changed something: %s", line)
		}
	}
	if opened == 0 {
		t.Error("the trace shows no disk that was opened; it proves nothing")
	}
}

// isWakeup knows the Go runtime's own writes of eight bytes to its event file.
func isWakeup(line string) bool {
	return strings.Contains(line, `"\1\0\0\0\0\0\0\0", 8)`)
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func shell(t *testing.T, vm *testvm.VM, command string) string {
	t.Helper()
	out, err := vm.Shell(4*time.Minute, command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// zoo is one disk of each kind of content, made by the real tools; the serial
// is also the case's name.
const zoo = `
d() { readlink -f /dev/disk/by-id/$1; }
mib() { dd if=/dev/zero of=$1 bs=1M count=1 2>/dev/null; }
modprobe -a ext4 btrfs raid1 bcache xfs exfat vfat dm_crypt
mkdir -p /run/lvm /run/lock/lvm /etc/lvm /mnt/pool /mnt/ext
A=$(d virtio-btrfs-a) B=$(d virtio-btrfs-b)
mkfs.btrfs -q -L pool -d raid1 -m raid1 $A $B
udevadm settle; btrfs device scan
mount $A /mnt/pool
mdadm --create /dev/md0 --run --metadata=1.2 --level=1 --raid-devices=2 --homehost=nas $(d virtio-md-a) $(d virtio-md-b)
mkfs.ext4 -q /dev/md0; mount -t ext4 /dev/md0 /mnt/ext
mdadm --create /dev/md1 --run --metadata=0.90 --level=1 --raid-devices=2 $(d virtio-md090) missing
mdadm --stop /dev/md1
mdadm --create /dev/md2 --run --metadata=1.0 --level=1 --raid-devices=2 $(d virtio-md10) missing
mdadm --stop /dev/md2
V=$(d virtio-luks)
echo -n secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --iter-time 1 --label data --subsystem mine $V -
echo -n secret | cryptsetup open --key-file=- $V opened
/usr/sbin/mkswap -q /dev/mapper/opened; /usr/sbin/swapon /dev/mapper/opened
lvm pvcreate -y $(d virtio-lvm); lvm vgcreate vg0 $(d virtio-lvm); lvm lvcreate -y -Zn -n guest -L 32M vg0
W=$(d nvme-QEMU_NVMe_Ctrl_windows)
sgdisk -n1:0:+64M -t1:ef00 -c1:"EFI system partition" -n2:0:+16M -t2:0c01 -c2:"Microsoft reserved partition" -n3:0:+128M -t3:0700 -c3:"Basic data partition" -n4:0:0 -t4:2700 $W
partx -u $W || true; udevadm settle
mkfs.vfat -F 32 -n SYSTEM ${W}p1; mkfs.ntfs -q -F -f -L Windows ${W}p3; mkfs.ntfs -q -F -f -L Recovery ${W}p4
S=$(d ata-ST4000VN008_mbr)
printf 'label: dos\nlabel-id: 0xdeadbeef\nstart=2048,size=65536,type=83,bootable\nstart=67584,size=131072,type=5\nstart=69632,size=32768,type=82\nstart=104448,size=32768,type=83\n' | sfdisk -q $S
udevadm settle; mkfs.ext4 -q -L old ${S}1; mkfs.xfs -q -L dat $(d ata-ST2000VN004_xfs)
gzip -dc /share/zfs.gz | dd of=$(d virtio-zfs) bs=256k seek=0 2>/dev/null
gzip -dc /share/zfs.gz | dd of=$(d virtio-zfs) bs=256k seek=1 2>/dev/null
G=$(d virtio-backup)
sgdisk -n1:0:0 -t1:8300 -c1:lonely $G; mib $G
echo "not zero, and nothing known" | dd of=$(d virtio-odd) seek=100 2>/dev/null
echo "tail" | dd of=$(d virtio-tail) bs=1 seek=$((128*1024*1024-100)) 2>/dev/null
K=$(d usb-QEMU_QEMU_HARDDISK_stick-0:0)
mkfs.vfat -I -F 32 -i 8B347D3C -n KEYS $K
mkfs.exfat -L Photos $(d usb-QEMU_QEMU_HARDDISK_exfat-0:0)
mkfs.f2fs -q -l phone $(d virtio-f2fs)
sgdisk -n1:0:0 -t1:8309 -c1:four $(d nvme-QEMU_NVMe_Ctrl_fourk)
make-bcache -B $(d virtio-bcache)
sleep 600 3<>$(d virtio-writer) &
`

// TestZoo boots a guest with one disk of each kind and holds discover's facts
// against what was made.
func TestZoo(t *testing.T) {
	const small = 128 << 20
	virtio := func(serial string, size int64) testvm.Drive {
		return testvm.Drive{Model: testvm.Virtio, Serial: serial, Size: size}
	}
	drives := []testvm.Drive{
		virtio("btrfs-a", 256<<20), virtio("btrfs-b", 256<<20), virtio("md-a", small), virtio("md-b", small),
		virtio("md090", small), virtio("md10", small), virtio("luks", small), virtio("lvm", small), virtio("zfs", small),
		virtio("backup", small), virtio("odd", small), virtio("tail", small), virtio("f2fs", small), virtio("bcache", small),
		virtio("writer", small), virtio("blank", small),
		{Model: testvm.NVMe, Serial: "windows", Size: 400 << 20},
		{Model: testvm.NVMe, Serial: "fourk", Size: 400 << 20, Sector: 4096, Logical: 4096},
		{Model: testvm.SATA, Serial: "mbr", Product: "ST4000VN008", Size: small},
		{Model: testvm.SATA, Serial: "xfs", Product: "ST2000VN004", Size: 320 << 20},
		{Model: testvm.USB, Serial: "stick", Size: small},
		{Model: testvm.USB, Serial: "exfat", Size: small},
	}
	zfs, err := os.ReadFile("../disk/testdata/zfs-label.gz")
	if err != nil {
		t.Fatal(err)
	}
	g := testvm.Guest{
		Config:   testvm.Config{Timeout: 8 * time.Minute, Drives: drives},
		Programs: []string{"mdadm", "lvm", "mkfs.ntfs", "mkfs.xfs", "mkfs.exfat", "mkfs.f2fs", "make-bcache", "sfdisk", "setpriv"},
		Modules:  []string{"md_mod", "raid1", "bcache", "xfs", "exfat"},
	}
	vm, share, facts := discoverGuest(t, "zoo", g, zoo, map[string][]byte{"zfs.gz": zfs})

	t.Logf("not seen: %q", facts.Unseen())
	bySerial := map[string]disk.Disk{}
	for _, d := range facts.Disks.Disks {
		bySerial[d.Serial] = d
	}
	types := func(signatures []disk.Signature) string {
		var words []string
		for _, s := range signatures {
			words = append(words, s.Type)
		}
		return strings.Join(words, " ")
	}
	for serial, want := range map[string]string{
		"btrfs-a": "btrfs", "btrfs-b": "btrfs", "md-a": "md", "md-b": "md", "md090": "md", "md10": "md", "luks": "luks2",
		"lvm": "lvm2", "zfs": "zfs", "backup": "gpt", "odd": disk.UnknownData, "tail": disk.UnknownData, "f2fs": "f2fs",
		"bcache": "bcache", "writer": "", "blank": "", "windows": "gpt", "fourk": "gpt", "mbr": "mbr", "xfs": "xfs",
		"stick": "vfat", "exfat": "exfat",
	} {
		d, there := bySerial[serial]
		if !there {
			t.Errorf("no disk of serial %s", serial)
			continue
		}
		if got := types(d.Signatures); got != want {
			t.Errorf("%s: signatures %q, want %q", serial, got, want)
		}
	}
	holders := func(serial string) string {
		var words []string
		for _, h := range bySerial[serial].AllHolders() {
			word := h.Kind + " " + h.Name
			if h.Through != "" {
				word += " through " + h.Through
			}
			words = append(words, word)
		}
		slices.Sort(words)
		return strings.Join(words, ", ")
	}
	for serial, want := range map[string]string{
		"btrfs-a": "mount /mnt/pool", "btrfs-b": "mount /mnt/pool",
		"md-a": "md md0, mount /mnt/ext through md0", "md-b": "md md0, mount /mnt/ext through md0",
		"luks": "dm opened, swap /dev/dm-0 through dm-0", "lvm": "dm vg0-guest", "blank": "", "windows": "",
	} {
		if got := holders(serial); got != want {
			t.Errorf("%s: held by %q, want %q", serial, got, want)
		}
	}
	if got := holders("writer"); !strings.HasPrefix(got, "process sleep (PID ") && !strings.HasPrefix(got, "process busybox (PID ") {
		t.Errorf("writer: held by %q, want the process that has it open", got)
	}
	if d := bySerial["blank"]; !d.Blank() {
		t.Errorf("the blank disk is not: %s", d.Content())
	}
	if d := bySerial["windows"]; len(d.Partitions) != 4 || types(d.Partitions[2].Signatures) != "ntfs" || d.Partitions[0].Label != "EFI system partition" {
		t.Errorf("windows: %+v", d.Partitions)
	}
	if d := bySerial["mbr"]; len(d.Partitions) != 4 || d.Partitions[2].Number != 5 || d.Partitions[0].Signatures[0].Label != "old" {
		t.Errorf("mbr: %+v", d.Partitions)
	}
	if d := bySerial["backup"]; len(d.Partitions) != 1 || d.Partitions[0].Label != "lonely" || d.Signatures[0].Offset == 512 {
		t.Errorf("backup: %+v %+v", d.Signatures, d.Partitions)
	}
	if d := bySerial["fourk"]; d.LogicalSector != 4096 || len(d.Partitions) != 1 || d.Partitions[0].Start != 1<<20 {
		t.Errorf("fourk: %+v", d)
	}
	for serial, want := range map[string]string{"windows": "nvme", "mbr": "sata", "stick": "usb", "blank": "virtio"} {
		if got := bySerial[serial].Transport; got != want {
			t.Errorf("%s: transport %q, want %q", serial, got, want)
		}
	}
	if d := bySerial["mbr"]; d.Model != "ST4000VN008" || !d.Rotational || d.Discard == d.Rotational && d.Size == 0 {
		t.Errorf("mbr: model %q, rotational %v", d.Model, d.Rotational)
	}
	if d := bySerial["stick"]; d.Called() != "usb-QEMU_QEMU_HARDDISK_stick-0:0" || len(VFATs(d)) != 1 || VFATs(d)[0].UUID != "8B34-7D3C" {
		t.Errorf("stick: %s %+v", d.Called(), d.Signatures)
	}
	// The same without root: from sysfs and udev's database alone.
	shell(t, vm, "cp /share/hvinstall /tmp/ && chmod 755 /tmp /tmp/hvinstall && /usr/bin/setpriv --reuid=1000 --clear-groups /tmp/hvinstall discover --json >/share/user.json")
	data, err := os.ReadFile(filepath.Join(share, "user.json"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := LoadFacts(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(user.Disks.Disks) != len(facts.Disks.Disks) || user.Root || len(user.Disks.Unseen) < len(drives) {
		t.Errorf("without root: %d disks, root %v, %d unseen", len(user.Disks.Disks), user.Root, len(user.Disks.Unseen))
	}
	for _, d := range user.Disks.Disks {
		if d.Blank() {
			t.Errorf("without root, %s is called blank", d.Called())
		}
		if d.Serial == "windows" && (len(d.Partitions) != 4 || types(d.Partitions[2].Signatures) != "ntfs") {
			t.Errorf("without root, windows: %+v", d.Partitions)
		}
		if d.Serial == "luks" && !strings.HasPrefix(types(d.Signatures), "luks2") {
			t.Errorf("without root, luks: %+v", d.Signatures)
		}
	}
	// As a benchmark's figure, not a bound: a guest under TCG is slow.
	t.Logf("discover of %d disks: %s", len(drives), strings.TrimSpace(shell(t, vm, "echo 3 >/proc/sys/vm/drop_caches; cut -d' ' -f1 /proc/uptime; /share/hvinstall discover >/dev/null; cut -d' ' -f1 /proc/uptime")))
}

// TestSpecMachine boots a guest with the disks of the specification's host, in
// their real sizes, and keeps what discover sees: testdata/machines is made
// from it.
func TestSpecMachine(t *testing.T) {
	hdd := func(serial, product string, size int64) testvm.Drive {
		return testvm.Drive{Model: testvm.SATA, Serial: serial, Product: product, Size: size, Sector: 4096, Logical: 512}
	}
	g := testvm.Guest{Config: testvm.Config{
		Timeout: 4 * time.Minute,
		Drives: []testvm.Drive{
			{Model: testvm.NVMe, Serial: "S466NX0M712345A", Size: 500107862016},
			{Model: testvm.NVMe, Serial: "S467NX0M801234B", Size: 1000204886016},
			{Model: testvm.NVMe, Serial: "20473A800123", Size: 1000204886016},
			{Model: testvm.NVMe, Serial: "50026B7683A1B2C3", Size: 500107862016},
			hdd("ZGY0A1B2", "ST4000VN008-2DR166", 4000787030016),
			hdd("Z523C4D5", "ST2000VN004-2E4164", 2000398934016),
			hdd("WD-WCC4M6E7F8G9", "WDC WD20EFRX-68EUZN0", 2000398934016),
			{Model: testvm.USB, Serial: "4C530001230101117392", Size: 15376318464},
		},
		NICs: []testvm.NIC{{PCIBus: 5, MAC: "3c:7c:3f:12:34:56"}},
	}}
	_, _, facts := discoverGuest(t, "spec", g, "true\n", nil)
	if n := len(facts.Disks.Disks); n != 8 {
		t.Fatalf("%d disks, want 8", n)
	}
	for _, d := range facts.Disks.Disks {
		if !d.Blank() || len(d.ByID) == 0 {
			t.Errorf("%s: %s, by-id %q; want blank, with a name", d.Called(), d.Content(), d.ByID)
		}
	}
	for _, id := range []string{"ata-ST4000VN008-2DR166_ZGY0A1B2", "ata-ST2000VN004-2E4164_Z523C4D5", "ata-WDC_WD20EFRX-68EUZN0_WD-WCC4M6E7F8G9"} {
		if found := facts.Disks.ByName(id); len(found) != 1 || !found[0].Rotational || found[0].PhysicalSector != 4096 {
			t.Errorf("%s: %+v", id, found)
		}
	}
	nics := facts.Network.NICs
	if len(nics) != 1 || nics[0].Name != "enp5s0" || nics[0].MAC != "3c:7c:3f:12:34:56" || nics[0].Kind != "physical" || nics[0].Driver != "virtio_net" || nics[0].Bus != "pci-0000:05:00.0" {
		t.Errorf("NICs: %+v", nics)
	}
}
