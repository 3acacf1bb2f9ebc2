//go:build loop

package disk

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

func needs(t *testing.T, programs map[string]string) {
	t.Helper()
	for program, name := range programs {
		if _, err := host.LookPath(program); err != nil {
			t.Fatalf("%s is not installed: apt-get install %s", program, name)
		}
	}
}

func program(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := host.Cmd{Argv: argv}.Output(context.Background())
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(out)
}

// loop attaches a sparse file of size bytes, with sectors of that size.
func loop(t *testing.T, size int64, sector int) string {
	t.Helper()
	needs(t, map[string]string{"losetup": "mount"})
	file := sparseDisk(t, size)
	device := strings.TrimSpace(program(t, "losetup", "--find", "--show", "--sector-size", strconv.Itoa(sector), file.Name()))
	t.Cleanup(func() { program(t, "losetup", "--detach", device) })
	return device
}

// TestTableBySgdisk has sgdisk verify the tables of disks of all sizes, those
// beyond 2 TiB and those of 4096-byte sectors among them.
func TestTableBySgdisk(t *testing.T) {
	needs(t, map[string]string{"sgdisk": "gdisk"})
	for _, c := range []struct {
		size   int64
		sector int
	}{{1 << 30, 512}, {500107862016, 512}, {4000787030016, 512}, {4000787030016, 4096}, {1<<30 + 512*33, 512}} {
		device := loop(t, c.size, c.sector)
		file, err := openExclusive(context.Background(), device)
		if err != nil {
			t.Fatal(err)
		}
		table := tableOf(uint64(c.size))
		w, err := table.layOut(uint64(c.size), uint32(c.sector))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.put(file), file.Close()); err != nil {
			t.Fatal(err)
		}
		if out := program(t, "sgdisk", "-v", device); !strings.Contains(out, "No problems found") {
			t.Errorf("%d bytes, sectors of %d:\n%s", c.size, c.sector, out)
		}
		info := program(t, "sgdisk", "-i", "2", device)
		for _, want := range []string{strings.ToUpper(table.Partitions[1].GUID), "'disk-os-luks'", strings.ToUpper(TypeLinuxLUKS)} {
			if !strings.Contains(info, want) {
				t.Errorf("partition 2 lacks %s:\n%s", want, info)
			}
		}
		if out := program(t, "sgdisk", "-p", device); !strings.Contains(out, strings.ToUpper(table.GUID)) {
			t.Errorf("the table lacks its GUID:\n%s", out)
		}
		c := newContent(mustOpen(t, device), 0, uint64(c.size), uint32(c.sector))
		if tables := readTables(c, nil); len(tables) != 1 || len(tables[0].partitions) != 2 {
			t.Errorf("our own reader finds %+v", tables)
		}
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestHeldDisk: a disk that another opens exclusively is not written to.
func TestHeldDisk(t *testing.T) {
	device := loop(t, 1<<30, 512)
	other, err := openExclusive(context.Background(), device)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = openExclusive(context.Background(), device)
	var busy *BusyError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), device) {
		t.Errorf("= %v, want a BusyError that names the disk", err)
	}
}

// TestWipeByBlkid puts signatures at both ends of a disk and of its old
// partition, wipes, and asks blkid and wipefs.
func TestWipeByBlkid(t *testing.T) {
	needs(t, map[string]string{"sgdisk": "gdisk", "wipefs": "util-linux", "mkfs.ext4": "e2fsprogs"})
	const size = 4 << 30
	device := loop(t, size, 512)
	program(t, "sgdisk", "-n", "1:2048:+1G", device)
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for at, magic := range map[int64]string{
		64<<10 + 0x40: "_BHRfS_M", 1<<20 + 0x438: "\x53\xef", 1 << 20: "LUKS\xba\xbe\x00\x02", 1<<20 + 16384: "SKUL\xba\xbe\x00\x02",
		size - 8192: "\xfc\x4e\x2b\xa9\x01\x00\x00\x00", size - 65536: "\xfc\x4e\x2b\xa9\x00\x00\x00\x00",
	} {
		if _, err := file.WriteAt([]byte(magic), at); err != nil {
			t.Fatal(err)
		}
	}
	dp := DiskPlan{ID: device, Disk: Disk{Size: size, LogicalSector: 512, Partitions: []Partition{{Number: 1, Start: 1 << 20, Size: 1 << 30}}}, Table: tableOf(size)}
	if err := zero(file, dp.wipeSpans()); err != nil {
		t.Fatal(err)
	}
	if out := program(t, "wipefs", device); out != "" {
		t.Errorf("wipefs still finds\n%s", out)
	}
	if out := program(t, "wipefs", "--offset", "1MiB", device); out != "" {
		t.Errorf("wipefs still finds, in the old partition,\n%s", out)
	}
	c := newContent(file, 0, size, 512)
	if found := contentSignatures(c); len(found) > 0 || !c.blank() {
		t.Errorf("found %v, blank %v", found, c.blank())
	}
}

