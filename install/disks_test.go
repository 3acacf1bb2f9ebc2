package install

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/step"
)

// exampleSteps are the steps of an OS disk, a pool of two and two sticks.
func exampleSteps(adopt bool) []step.Step {
	fate := disk.Create
	if adopt {
		fate = disk.Adopt
	}
	luks := func(guid string) disk.PartitionPlan {
		return disk.PartitionPlan{Number: 1, GUID: guid, Format: "luks", Start: 1 << 20, Size: 1 << 30}
	}
	vfat := disk.PartitionPlan{Number: 2, GUID: "v", Format: "vfat", FSUUID: "AAAA-0001"}
	d := disk.Plan{
		Disks: []disk.DiskPlan{
			{ID: "/dev/disk/by-id/os", Role: disk.RoleOS, Name: "os", Fate: fate, Table: disk.TablePlan{Partitions: []disk.PartitionPlan{vfat, luks("o")}}},
			{ID: "/dev/disk/by-id/a", Role: disk.RolePool, Pool: "fast", Name: "fast-1", Fate: fate, Table: disk.TablePlan{Partitions: []disk.PartitionPlan{luks("a")}}},
			{ID: "/dev/disk/by-id/b", Role: disk.RolePool, Pool: "fast", Name: "fast-2", Fate: fate, Table: disk.TablePlan{Partitions: []disk.PartitionPlan{luks("b")}}},
			{ID: "/dev/disk/by-id/key", Role: disk.RoleKey, Name: "key-1", Fate: disk.Create, Table: disk.TablePlan{Partitions: []disk.PartitionPlan{vfat}}},
		},
		Filesystems: []disk.FilesystemPlan{
			{Label: "root", Role: disk.RoleOS, Devices: []string{"/dev/mapper/cryptroot"}, Swap: &disk.SwapPlan{Subvolume: "swap", Path: "/swap/swapfile", Size: 1 << 20},
				Subvols: []disk.SubvolumePlan{{Name: "home", Mountpoint: "/home"}, {Name: "root", Mountpoint: "/"}}},
			{Label: "fast", Role: disk.RolePool, RAID1: true, Devices: []string{"/dev/mapper/crypt-fast-1", "/dev/mapper/crypt-fast-2"},
				Subvols: []disk.SubvolumePlan{{Name: "fast", Mountpoint: "/mnt/fast"}}},
		},
	}
	c := crypt.Plan{
		Volumes: []crypt.VolumePlan{
			{Mapping: "cryptroot", DiskID: "/dev/disk/by-id/os", Adopted: adopt},
			{Mapping: "crypt-fast-1", DiskID: "/dev/disk/by-id/a", Pool: "fast", Adopted: adopt},
			{Mapping: "crypt-fast-2", DiskID: "/dev/disk/by-id/b", Pool: "fast", Adopted: adopt},
		},
		Keys: []crypt.KeyPlan{{DiskID: "/dev/disk/by-id/key", FSUUID: "AAAA-0002", Format: true}, {FSUUID: "8B34-7D3C"}},
	}
	return diskSteps(d, c, DiskEnv{Root: "/mnt/target", ESP: "/boot", Keyring: &crypt.Keyring{}})
}

// inOrder runs the steps without their work, as the runner would, and returns
// where each came in the order of completion.
func inOrder(t *testing.T, steps []step.Step) map[string]int {
	t.Helper()
	var mu sync.Mutex
	done := map[string]int{}
	for i, s := range steps {
		steps[i].Check = func(context.Context) (step.State, string, error) {
			mu.Lock()
			defer mu.Unlock()
			done[s.ID] = len(done)
			return step.Done, "", nil
		}
	}
	runner := step.Runner{Side: 16}
	if _, err := runner.Run(context.Background(), steps); err != nil {
		t.Fatal(err)
	}
	return done
}

