//go:build guest

package unlock_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"hvinstall/initrd"
	"hvinstall/initrd/boot"
	"hvinstall/testvm"
)

const (
	passphrase = "correct horse battery staple"
	stickUUID  = "8B34-7D3C"
	liveUUID   = "11AA-22BB"
	rootFS     = "11111111-2222-3333-4444-555555555555"
	vmstoreFS  = "22222222-2222-3333-4444-555555555555"
	bulkFS     = "33333333-2222-3333-4444-555555555555"
)

// disks are the spec's seven, then sticks and a decoy. Sizes are small: what
// the init does to a disk does not depend on its size.
var disks = []struct {
	drive   testvm.Drive
	mapping string
	pool    string
}{
	{testvm.Drive{ID: "os", Model: testvm.NVMe, Serial: "NVOS"}, "cryptroot", ""},
	{testvm.Drive{ID: "nv1", Model: testvm.NVMe, Serial: "NV001"}, "crypt-vmstore-1", "vmstore"},
	{testvm.Drive{ID: "nv2", Model: testvm.NVMe, Serial: "NV002"}, "crypt-vmstore-2", "vmstore"},
	{testvm.Drive{ID: "nv3", Model: testvm.NVMe, Serial: "NV003"}, "crypt-vmstore-3", "vmstore"},
	{testvm.Drive{ID: "hd1", Model: testvm.SATA, Serial: "HD001", Product: "ST4000VN008"}, "crypt-bulk-1", "bulk"},
	{testvm.Drive{ID: "hd2", Model: testvm.SATA, Serial: "HD002", Product: "ST2000VN004"}, "crypt-bulk-2", "bulk"},
	{testvm.Drive{ID: "hd3", Model: testvm.SATA, Serial: "HD003", Product: "ST2000VN004"}, "crypt-bulk-3", "bulk"},
}

var sticks = []testvm.Drive{
	{ID: "stick", Model: testvm.USB, Serial: "USB001"},
	{ID: "clone", Model: testvm.USB, Serial: "USB002"}, // the same VFAT serial, another key
	{ID: "empty", Model: testvm.USB, Serial: "USB003"}, // the same VFAT serial, no key
	{ID: "live", Model: testvm.USB, Serial: "USB004"},
	{ID: "decoy", Model: testvm.SATA, Serial: "HD009"},  // the OS volume's LUKS label, another UUID
	{ID: "twin", Model: testvm.SATA, Serial: "HD010"},   // a copy of the OS disk
	{ID: "old", Model: testvm.SATA, Serial: "HD011"},    // the cipher of another time
	{ID: "forged", Model: testvm.SATA, Serial: "HD012"}, // the OS volume's LUKS UUID, and the key of the stick "clone"
}

const oldUUID = "88888888-aaaa-bbbb-cccc-dddddddddddd"

func luksUUID(i int) string { return fmt.Sprintf("%08d-aaaa-bbbb-cccc-dddddddddddd", i+1) }

func byID(d testvm.Drive) string {
	if d.Model == testvm.NVMe {
		return "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_" + d.Serial
	}
	return "/dev/disk/by-id/ata-" + d.Product + "_" + d.Serial
}

// config is the plan of the fixture's host. Waits are longer than a guest on a
// busy machine takes; tests that wait them out set shorter ones.
func config() boot.Config {
	c := boot.Config{
		Hostname: "hypervisor", FallbackToPassword: true,
		KeyWait: boot.Duration(time.Minute), PoolWait: boot.Duration(time.Minute), PatientWait: boot.Duration(time.Minute),
		Keys: []boot.Key{{FSUUID: stickUUID, Filename: "hypervisor"}},
		Root: boot.Root{FSUUID: rootFS, Subvolume: "/", Options: boot.Options{"compress=zstd", "noatime"}, Proof: proofOf(rootSecret(1))},
		Pools: []boot.Pool{
			{Name: "vmstore", FSUUID: vmstoreFS, Members: 3, Subvolume: "/", Mountpoint: "/mnt/vmstore", Options: boot.Options{"noatime", "discard=async"}},
			{Name: "bulk", FSUUID: bulkFS, Members: 3, Subvolume: "/", Mountpoint: "/mnt/bulk", Options: boot.Options{"noatime"}},
		},
	}
	for i, d := range disks {
		c.Volumes = append(c.Volumes, boot.Volume{UUID: luksUUID(i), Mapping: d.mapping, Pool: d.pool, DiskID: byID(d.drive)})
	}
	return c
}

