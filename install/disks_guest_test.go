//go:build guest

package install

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hvinstall/testvm"
)

// exampleDrives are the example host's disks at their real sizes, two sticks,
// and a disk that no layout names.
var exampleDrives = []testvm.Drive{
	{ID: "nvos", Model: testvm.NVMe, Serial: "NVOS", Size: 500107862016},
	{ID: "nva", Model: testvm.NVMe, Serial: "NVA", Size: 1000204886016},
	{ID: "nvb", Model: testvm.NVMe, Serial: "NVB", Size: 1000204886016},
	{ID: "nvc", Model: testvm.NVMe, Serial: "NVC", Size: 500107862016},
	{ID: "hda", Model: testvm.SATA, Serial: "HDA", Product: "ST4000VN008", Size: 4000787030016, Sector: 4096},
	{ID: "hdb", Model: testvm.SATA, Serial: "HDB", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
	{ID: "hdc", Model: testvm.SATA, Serial: "HDC", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
	{ID: "usba", Model: testvm.USB, Serial: "USBA", Size: 8 << 30},
	{ID: "usbb", Model: testvm.USB, Serial: "USBB", Size: 4 << 30},
	{ID: "outside", Model: testvm.Virtio, Serial: "OUTSIDE", Size: 64 << 20},
	{ID: "fail", Model: testvm.Virtio, Serial: "FAIL", Size: 512 << 20},
}

// smallSticks are exampleDrives with smaller sticks: a file system for a stick
// of 8 GiB is 16 MB of allocation tables, which emulated USB takes seconds for.
func smallSticks() []testvm.Drive {
	drives := slices.Clone(exampleDrives)
	for i := range drives {
		if drives[i].Model == testvm.USB {
			drives[i].Size /= 8
		}
	}
	return drives
}

// verbose passes INNER_VERBOSE=1 on, which shows every event of the runs in
// the guest's output while it works.
var verbose = []string{"INNER_VERBOSE=" + os.Getenv("INNER_VERBOSE")}

// TestDisksExampleHost makes the seven-disk host at its real sizes, see
// disks_inner_test.go.
func TestDisksExampleHost(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Memory: 4096, Timeout: 40 * time.Minute, Drives: exampleDrives}},
		[]string{"./install"}, "-test.run=^TestInner(SevenDisks|SecretsAreFound)$")
}

// TestDisksKilled kills the small host's run in the middle of every step and
// after every step, see interrupt_inner_test.go.
func TestDisksKilled(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Memory: 3072, Timeout: 80 * time.Minute, Drives: exampleDrives}},
		[]string{"./install"}, "-test.run=^TestInner(KilledAtEveryStep|Passphrase)")
}

// TestDisksSafety lets go wrong what can, see safety_inner_test.go and
// failing_inner_test.go.
func TestDisksSafety(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Timeout: 60 * time.Minute, Drives: smallSticks()}},
		[]string{"./install", "./disk"}, "-test.run=^TestInner(Disk|TwoRuns|Sticks|NoStick|Look|Unreadable|Failing)")
}

// TestDisksMoved makes a host in one machine and runs its layout in another,
// where it has another name, an NVMe disk another serial number, a SATA disk
// another model and serial number, and one stands behind USB; see
// moved_inner_test.go. (All of QEMU's NVMe disks are of one model.)
func TestDisksMoved(t *testing.T) {
	drives := func(change ...testvm.Drive) []testvm.Drive {
		var all []testvm.Drive
		for _, d := range smallSticks() {
			for _, c := range change {
				if c.ID == d.ID {
					c.Size, d = d.Size, c
				}
			}
			all = append(all, d)
		}
		return slices.DeleteFunc(all, func(d testvm.Drive) bool {
			return !slices.Contains([]string{"nvos", "hda", "hdb", "hdc", "usba"}, d.ID)
		})
	}
	dir := t.TempDir()
	for _, machine := range []struct {
		run    string
		drives []testvm.Drive
	}{
		{"TestInnerBeforeTheMove", drives()},
		{"TestInnerAfterTheMove", drives(
			testvm.Drive{ID: "nvos", Model: testvm.NVMe, Serial: "MOVED"},
			testvm.Drive{ID: "hda", Model: testvm.USB, Serial: "ENCLOSURE", Sector: 4096},
			testvm.Drive{ID: "hdb", Model: testvm.SATA, Serial: "HDB2", Product: "ST2000VN005", Sector: 4096},
		)},
	} {
		for i := range machine.drives {
			machine.drives[i].Path = filepath.Join(dir, machine.drives[i].ID)
		}
		testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Timeout: 20 * time.Minute, Drives: machine.drives}},
			[]string{"./install"}, "-test.run=^"+machine.run+"$")
		if t.Failed() {
			return
		}
	}
}

// TestLongDisksInterrupted kills the example host's at many more moments.
func TestLongDisksInterrupted(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Memory: 4096, Timeout: 150 * time.Minute, Drives: exampleDrives}},
		[]string{"./install"}, "-test.run=^TestLongInner")
}

// TestBenchDisks measures, see bench_inner_test.go.
func TestBenchDisks(t *testing.T) {
	testvm.RunTests(t, testvm.Guest{Env: verbose, Config: testvm.Config{Memory: 4096, Timeout: 50 * time.Minute, Drives: exampleDrives}},
		[]string{"./install"}, "-test.run=^TestBenchInner$")
}
