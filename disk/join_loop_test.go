//go:build loop

package disk

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/host"
	"hvinstall/step"

	"golang.org/x/sys/unix"
)

// growing is a pool on loop devices whose disks come and go.
type growing struct {
	t     *testing.T
	root  string
	plan  FilesystemPlan
	fresh []string // devices whose disk is still being made
}

// newUUID is one that this kernel has not seen: it remembers the devices of file
// systems that are gone, and takes two of one UUID for one.
func newUUID(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func newGrowing(t *testing.T, sizes ...int64) *growing {
	t.Helper()
	needs(t, map[string]string{"mkfs.btrfs": "btrfs-progs", "btrfs": "btrfs-progs"})
	g := &growing{t: t, root: t.TempDir(), plan: FilesystemPlan{
		Label: "bulk", UUID: newUUID(t), Role: RolePool, RAID1: true, Fate: Resume,
		Subvols: []SubvolumePlan{{Name: "bulk", Mountpoint: "/bulk", Options: []string{"noatime"}}},
	}}
	for _, size := range sizes {
		g.plan.Devices = append(g.plan.Devices, loop(t, size, 512))
	}
	g.fresh = slices.Clone(g.plan.Devices)
	t.Cleanup(func() { _ = unix.Unmount(g.mountpoint(), 0) })
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	g.fresh = nil
	program(t, "sh", "-c", "head -c 100000000 /dev/urandom >"+g.mountpoint()+"/data && sync")
	return g
}

func (g *growing) mountpoint() string { return filepath.Join(g.root, "bulk") }

func (g *growing) begun(device string) (bool, error) { return slices.Contains(g.fresh, device), nil }

func (g *growing) run() error { return g.runUntil(context.Background(), nil) }

// runUntil is run, which tells of each event and ends with ctx.
func (g *growing) runUntil(ctx context.Context, heard func(step.Event)) error {
	g.plan.Joins = g.fresh
	steps := append([]step.Step{g.plan.FormatStep(g.begun)}, g.plan.MountSteps(g.root)...)
	steps = append(steps, g.plan.JoinStep(g.root, MountStepID("/bulk")))
	r := step.Runner{Events: func(e step.Event) {
		if e.Message != "" {
			g.t.Logf("%s %s: %s", e.Kind, e.Step, e.Message)
		}
		if heard != nil {
			heard(e)
		}
	}}
	_, err := r.Run(ctx, steps)
	return err
}

// lose takes a disk out of the machine and of the layout, and puts others in
// its place.
func (g *growing) lose(i int, instead ...string) {
	g.t.Helper()
	if err := unix.Unmount(g.mountpoint(), 0); err != nil {
		g.t.Fatal(err)
	}
	if err := g.plan.forget(); err != nil {
		g.t.Fatal(err)
	}
	if i >= 0 {
		// Without its superblocks it is as good as gone: btrfs finds devices by them.
		program(g.t, "wipefs", "--all", "--quiet", g.plan.Devices[i])
		g.plan.Devices = slices.Delete(slices.Clone(g.plan.Devices), i, i+1)
	}
	g.plan.Devices = append(g.plan.Devices, instead...)
	g.fresh = instead
}

// whole has btrfs judge: the plan's devices and no other, everything twice,
// and the data as it was.
func (g *growing) whole(sum string) {
	t := g.t
	t.Helper()
	if now := g.sum(); now != sum {
		t.Errorf("the data has changed: %s, then %s", sum, now)
	}
	show := program(t, "btrfs", "filesystem", "show", "--raw", g.mountpoint())
	if n := strings.Count(show, "devid"); n != len(g.plan.Devices) || strings.Contains(strings.ToLower(show), "missing") {
		t.Errorf("want %d devices and none missing:\n%s", len(g.plan.Devices), show)
	}
	for _, d := range g.plan.Devices {
		if !strings.Contains(show, d+"\n") {
			t.Errorf("%s is not in it:\n%s", d, show)
		}
	}
	if usage := program(t, "btrfs", "filesystem", "usage", g.mountpoint()); strings.Contains(usage, "single:") && !strings.Contains(usage, "0.00B") {
		t.Errorf("something has one copy:\n%s", usage)
	}
	g.fresh = nil
	if err := g.run(); err != nil {
		t.Errorf("a further run: %v", err)
	}
	if err := unix.Unmount(g.mountpoint(), 0); err != nil {
		t.Fatal(err)
	}
	program(t, "btrfs", "check", "--readonly", g.plan.Devices[0])
	if err := g.run(); err != nil { // mounted without degraded
		t.Fatal(err)
	}
	mount, _, err := host.MountedAt(g.mountpoint())
	if err != nil || strings.Contains(mount.Options, "degraded") {
		t.Errorf("mounted with %s, %v", mount.Options, err)
	}
	program(t, "btrfs", "scrub", "start", "-B", g.mountpoint())
}

func (g *growing) sum() string { return program(g.t, "sha256sum", g.mountpoint()+"/data") }

// TestPoolGrows adds a disk to a pool of two.
func TestPoolGrows(t *testing.T) {
	g := newGrowing(t, 1<<30, 1<<30)
	sum := g.sum()
	g.lose(-1, loop(t, 2<<30, 512))
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	g.whole(sum)
}

// TestPoolLosesADisk puts a new disk in a lost one's place: one of its size, a
// smaller one, and two.
func TestPoolLosesADisk(t *testing.T) {
	for name, instead := range map[string][]int64{"of the same size": {1 << 30}, "smaller": {800 << 20}, "two": {1 << 30, 1 << 30}} {
		t.Run(name, func(t *testing.T) {
			g := newGrowing(t, 1<<30, 1<<30, 1<<30)
			sum := g.sum()
			var devices []string
			for _, size := range instead {
				devices = append(devices, loop(t, size, 512))
			}
			g.lose(1, devices...)
			if err := g.run(); err != nil {
				t.Fatal(err)
			}
			g.whole(sum)
		})
	}
}

// TestPoolJoinKilled ends a run while a disk joins, with what it started, at
// many moments; the same run again brings the pool to its end. A smaller disk
// in a lost one's place takes the longest way: add, remove, balance.
func TestPoolJoinKilled(t *testing.T) {
	for name, size := range map[string]int64{"replace": 1 << 30, "add and remove": 800 << 20} {
		t.Run(name, func(t *testing.T) {
			g := newGrowing(t, 1<<30, 1<<30, 1<<30)
			sum := g.sum()
			g.lose(1, loop(t, size, 512))
			killed := 0
			for after := time.Duration(0); ; after += 40 * time.Millisecond {
				ctx, kill := context.WithCancel(context.Background())
				err := g.runUntil(ctx, func(e step.Event) {
					if e.Kind == step.StepStarted && e.Step == g.plan.JoinStepID() {
						time.AfterFunc(after, kill)
					}
				})
				kill()
				if err == nil {
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("killed %v after the start: %v", after, err)
				}
				killed++
			}
			t.Logf("killed %d times", killed)
			g.whole(sum)
		})
	}
}

// TestPoolBalancePaused: a power cut in the middle of a balance leaves one that
// the kernel goes on with, or that waits for someone.
func TestPoolBalancePaused(t *testing.T) {
	g := newGrowing(t, 1<<30, 1<<30)
	program(t, "sh", "-c", "head -c 400000000 /dev/urandom >"+g.mountpoint()+"/data && sync")
	sum := g.sum()
	balance := exec.Command("btrfs", "balance", "start", "-dconvert=single", "-mconvert=single", "--force", g.mountpoint())
	if err := balance.Start(); err != nil {
		t.Fatal(err)
	}
	for exec.Command("btrfs", "balance", "pause", g.mountpoint()).Run() != nil {
		if balance.ProcessState != nil {
			t.Fatal("it was over before it could be paused")
		}
	}
	_ = balance.Wait()
	if status, _ := exec.Command("btrfs", "balance", "status", g.mountpoint()).CombinedOutput(); !strings.Contains(string(status), "paused") {
		t.Fatalf("not paused: %s", status)
	}
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	g.whole(sum)
}

// TestPoolWroteDegraded: what was written while one of two disks was missing
// has one copy, and gets its second.
func TestPoolWroteDegraded(t *testing.T) {
	g := newGrowing(t, 1<<30, 1<<30)
	g.lose(1)
	if err := os.MkdirAll(g.mountpoint(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := g.run(); err == nil || !strings.Contains(err.Error(), "name a new disk in its place") {
		t.Errorf("without a new disk: %v", err)
	}
	program(t, "mount", "-o", "degraded,subvol=bulk", g.plan.Devices[0], g.mountpoint())
	program(t, "sh", "-c", "head -c 300000000 /dev/urandom >"+g.mountpoint()+"/data && sync")
	sum := g.sum()
	if usage := program(t, "btrfs", "filesystem", "usage", g.mountpoint()); !strings.Contains(usage, "single") {
		t.Fatalf("nothing was written in one copy:\n%s", usage)
	}
	g.plan.Devices = append(g.plan.Devices, loop(t, 1<<30, 512))
	g.fresh = g.plan.Devices[1:]
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	g.whole(sum)
}

// TestPoolHasAnother: a disk that the layout does not name, and that is there,
// is left alone and named.
func TestPoolHasAnother(t *testing.T) {
	g := newGrowing(t, 1<<30, 1<<30, 1<<30)
	old := g.plan.Devices[2]
	g.plan.Devices = append(slices.Clone(g.plan.Devices[:2]), loop(t, 1<<30, 512))
	g.fresh = g.plan.Devices[2:]
	err := g.run()
	var foreign *step.ForeignError
	if !errors.As(err, &foreign) || !strings.Contains(err.Error(), old) || !strings.Contains(err.Error(), "btrfs replace start 3 "+g.fresh[0]) {
		t.Errorf("= %v, want the disk named and the command", err)
	}
	program(t, "btrfs", "replace", "start", "-B", "-f", "3", g.fresh[0], g.mountpoint())
	sum := g.sum()
	g.whole(sum)
}