// rootSecret is the secret of one root or of another.
func rootSecret(n byte) []byte { return boot.RootSecret([48]byte{n}) }

func proofOf(secret []byte) string {
	proof, err := boot.RootProof(secret)
	if err != nil {
		panic(err)
	}
	return proof
}

// rootInit is the system's init of the fixture: it says what it finds, in
// lines that the tests read, and powers off.
const rootInit = `#!/bin/busybox sh
export PATH=/bin
exec >/dev/console 2>&1
read up idle </proc/uptime; echo "UPTIME $up"
echo "SYSTEM args=$*"
for m in / /mnt/vmstore /mnt/bulk; do
	grep " $m " /proc/self/mounts | sed 's/^/MOUNT /'
	cat $m/marker 2>/dev/null
done
grep -c ' rootfs ' /proc/self/mounts | sed 's/^/ROOTFS /'
echo "LEFT $(grep -E '/run/key|/sysroot' /proc/self/mounts | wc -l) $(ls -d /run/key* 2>/dev/null | wc -l)"
echo "UDEV $(ls /run/udev/data | tr '\n' ' ')"
echo "SLAVES $(cd /sys/block; for d in dm-*; do echo -n "$(cat $d/dm/name)=$(ls $d/slaves) "; done)"
echo "MAPPER $(cd /dev/mapper; for f in *; do echo -n "$f>$(readlink $f) "; done)"
dmesg -r | grep 'hvinstall: WARNING' | sed 's/^/KMSG /'
echo "LIVE $(ls /run/hvinstall/live/hvinstall 2>/dev/null)"
echo "CLOCK $(date +%s)"
echo "PRINTK $(cut -f1 /proc/sys/kernel/printk)"
echo REPORT-BEGIN; cat /run/hvinstall/boot.json; echo REPORT-END
if grep -q test.udev /proc/cmdline; then
	mount -t tmpfs tmpfs /tmp
	/lib/systemd/systemd-udevd --daemon
	udevadm trigger --action=add --type=subsystems; udevadm trigger --action=add --type=devices
	udevadm settle --timeout=120
	for d in /dev/dm-*; do
		echo "DM $(udevadm info -q property $d | grep -E '^(DM_NAME|ID_FS_UUID|SYSTEMD_READY|TAGS|ID_BTRFS_READY)=' | tr '\n' ' ')"
	done
	for l in /dev/disk/by-uuid/* /dev/mapper/*; do echo "LINK $l $(readlink $l)"; done
	echo UDEV-END
fi
poweroff -f
`

// fixture is the disks, and the initramfs without a plan.
type fixture struct {
	dir     string
	kernel  testvm.Kernel
	vmlinux string // the kernel, unpacked
	binary  string
	image   []byte // the initramfs of the host
}

