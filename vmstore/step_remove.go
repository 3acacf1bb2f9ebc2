package vmstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"hvinstall/step"

	"github.com/digitalocean/go-libvirt"
)

// removal takes a VM away: off, its definition kept, out of libvirt, then its
// directory. Each step
// finds the work of an interrupted run done.
func (w *worker) removal(v VM) []step.Step {
	off := step.Step{
		ID: w.id(v, "shutdown"), Title: "shut down " + v.Name,
		Check: look(func(ctx context.Context) (string, error) {
			d, found, err := w.libvir.lookup(ctx, v.Name)
			if err != nil || !found {
				return "", err
			}
			state, err := w.libvir.stateOf(ctx, d)
			if err != nil || !isActive(state) {
				return "", err
			}
			return "it is " + stateName(state), nil
		}),
		Do: func(ctx context.Context, report step.Reporter) error { return w.shutDown(ctx, v.Name, report) },
	}
	undefine := step.Step{
		ID: w.id(v, "undefine"), Title: "undefine " + v.Name, Detail: v.Lost.Lines(v.Name), After: []string{off.ID},
		Check: look(func(ctx context.Context) (string, error) {
			_, found, err := w.libvir.lookup(ctx, v.Name)
			if err != nil || !found {
				return "", err
			}
			return "libvirt has it", nil
		}),
		Do: func(ctx context.Context, _ step.Reporter) error {
			if err := w.unreferenced(v); err != nil {
				return err
			}
			return w.undefine(ctx, v.Name)
		},
	}
	steps := []step.Step{off, undefine}
	if w.plan.Stage {
		steps = nil
	}
	if w.plan.Local {
		keep := w.keep(v)
		if !w.plan.Stage {
			keep.After, undefine.After = []string{off.ID}, []string{keep.ID}
			steps = []step.Step{off, keep, undefine}
		} else {
			steps = []step.Step{keep}
		}
		title := "delete " + v.Spec.Dir
		if v.PurgeAfter > 0 {
			title = "move " + v.Spec.Dir + " aside"
		}
		remove := step.Step{
			ID: w.id(v, "delete"), Title: title, After: []string{keep.ID},
			Check: func(context.Context) (step.State, string, error) {
				info, err := os.Lstat(w.at(v.Spec.Dir))
				switch {
				case errors.Is(err, fs.ErrNotExist):
					return step.Done, "", nil
				case err != nil:
					return step.Absent, "", err
				case !info.IsDir():
					return step.Foreign, v.Spec.Dir + " is a " + kindOf(info.Mode()), nil
				}
				return step.Absent, "it is there", nil
			},
			Do: func(context.Context, step.Reporter) error {
				if err := w.unreferenced(v); err != nil {
					return err
				}
				if v.PurgeAfter > 0 {
					return w.moveAside(v)
				}
				return removeDirectory(w.at(w.plan.Root), v.Name)
			},
		}
		if !w.plan.Stage {
			remove.After = []string{undefine.ID}
		}
		steps = append(steps, remove)
	}
	return slices.Clip(steps)
}

// undefine removes the domain with all that libvirt keeps for it: firmware
// variables, saved state, snapshots, checkpoints and TPM.
func (w *worker) undefine(ctx context.Context, name string) error {
	d, found, err := w.libvir.lookup(ctx, name)
	if err != nil || !found {
		return err
	}
	// Drivers and versions know different flags: TPM is of libvirt 8.9, and
	// before it the state went without asking.
	states := libvirt.DomainUndefineManagedSave | libvirt.DomainUndefineSnapshotsMetadata
	all := states | libvirt.DomainUndefineCheckpointsMetadata | libvirt.DomainUndefineNvram
	err = w.libvir.do(ctx, func(l *libvirt.Libvirt) (err error) {
		for _, flags := range []libvirt.DomainUndefineFlagsValues{all | libvirt.DomainUndefineTpm, all, states, 0} {
			if err = l.DomainUndefineFlags(d, flags); !isUnsupported(err) {
				break
			}
		}
		if libvirt.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("undefining %s: %w", name, err)
	}
	return nil
}
