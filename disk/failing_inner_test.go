//go:build guest_inner

package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// failing is a disk of 512 MiB on which a part cannot be written to, or read,
// by device mapper's error target.
func failing(t *testing.T, from, sectors uint64) DiskPlan {
	t.Helper()
	const size = 1 << 20 // sectors
	table := fmt.Sprintf("0 %d linear /dev/disk/by-id/virtio-FAIL 0\n%d %d error\n%d %d linear /dev/disk/by-id/virtio-FAIL %d\n",
		from, from, sectors, from+sectors, size-from-sectors, from+sectors)
	if from+sectors == size {
		table = fmt.Sprintf("0 %d linear /dev/disk/by-id/virtio-FAIL 0\n%d %d error\n", from, from, sectors)
	}
	if from == 0 {
		table = fmt.Sprintf("0 %d error\n%d %d linear /dev/disk/by-id/virtio-FAIL %d\n", sectors, sectors, size-sectors, sectors)
	}
	cmd := exec.Command("dmsetup", "create", "failing")
	cmd.Stdin = strings.NewReader(table)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dmsetup create: %v\n%s\n%s", err, out, table)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("sh", "-c", "udevadm settle; dmsetup remove --retry failing").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	if out, err := exec.Command("sh", "-c", "udevadm settle; dd if=/dev/zero of=/dev/disk/by-id/virtio-FAIL bs=1M count=512 conv=fsync").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d, found, err := probeOne(context.Background(), "/dev/mapper/failing")
	if err != nil || !found {
		t.Fatalf("probing: %v, %v", found, err)
	}
	// What cannot be read is not called blank; take the plan of one that was.
	d.Signatures, d.Holders = nil, nil
	table512 := tableOf(512 << 20)
	return DiskPlan{ID: "/dev/mapper/failing", Role: RoleOS, Name: "os", Disk: d, Fate: Create, Table: table512}
}

// TestInnerUnreadableDisk: a disk of which a part cannot be read is not written
// to at all: there may be anything.
func TestInnerUnreadableDisk(t *testing.T) {
	dp := failing(t, 2048, 8)
	err := dp.doTable(context.Background(), quiet{t})
	if err == nil {
		t.Fatal("a disk that cannot be read was partitioned")
	}
	head := make([]byte, 1<<20)
	readHead(t, head)
	if !allZero(head) {
		t.Error("the disk was written to")
	}
	t.Log(err)
}

// TestInnerFailingWrites lets the wipe, and each part of the table, fail. What
// is left is a disk that the next run knows as blank or as its own.
func TestInnerFailingWrites(t *testing.T) {
	for name, area := range map[string][2]uint64{"the new partition": {526336 + 100, 8}, "the table's beginning": {2, 8}, "the end": {1<<20 - 30, 8}} {
		t.Run(name, func(t *testing.T) {
			dp := failing(t, area[0], area[1])
			file, err := os.OpenFile(dp.ID, os.O_RDWR|unix.O_EXCL, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			w, err := dp.Table.layOut(dp.Disk.Size, 512)
			if err != nil {
				t.Fatal(err)
			}
			err = zero(file, dp.wipeSpans())
			if err == nil {
				err = w.put(file)
			}
			if !errors.Is(err, unix.EIO) {
				t.Fatalf("= %v, want an input/output error", err)
			}
			t.Log(err)
			good, err := os.Open("/dev/disk/by-id/virtio-FAIL")
			if err != nil {
				t.Fatal(err)
			}
			defer good.Close()
			found, why, err := dp.Table.findTable(good, dp.Disk.Size, 512)
			if err != nil || found == tableWhole || found == tableBroken {
				t.Errorf("left behind: %d (%s), %v", found, why, err)
			}
		})
	}
}

// TestInnerFailingMkfs: a file system that cannot be written whole is not there.
func TestInnerFailingMkfs(t *testing.T) {
	failing(t, 200000, 1<<20-200000)
	fs := FilesystemPlan{Label: "root", UUID: "6f1c2a3b-1111-5000-8000-000000000009", Role: RoleOS, Devices: []string{"/dev/mapper/failing"}}
	begun := func(string) (bool, error) { return true, nil }
	r := step.Runner{}
	_, err := r.Run(context.Background(), []step.Step{fs.FormatStep(begun)})
	if err == nil || !strings.Contains(err.Error(), "mkfs.btrfs") {
		t.Errorf("= %v, want mkfs.btrfs' failure", err)
	}
	if state, why, err := fs.FormatStep(begun).Check(context.Background()); state != step.Absent || err != nil {
		t.Errorf("afterwards: %v (%s), %v; want it absent", state, why, err)
	}
}

func readHead(t *testing.T, b []byte) {
	t.Helper()
	file, err := os.Open("/dev/disk/by-id/virtio-FAIL")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

type quiet struct{ t *testing.T }

func (q quiet) Progress(int64, int64, string)  {}
func (q quiet) Log(format string, args ...any) { q.t.Logf(format, args...) }
func (q quiet) Warn(format string, a ...any)   { q.t.Logf("warning: "+format, a...) }