var made struct {
	once sync.Once
	fixture
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

func fixed(t testing.TB) fixture {
	t.Helper()
	made.once.Do(func() { made.err = made.make() })
	if made.err != nil {
		t.Fatalf("making the disks: %v", made.err)
	}
	return made.fixture
}

func (f *fixture) make() error {
	var err error
	if f.kernel, err = testvm.DebianKernel(); err != nil {
		return err
	}
	if f.vmlinux, err = f.kernel.Unpacked(); err != nil {
		return err
	}
	if f.dir, err = os.MkdirTemp("", "hvinstall-boot-"); err != nil {
		return err
	}
	if f.binary, err = testvm.Program(f.dir); err != nil {
		return err
	}
	c := config()
	if f.image, err = f.buildImage(&c); err != nil {
		return err
	}
	return f.makeDisks()
}

func (f fixture) path(id string) string { return filepath.Join(f.dir, id+".img") }

func (f *fixture) buildImage(c *boot.Config) ([]byte, error) {
	image, err := initrd.Build(initrd.Options{Root: "/", Kernel: f.kernel.Release, Binary: f.binary, Config: c})
	return image.Data, err
}

// addition is a file put into an initramfs.
type addition struct {
	data []byte
	mode uint64
}

// withModes is the initramfs with more files: the kernel unpacks one archive
// after the other, the later over the earlier.
func withModes(image []byte, files map[string]addition) ([]byte, error) {
	var extra bytes.Buffer
	w := cpio.Newc.Writer(&extra)
	made := map[string]bool{}
	for name, file := range files {
		for _, dir := range folders(name) {
			if !made[dir] {
				made[dir] = true
				if err := w.WriteRecord(cpio.Directory(dir, 0o755)); err != nil {
					return nil, err
				}
			}
		}
		if err := w.WriteRecord(cpio.StaticFile(name, string(file.data), file.mode)); err != nil {
			return nil, err
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	out := append([]byte(nil), image...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return append(out, extra.Bytes()...), nil
}

// folders are those that a file lies in, the outermost first.
func folders(name string) []string {
	var list []string
	for d := filepath.Dir(name); d != "."; d = filepath.Dir(d) {
		list = append([]string{d}, list...)
	}
	return list
}

// machine is one boot.
type machine struct {
	config  boot.Config
	without []string       // IDs of disks that are not there
	sticks  []string       // IDs of sticks and decoys that are
	later   []string       // IDs of what can be plugged in
	moved   []testvm.Drive // by their IDs: how disks are attached and what they are called now
	append  string         // to the kernel command line
	screen  bool
	files   map[string]addition // into the initramfs
	qemu    []string            // words of its command line
}

func (m machine) boot(t testing.TB) *testvm.VM {
	t.Helper()
	f := fixed(t)
	plan, err := m.config.JSON()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]addition{boot.ConfigPath[1:]: {plan, 0o600}}
	maps.Copy(files, m.files)
	image, err := withModes(f.image, files)
	if err != nil {
		t.Fatal(err)
	}
	initramfs := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(initramfs, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return m.start(t, f, initramfs)
}

// start boots any initramfs.
func (m machine) start(t testing.TB, f fixture, initramfs string) *testvm.VM {
	t.Helper()
	c := testvm.Config{
		Kernel: f.vmlinux, Initrd: initramfs, Timeout: 8 * time.Minute, Screen: m.screen, Extra: m.qemu,
		Append: strings.TrimSpace("console=ttyS0 panic=-1 mitigations=off no_timer_check " + m.append),
	}
	if m.screen {
		c.Kernel = f.kernel.Image // which sets the screen up
	}
	all := sticks
	for _, d := range disks {
		all = append([]testvm.Drive{d.drive}, all...)
	}
	return testvm.Boot(t, m.withDrives(f, c, all))
}

// withDrives adds the disks and sticks that the machine has.
func (m machine) withDrives(f fixture, c testvm.Config, all []testvm.Drive) testvm.Config {
	for _, d := range all {
		present := !contains(m.without, d.ID)
		if slices.ContainsFunc(sticks, func(s testvm.Drive) bool { return s.ID == d.ID }) {
			present = contains(m.sticks, d.ID)
		}
		d.Later = contains(m.later, d.ID)
		if !present && !d.Later {
			continue
		}
		if d.Later {
			d.Model = testvm.USB // the machine's other buses take nothing while it runs
		}
		if at := slices.IndexFunc(m.moved, func(now testvm.Drive) bool { return now.ID == d.ID }); at >= 0 {
			d = m.moved[at]
		}
		d.Path, d.Snapshot = f.path(d.ID), true
		c.Drives = append(c.Drives, d)
	}
	return c
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// expect fails the test when the guest does not say it in time.
func expect(t testing.TB, vm *testvm.VM, expression string) []string {
	t.Helper()
	found, err := vm.Expect(4*time.Minute, expression)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// booted waits for the system and returns what it says, and the report.
func booted(t testing.TB, vm *testvm.VM) (string, boot.Report) {
	t.Helper()
	said := expect(t, vm, `(?s)SYSTEM args=(.*?)REPORT-BEGIN(.*?)REPORT-END`)
	var report boot.Report
	if err := json.Unmarshal([]byte(said[2]), &report); err != nil {
		t.Fatalf("the report: %v\n%s", err, said[2])
	}
	if err := vm.Wait(20 * time.Second); err != nil {
		t.Error(err)
	}
	return strings.ReplaceAll(said[1], "\r", ""), report
}