// TestDiskStepsOrder holds the edges between steps against what must precede
// what, whatever else runs side by side.
func TestDiskStepsOrder(t *testing.T) {
	steps := exampleSteps(false)
	waits := map[string][]string{}
	for _, s := range steps {
		waits[s.ID] = s.After
	}
	var before func(earlier, later string) bool
	before = func(earlier, later string) bool {
		return slices.ContainsFunc(waits[later], func(w string) bool { return w == earlier || before(earlier, w) })
	}
	for _, c := range []struct{ earlier, later, why string }{
		{"crypt/cost", "disk/table/os", "the benchmark needs an idle machine"},
		{"crypt/cost", "crypt/key/8B34-7D3C", "the benchmark needs an idle machine"},
		{"disk/vfat/key-1", "crypt/key/AAAA-0002", "a key is put on a formatted stick"},
		{"crypt/key/AAAA-0002", "crypt/format/cryptroot", "the first key is in the first slot"},
		{"crypt/key/8B34-7D3C", "crypt/format/crypt-fast-1", "no volume is made before every stick has its key"},
		{"disk/table/fast-1", "crypt/format/crypt-fast-1", "a volume stands on a partition"},
		{"crypt/slot/crypt-fast-1/8B34-7D3C", "crypt/open/crypt-fast-1", "one change of a header at a time"},
		{"crypt/open/cryptroot", "crypt/passphrase/cryptroot", "one change of a header at a time"},
		{"crypt/open/crypt-fast-1", "disk/btrfs/fast", "all members are open"},
		{"crypt/open/crypt-fast-2", "disk/btrfs/fast", "all members are open"},
		{"disk/mount/", "disk/mount/home", "outer mounts first"},
		{"disk/mount/", "disk/mount/mnt/fast", "the pool is mounted in the system"},
		{"disk/mount/", "disk/mount/boot", "the ESP is mounted in the system"},
		{"disk/mount/swap", "disk/swapfile/root", "the swapfile is in its subvolume"},
		{"disk/mount/", "crypt/backup/crypt-fast-1", "the pool's header is kept on the system"},
		{"disk/mount/mnt/fast", "crypt/backup/cryptroot", "the system's header is kept on the pool"},
		{"crypt/passphrase/crypt-fast-1", "crypt/backup/crypt-fast-1", "the backup has every slot"},
		{"disk/mount/mnt/fast", "disk/seal/fast-1", "complete is what is mounted"},
		{"crypt/passphrase/crypt-fast-2", "disk/seal/fast-2", "complete is what opens by passphrase"},
		{"disk/vfat/os", "disk/seal/os", "complete is with the ESP"},
		{"disk/swapfile/root", "disk/seal/os", "complete is with the swapfile"},
		{"crypt/key/AAAA-0002", "disk/seal/key-1", "complete is with the key"},
	} {
		if waits[c.earlier] == nil && !slices.ContainsFunc(steps, func(s step.Step) bool { return s.ID == c.earlier }) {
			t.Errorf("there is no step %s", c.earlier)
		}
		if !before(c.earlier, c.later) {
			t.Errorf("%s does not wait for %s: %s", c.later, c.earlier, c.why)
		}
	}
	for _, pair := range [][2]string{{"disk/table/fast-1", "disk/table/fast-2"}, {"crypt/format/cryptroot", "crypt/format/crypt-fast-1"}, {"crypt/passphrase/crypt-fast-1", "disk/btrfs/fast"}} {
		if before(pair[0], pair[1]) || before(pair[1], pair[0]) {
			t.Errorf("%s and %s could run side by side, and do not", pair[0], pair[1])
		}
	}
	if done := inOrder(t, steps); len(done) != len(steps) {
		t.Errorf("%d of %d steps ran", len(done), len(steps))
	}
}

// TestAdoptedIsNotWritten: nothing of an adopted disk is changed; it is opened,
// mounted and its header kept.
func TestAdoptedIsNotWritten(t *testing.T) {
	for _, s := range exampleSteps(true) {
		for _, kind := range []string{"disk/table/", "disk/vfat/", "disk/seal/", "crypt/slot/", "crypt/passphrase/"} {
			if strings.HasPrefix(s.ID, kind) && !strings.HasSuffix(s.ID, "key-1") {
				t.Errorf("an adopted host gets the step %s", s.ID)
			}
		}
	}
}