// TestVFAT has fsck.vfat judge what was made, and cuts a format short.
func TestVFAT(t *testing.T) {
	needs(t, map[string]string{"mkfs.vfat": "dosfstools", "fsck.vfat": "dosfstools", "blkid": "util-linux"})
	device := loop(t, 300<<20, 512)
	// A link as udev's: the function formats what by-partuuid leads to.
	p := PartitionPlan{GUID: "loop-test-" + strconv.Itoa(os.Getpid()), Format: "vfat", FSLabel: "ESP", FSUUID: "8B34-7D3C", Size: 300 << 20}
	if err := os.MkdirAll(filepath.Dir(p.Device()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(device, p.Device()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(p.Device()) })
	if found, err := p.foundVFAT(); found != "" || err != nil {
		t.Errorf("on a blank device: %q, %v", found, err)
	}
	program(t, "mkfs.vfat", "-F", "32", "-i", "11112222", device)
	if found, err := p.foundVFAT(); found != "1111-2222" || err != nil {
		t.Errorf("another's: %q, %v", found, err)
	}
	if err := p.makeVFAT(context.Background(), t.Logf); err != nil {
		t.Fatal(err)
	}
	if found, err := p.foundVFAT(); found != p.FSUUID || err != nil {
		t.Errorf("ours: %q, %v", found, err)
	}
	program(t, "fsck.vfat", "-n", device)
	out := program(t, "blkid", "-p", "-o", "export", device)
	for _, want := range []string{"UUID=8B34-7D3C", "LABEL=ESP", "VERSION=FAT32"} {
		if !strings.Contains(out, want) {
			t.Errorf("blkid lacks %s:\n%s", want, out)
		}
	}
}

// TestPool makes a RAID1 of three devices and an OS file system, mounts them,
// and has btrfs check them.
func TestPool(t *testing.T) {
	needs(t, map[string]string{"mkfs.btrfs": "btrfs-progs", "btrfs": "btrfs-progs", "mkswap": "util-linux"})
	root := t.TempDir()
	pool := FilesystemPlan{
		Label: "bulk", UUID: "6f1c2a3b-1111-5000-8000-000000000001", Role: RolePool, RAID1: true,
		Devices: []string{loop(t, 1<<30, 512), loop(t, 1<<30, 4096), loop(t, 2<<30, 512)},
		Subvols: []SubvolumePlan{{Name: "bulk", Mountpoint: "/mnt/bulk", Options: []string{"compress=zstd", "noatime", "nodiscard"}}},
	}
	system := FilesystemPlan{
		Label: "root", UUID: "6f1c2a3b-1111-5000-8000-000000000002", Role: RoleOS, Devices: []string{loop(t, 2<<30, 512)}, Discard: true,
		Subvols: []SubvolumePlan{
			{Name: "home", Mountpoint: "/home", Options: []string{"noatime", "discard=async"}},
			{Name: "root", Mountpoint: "/", Options: []string{"noatime", "discard=async"}},
		},
		Swap: &SwapPlan{Subvolume: "swap", Path: "/swap/swapfile", Size: 64 << 20},
	}
	t.Cleanup(func() {
		mounts, err := host.Mounts()
		if err != nil {
			t.Fatal(err)
		}
		for i := len(mounts) - 1; i >= 0; i-- {
			if strings.HasPrefix(mounts[i].Target, root) {
				if err := unix.Unmount(mounts[i].Target, 0); err != nil {
					t.Errorf("unmounting %s: %v", mounts[i].Target, err)
				}
			}
		}
	})
	begun := func(string) (bool, error) { return true, nil }
	var steps []step.Step
	for _, fs := range []FilesystemPlan{system, pool} {
		steps = append(steps, fs.FormatStep(begun))
		outer := []string{}
		if fs.Role == RolePool {
			outer = append(outer, MountStepID("/"))
		}
		steps = append(steps, fs.MountSteps(root, outer...)...)
		if fs.Swap != nil {
			steps = append(steps, fs.SwapStep(root, MountStepID("/swap")))
		}
	}
	runner := step.Runner{Side: 8}
	if changed, err := runner.Run(context.Background(), steps); err != nil || changed != len(steps) {
		t.Fatalf("%d of %d steps, %v", changed, len(steps), err)
	}
	if changed, err := runner.Run(context.Background(), steps); err != nil || changed != 0 {
		t.Errorf("the second run changed something in %d steps, %v", changed, err)
	}
	if out := program(t, "btrfs", "filesystem", "usage", root+"/mnt/bulk"); !strings.Contains(out, "Data,RAID1") || !strings.Contains(out, "Metadata,RAID1") {
		t.Errorf("usage:\n%s", out)
	}
	if info, err := os.Stat(root + "/swap/swapfile"); err != nil || info.Size() != 64<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("swapfile: %v, %v", info, err)
	}
	if out := program(t, "lsattr", root+"/swap/swapfile"); !strings.Contains(strings.Fields(out)[0], "C") {
		t.Errorf("the swapfile is copied on write: %s", out)
	}
	larger := system
	larger.Swap = &SwapPlan{Subvolume: "swap", Path: "/swap/swapfile", Size: 96 << 20}
	resized := []step.Step{larger.SwapStep(root)}
	if changed, err := runner.Run(context.Background(), resized); err != nil || changed != 1 {
		t.Errorf("a swapfile of another size: %d steps changed, %v", changed, err)
	}
	if info, err := os.Stat(root + "/swap/swapfile"); err != nil || info.Size() != 96<<20 || !isSwap(root+"/swap/swapfile") {
		t.Errorf("the swapfile made anew: %v, %v", info, err)
	}
	mounting := func(fs FilesystemPlan) []step.Step {
		s := fs.MountSteps(root)[0]
		s.After = nil
		return []step.Step{s}
	}
	optioned := pool
	optioned.Subvols = []SubvolumePlan{{Name: "bulk", Mountpoint: "/mnt/bulk", Options: []string{"compress=lzo", "relatime", "discard=async"}}}
	for _, want := range []int{1, 0} {
		if changed, err := runner.Run(context.Background(), mounting(optioned)); err != nil || changed != want {
			t.Errorf("other mount options: %d steps changed, want %d; %v", changed, want, err)
		}
	}
	if m, _, err := host.MountedAt(root + "/mnt/bulk"); err != nil || !strings.Contains(m.Options, "compress=lzo") || !strings.Contains(m.Options, "relatime") {
		t.Errorf("mounted anew with %s, %v", m.Options, err)
	}
	unknown := pool // an option that the kernel knows and does not show must not stop anything
	unknown.Subvols = []SubvolumePlan{{Name: "bulk", Mountpoint: "/mnt/bulk", Options: []string{"compress=lzo", "noatime", "nodiscard", "compress-force=zstd"}}}
	if _, err := runner.Run(context.Background(), mounting(unknown)); err != nil {
		t.Errorf("options that contradict each other: %v", err)
	}
	if err := os.WriteFile(root+"/taken", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if state, why, err := checkHides(root, ""); state != step.Foreign || err != nil || !strings.Contains(why, "would hide") {
		t.Errorf("a mount over files: %v, %s, %v", state, why, err)
	}
	mounts, err := host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, root) {
			order += " " + m.Root
		}
	}
	if !strings.HasPrefix(order, " /root ") {
		t.Errorf("mounted in the order%s, want the root first", order)
	}

	// Something else at the place is named, not covered.
	if err := unix.Mount("tmpfs", root+"/home", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	_, err = runner.Run(context.Background(), steps)
	var foreign *step.ForeignError
	if !errors.As(err, &foreign) || !strings.Contains(err.Error(), "tmpfs") {
		t.Errorf("with a tmpfs at /home: %v", err)
	}
	if err := unix.Unmount(root+"/home", 0); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"/mnt/bulk", "/home", "/swap", ""} {
		if err := unix.Unmount(root+place, 0); err != nil {
			t.Fatal(err)
		}
	}
	program(t, "btrfs", "check", "--readonly", system.Devices[0])
	program(t, "btrfs", "check", "--readonly", pool.Devices[0])

	// A member whose superblock is gone is never made anew on a complete disk.
	file, err := os.OpenFile(pool.Devices[2], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(zero(file, []span{{64 << 10, 4096}}), file.Close()); err != nil {
		t.Fatal(err)
	}
	complete := func(string) (bool, error) { return false, nil }
	if state, why, err := pool.FormatStep(complete).Check(context.Background()); state != step.Foreign || err != nil || !strings.Contains(why, pool.Devices[2]) {
		t.Errorf("a lost superblock: %v (%s), %v", state, why, err)
	}
	if state, why, err := pool.FormatStep(begun).Check(context.Background()); state != step.Absent || err != nil {
		t.Errorf("while the disks are being made: %v (%s), %v", state, why, err)
	}
}

