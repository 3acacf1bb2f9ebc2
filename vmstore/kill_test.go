//go:build libvirt

package vmstore

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/step"
)

type (
	ctxType      = context.Context
	reporterType = step.Reporter
)

func runnerOf(side int) *step.Runner { return &step.Runner{Side: side} }

// job is a run in a process of its own, which kills itself at a place.
type job struct {
	Want  configs.VMPlan
	Env   Env
	Step  string        // the step at which it dies
	Kind  step.Kind     // at its start, or when it is done
	After time.Duration // or so long after its start
}

func child() int {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv("VMSTORE_JOB")), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }
	ctx := context.Background()
	facts, err := Probe(ctx, j.Want, j.Env.Root)
	if err == nil {
		p, refusals := MakePlan(j.Want, "testhost", facts, Options{})
		if len(refusals) > 0 {
			err = refusals[0]
		} else if steps, e := p.Steps(j.Env); e != nil {
			err = e
		} else {
			runner := step.Runner{Side: 4, Events: func(e step.Event) {
				if e.Step != j.Step || e.Kind != j.Kind {
					return
				}
				if j.After > 0 {
					time.AfterFunc(j.After, die)
					return
				}
				die()
			}}
			_, err = runner.Run(ctx, steps)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// start runs the job and reports whether it was killed.
func (j job) start(t testing.TB) (killed bool) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageKey+"=child", "VMSTORE_JOB="+string(text))
	out, err := cmd.CombinedOutput()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return false
}

// TestKilledAtEachStep: after a SIGKILL before, within or after each step, the
// next run finishes the work, and one more finds nothing to do.
func TestKilledAtEachStep(t *testing.T) {
	root, web := store(t), newServer(t)
	raw := qcow2Image(6<<20, 9)
	raw[0], raw[510], raw[511] = 0, 0x55, 0xaa // a partition table's mark
	if err := os.WriteFile(filepath.Join(root, "raw"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	pack(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", filepath.Join(root, "raw"), filepath.Join(root, "qcow2"))
	image, err := os.ReadFile(filepath.Join(root, "qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	data := compressed(t, "xz", image)
	url := web.put("/a.qcow2.xz", &served{data: data, etag: `"1"`, rate: 8 << 20})
	if err := os.WriteFile("/mnt/tiny.iso", isoOfTest(t), 0o644); err != nil {
		t.Fatal(err)
	}
	present := func(dir string) configs.VMPlan {
		return qemuPlan(dir,
			configs.VM{Name: "a", VCPU: 1, RAMMB: 64, DiskGB: 1, CloudInit: &configs.Cloud{}, DiskImage: &configs.VMDisk{URL: url, Dest: filepath.Join(dir, "a/a.qcow2")}},
			configs.VM{Name: "b", VCPU: 1, RAMMB: 64, DiskGB: 1, Running: new(bool), ISOImage: &configs.VMISO{URL: "file:///mnt/tiny.iso", Dest: filepath.Join(dir, "b/b.iso")}},
			configs.VM{Name: "c", VCPU: 1, RAMMB: 64, Running: new(bool), DiskImage: &configs.VMDisk{URL: url, Dest: filepath.Join(dir, "c/c.qcow2")}},
		)
	}
	check := func(t *testing.T, dir string) {
		t.Helper()
		want := present(dir)
		mustRun(t, want, Env{})
		wantNothing(t, want, Env{})
		for _, path := range []string{"a/a.qcow2", "b/b.qcow2", "c/c.qcow2"} {
			pack(t, "qemu-img", "info", "-U", filepath.Join(dir, path))
		}
		wantClean(t, filepath.Join(dir, "c"), "c.qcow2", "domain.xml")
		for _, name := range []string{"a", "b", "c"} {
			d := domainOf(t, name)
			if !d.Ours || !d.Autostart || d.Active != (name == "a") {
				t.Errorf("%s: ours %v, autostart %v, active %v", name, d.Ours, d.Autostart, d.Active)
			}
		}
	}
	kills := 0
	type place struct {
		step  string
		kind  step.Kind
		after time.Duration
	}
	var places []place
	for _, id := range []string{"a/directory", "a/image", "a/grow", "a/seed", "a/xml", "a/define", "a/autostart", "a/start", "b/iso", "b/disk", "b/define"} {
		places = append(places, place{id, step.StepStarted, 0}, place{id, step.StepDone, 0})
	}
	for _, after := range []time.Duration{5, 20, 60, 120, 200, 300} {
		places = append(places, place{"a/image", step.StepStarted, after * time.Millisecond})
	}
	for _, id := range []string{"a/grow", "a/define", "a/start", "b/disk"} {
		places = append(places, place{id, step.StepStarted, 4 * time.Millisecond})
	}
	for i, p := range places {
		t.Run(fmt.Sprintf("%s %s %v", strings.ReplaceAll(p.step, "/", "-"), p.kind, p.after), func(t *testing.T) {
			dir := filepath.Join(root, fmt.Sprint(i))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			defer func() { forgetAll(t); os.RemoveAll(dir) }()
			j := job{Want: present(dir), Step: "vms/" + p.step, Kind: p.kind, After: p.after}
			if j.start(t) {
				kills++
			} else if p.after == 0 {
				t.Error("the run was not killed")
			}
			check(t, dir)
		})
	}
	if kills < len(places)-4 {
		t.Errorf("%d of %d runs were killed; the places are no longer hit", kills, len(places))
	}
	t.Run("absent", func(t *testing.T) {
		for i, p := range []string{"a/shutdown", "a/keep", "a/undefine", "a/delete"} {
			for _, kind := range []step.Kind{step.StepStarted, step.StepDone} {
				dir := filepath.Join(root, fmt.Sprint("absent", i, kind))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				want := qemuPlan(dir, running(blank(t, dir, "a")))
				mustRun(t, want, Env{})
				want.VMs[0].State = "absent"
				env := Env{Shutdown: 100 * time.Millisecond}
				if !(job{Want: want, Env: env, Step: "vms/" + p, Kind: kind}).start(t) {
					t.Errorf("%s %s: the run was not killed", p, kind)
				}
				mustRun(t, want, env)
				wantNothing(t, want, env)
				wantClean(t, dir, ".hvinstall")
				if left, _ := filepath.Glob(filepath.Join(dir, previousDir, "*"+partSuffix)); len(left) > 0 || len(readPrevious("/", dir, time.Now())) == 0 {
					t.Errorf("%s %s: unfinished %v, or nothing was kept", p, kind, left)
				}
				if out := virsh(t, "list", "--all", "--name"); out != "" {
					t.Errorf("libvirt has %q", out)
				}
			}
		}
	})
}
