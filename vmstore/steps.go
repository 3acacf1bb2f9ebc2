package vmstore

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hvinstall/host/web"
	"hvinstall/step"
)

// Env is where and how a plan is carried out.
type Env struct {
	// Root is where the system is: "" or "/" on the running hypervisor. With
	// another root, a plan made with Options.Stage puts the files there.
	Root string
	// Restart shuts down and starts VMs whose changes need it.
	Restart bool
	// Shutdown is how long a guest may take to power off by itself before it
	// is forced; 0 means one minute.
	Shutdown time.Duration
	// Stall is how long a server may send nothing; 0 means one minute. Backoff
	// is the pause after a fruitless attempt; 0 means one second.
	Stall, Backoff time.Duration
}

// worker is what the steps of one run share.
type worker struct {
	Env
	plan   Plan
	libvir *connection
	client *web.Client
}

// Steps are the plan's steps. Removals come first, so that what they free can
// be used; then the files of each VM, side by side; then libvirt. A connection
// to libvirt is opened when the first step needs it.
func (p Plan) Steps(env Env) ([]step.Step, error) {
	env.Shutdown = cmp.Or(env.Shutdown, time.Minute)
	env.Stall, env.Backoff = cmp.Or(env.Stall, time.Minute), cmp.Or(env.Backoff, time.Second)
	if p.Stage != (env.Root != "" && env.Root != "/") {
		return nil, fmt.Errorf("a plan for %q cannot be carried out at %q", map[bool]string{true: "the live system", false: "/"}[p.Stage], env.Root)
	}
	c, err := newConnection(p.URI)
	if err != nil {
		return nil, err
	}
	w := &worker{Env: env, plan: p, libvir: c, client: web.New(env.Root, env.Stall)}
	var steps []step.Step
	for _, v := range p.VMs {
		if v.Action == Remove {
			steps = append(steps, w.removal(v)...)
		}
	}
	if len(p.Expired) > 0 {
		steps = append(steps, w.expire(p.Expired))
	}
	present := slices.DeleteFunc(slices.Clone(p.VMs), func(v VM) bool { return v.Action == Remove || v.Action == Gone })
	made := map[string][]string{} // by VM: the steps that its definition waits for
	if p.Local {
		for _, v := range present {
			s := w.directory(v)
			steps = append(steps, s)
			made[v.Name] = []string{s.ID}
		}
		for _, image := range p.Images {
			s := w.image(image, made)
			steps = append(steps, s)
			for _, name := range image.VMs {
				made[name] = append(made[name], s.ID)
			}
		}
	}
	var defined []string
	for _, v := range present {
		if p.Local {
			for _, s := range w.files(v) {
				s.After = append(s.After, made[v.Name]...)
				steps = append(steps, s)
				made[v.Name] = append(made[v.Name], s.ID)
			}
		}
		if p.Stage {
			continue
		}
		chain := w.libvirtSteps(v)
		after := made[v.Name]
		for _, s := range chain {
			s.After = append(s.After, after...)
			steps = append(steps, s)
			after = []string{s.ID}
		}
		defined = append(defined, after...)
	}
	if p.Ordered && !p.Stage {
		steps = append(steps, w.startInOrder(present, defined))
	}
	for i := range steps {
		steps[i].Contained = true
	}
	return steps, nil
}

// files are the steps below the VM's directory, after its images.
func (w *worker) files(v VM) []step.Step {
	var steps []step.Step
	isFile := v.Spec.DiskKind == "file"
	if isFile && v.Spec.CDROM && inside(v.Spec.Dir, v.Spec.Disk) {
		steps = append(steps, w.emptyDisk(v))
	}
	if isFile && v.grows {
		steps = append(steps, w.grow(v))
	}
	if v.Seed != nil {
		steps = append(steps, w.seed(v))
	}
	if w.plan.Stage {
		steps = append(steps, w.stagedFile(v))
	}
	return steps
}

// libvirtSteps are the steps in libvirt, each after the one before.
func (w *worker) libvirtSteps(v VM) []step.Step {
	var steps []step.Step
	hardware := v.From != "" && slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.Hardware })
	// What somebody wrote may have more than this libvirt takes from it.
	replaced := v.From == InFile && v.Action == Adopt
	if w.plan.Local && (hardware || replaced) {
		steps = append(steps, w.keep(v))
	}
	steps = append(steps, w.define(v))
	if w.plan.Local {
		steps = append(steps, w.domainFile(v))
	}
	steps = append(steps, w.autostart(v))
	restarts, starts := w.Restart && len(v.Restart) > 0, v.Running && !w.plan.Ordered
	if restarts && !v.Suspended {
		steps = append(steps, w.restart(v))
	}
	if starts {
		steps = append(steps, w.start(v))
	}
	if restarts && v.Suspended {
		steps = append(steps, w.restart(v)) // once it goes on
	}
	return steps
}

// at is a path of the plan on this machine.
func (w *worker) at(path string) string { return filepath.Join("/", w.Root, path) }

func (w *worker) id(v VM, what string) string { return "vms/" + v.Name + "/" + what }

// look adapts a check that answers with a reason for absence; "" is done.
func look(check func(ctx context.Context) (absent string, err error)) func(context.Context) (step.State, string, error) {
	return func(ctx context.Context) (step.State, string, error) {
		absent, err := check(ctx)
		if err != nil || absent != "" {
			return step.Absent, absent, err
		}
		return step.Done, "", nil
	}
}

func names(vms []string) string { return strings.Join(vms, ", ") }