// TestAnotherBtrfs: a device that holds somebody's file system is named.
func TestAnotherBtrfs(t *testing.T) {
	needs(t, map[string]string{"mkfs.btrfs": "btrfs-progs"})
	device := loop(t, 1<<30, 512)
	if out, err := exec.Command("mkfs.btrfs", "-q", "-L", "photos", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fs := FilesystemPlan{Label: "bulk", UUID: "6f1c2a3b-1111-5000-8000-000000000001", Devices: []string{device}}
	state, why, err := fs.FormatStep(func(string) (bool, error) { return true, nil }).Check(context.Background())
	if state != step.Foreign || err != nil || !strings.Contains(why, "photos") {
		t.Errorf("= %v (%s), %v; want it called foreign by its label", state, why, err)
	}
}

// TestClosedMemberIsNotFormatted: a device that was not open when the step
// looked, and is a complete file system by the time that it acts, is kept.
func TestClosedMemberIsNotFormatted(t *testing.T) {
	needs(t, map[string]string{"mkfs.btrfs": "btrfs-progs"})
	device := loop(t, 1<<30, 512)
	link := filepath.Join(t.TempDir(), "crypt-bulk-1")
	fs := FilesystemPlan{Label: "bulk", UUID: "6f1c2a3b-1111-5000-8000-000000000008", Devices: []string{link}}
	program(t, "mkfs.btrfs", "-q", "-U", fs.UUID, device)
	complete := func(string) (bool, error) { return false, nil }
	s := fs.FormatStep(complete)
	if state, _, err := s.Check(context.Background()); state != step.Absent || err != nil {
		t.Fatalf("closed: %v, %v", state, err)
	}
	if err := s.Do(context.Background(), quietLoop{t}); err == nil || !strings.Contains(err.Error(), "is not open") {
		t.Errorf("still closed: %v", err)
	}
	if err := os.Symlink(device, link); err != nil {
		t.Fatal(err)
	}
	before := program(t, "btrfs", "inspect-internal", "dump-super", device)
	if err := s.Do(context.Background(), quietLoop{t}); err != nil {
		t.Errorf("opened meanwhile: %v", err)
	}
	if after := program(t, "btrfs", "inspect-internal", "dump-super", device); after != before {
		t.Error("the file system was made anew")
	}
}

type quietLoop struct{ t *testing.T }

func (q quietLoop) Progress(int64, int64, string)  {}
func (q quietLoop) Log(format string, args ...any) { q.t.Logf(format, args...) }
func (q quietLoop) Warn(format string, a ...any)   { q.t.Logf("warning: "+format, a...) }
