package vmstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hvinstall/step"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// define gives libvirt the definition. A domain that is there is redefined in
// place, running or not, and keeps what somebody added to it by hand.
func (w *worker) define(v VM) step.Step {
	title := "define " + v.Name + " in libvirt"
	switch v.Action {
	case Adopt:
		title = "take over " + v.Name + " as it is, with its disk " + v.Spec.Disk
	case Change, Keep:
		title = "redefine " + v.Name + " in libvirt"
	case Create, Remove, Gone:
	}
	s := step.Step{ID: w.id(v, "define"), Title: title}
	for _, d := range v.Differences {
		s.Detail = append(s.Detail, d.String())
	}
	for _, key := range v.ByHand {
		s.Detail = append(s.Detail, "kept, added by hand: "+key)
	}
	if line := v.RestartLine(); line != "" && !w.Restart {
		s.Detail = append(s.Detail, line)
	}
	// Read once: a run checks each step up to three times.
	source := sync.OnceValues(func() (*element, error) { return parseXML(v.XML) })
	s.Check = func(ctx context.Context) (step.State, string, error) { return w.isDefined(ctx, v, source) }
	s.Do = func(ctx context.Context, _ step.Reporter) error {
		inactive := ""
		d, found, err := w.libvir.lookup(ctx, v.Name)
		if err != nil {
			return err
		}
		if found {
			if inactive, err = w.inactive(ctx, d); err != nil {
				return err
			}
		}
		xml, err := merged(v.XML, inactive)
		if err != nil {
			return err
		}
		return w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
			// Validation reads libvirt's whole schema anew each time, 40 ms for
			// each VM. What our own templates give is held against it by the
			// tests; what a user's gives is held against it here. libvirt's mock
			// knows no validation.
			flags := libvirt.DomainDefineFlags(0)
			if v.Template != "" && w.libvir.uri.Scheme != "test" {
				flags = libvirt.DomainDefineValidate
			}
			if _, err := l.DomainDefineXMLFlags(xml, flags); err != nil {
				return fmt.Errorf("defining the domain: %w", err)
			}
			return nil
		})
	}
	return s
}

// isDefined compares libvirt's account with the definition.
func (w *worker) isDefined(ctx context.Context, v VM, source func() (*element, error)) (step.State, string, error) {
	d, found, err := w.libvir.lookup(ctx, v.Name)
	if err != nil {
		return step.Absent, "", err
	}
	if !found {
		return step.Absent, "libvirt does not know it", nil
	}
	if id := uuid.UUID(d.UUID).String(); id != v.Spec.UUID {
		return step.Foreign, fmt.Sprintf("libvirt has another VM %s since we looked, with UUID %s", v.Name, id), nil
	}
	inactive, err := w.inactive(ctx, d)
	if err != nil {
		return step.Absent, "", err
	}
	if inactive == "" {
		return step.Absent, "it runs without a definition", nil
	}
	have, err := parseXML(inactive)
	if err != nil {
		return step.Absent, "", err
	}
	m, ours := readMetadata(have)
	if !ours {
		return step.Absent, "hvinstall did not define it", nil
	}
	if m.source != v.Source {
		return step.Absent, "the layout has changed", nil
	}
	want, err := source()
	if err != nil {
		return step.Absent, "", err
	}
	if found := differences(want, have); len(found) > 0 {
		return step.Absent, join(found), nil
	}
	return step.Done, "", nil
}

// inactive is the definition that libvirt has; empty for a domain that runs
// without one.
func (w *worker) inactive(ctx context.Context, d libvirt.Domain) (string, error) {
	text := ""
	err := w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
		persistent, err := l.DomainIsPersistent(d)
		if err != nil || persistent == 0 {
			return err
		}
		text, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive)
		return err
	})
	if libvirt.IsNotFound(err) {
		return "", nil
	}
	return text, err
}

// merged is the definition with what the existing one has beyond it: devices
// added by hand, and the machine's version.
func merged(definition, inactive string) (string, error) {
	if inactive == "" {
		return definition, nil
	}
	have, err := parseXML(inactive)
	if err != nil {
		return "", err
	}
	want, err := parseXML(definition)
	if err != nil {
		return "", err
	}
	m, ours := readMetadata(have)
	xml := withDevices(definition, inactive, byHand(have, want, m, ours))
	return withMachine(xml, have.at("os", "type").attr("machine")), nil
}

// isUnsupported is libvirt's answer to a flag that a driver does not know.
func isUnsupported(err error) bool {
	var e libvirt.Error
	return errors.As(err, &e) && (libvirt.ErrorNumber(e.Code) == libvirt.ErrInvalidArg || libvirt.ErrorNumber(e.Code) == libvirt.ErrNoSupport)
}

// autostart tells libvirt whether to start the VM with the host.
func (w *worker) autostart(v VM) step.Step {
	want := int32(0)
	title := "do not let libvirt start " + v.Name + " with the host"
	switch {
	case v.Autostart:
		want, title = 1, "start "+v.Name+" with the host"
	case w.plan.Ordered:
		title = "leave the start of " + v.Name + " to " + UnitName
	}
	return step.Step{
		ID: w.id(v, "autostart"), Title: title,
		Check: look(func(ctx context.Context) (string, error) {
			d, found, err := w.libvir.lookup(ctx, v.Name)
			if err != nil || !found {
				return "libvirt does not know it", err
			}
			have := int32(0)
			err = w.libvir.do(ctx, func(l *libvirt.Libvirt) (err error) {
				have, err = l.DomainGetAutostart(d)
				return err
			})
			if err != nil || have == want {
				return "", err
			}
			return "autostart is " + map[int32]string{0: "off", 1: "on"}[have], nil
		}),
		Do: func(ctx context.Context, _ step.Reporter) error {
			d, _, err := w.libvir.lookup(ctx, v.Name)
			if err != nil {
				return err
			}
			return w.libvir.do(ctx, func(l *libvirt.Libvirt) error { return l.DomainSetAutostart(d, want) })
		},
	}
}

// start starts the VM when it is off. A paused one is somebody's decision.
func (w *worker) start(v VM) step.Step {
	return step.Step{
		ID: w.id(v, "start"), Title: "start " + v.Name,
		Check: look(func(ctx context.Context) (string, error) { return w.isOff(ctx, v.Name) }),
		Do:    func(ctx context.Context, _ step.Reporter) error { return w.create(ctx, v.Name) },
	}
}

// isOff says why a VM has to be started; empty: it runs.
func (w *worker) isOff(ctx context.Context, name string) (string, error) {
	d, found, err := w.libvir.lookup(ctx, name)
	if err != nil || !found {
		return "libvirt does not know it", err
	}
	state, err := w.libvir.stateOf(ctx, d)
	if err != nil || isActive(state) {
		return "", err
	}
	return "it is " + stateName(state), nil
}

func (w *worker) create(ctx context.Context, name string) error {
	d, found, err := w.libvir.lookup(ctx, name)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("libvirt does not know %s", name)
	}
	err = w.libvir.do(ctx, func(l *libvirt.Libvirt) error { return l.DomainCreate(d) })
	var answer libvirt.Error
	if errors.As(err, &answer) && libvirt.ErrorNumber(answer.Code) == libvirt.ErrOperationInvalid {
		// Somebody else started it, or our own request before libvirtd was
		// restarted did.
		if off, e := w.isOff(ctx, name); e == nil && off == "" {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("starting %s: %w; see /var/log/libvirt/qemu/%s.log", name, err, name)
	}
	return nil
}

// startInOrder starts the VMs one after the other, for a host that boots. One
// that does not start keeps no other from starting.
func (w *worker) startInOrder(vms []VM, after []string) step.Step {
	ordered := slices.DeleteFunc(slices.Clone(vms), func(v VM) bool { return !v.Running })
	slices.SortStableFunc(ordered, func(a, b VM) int { return rank(a) - rank(b) })
	s := step.Step{ID: "vms/start", Title: "start the VMs in their order", After: after}
	for _, v := range ordered {
		line := v.Name
		if v.Delay > 0 {
			line += fmt.Sprintf(", then wait %v", v.Delay)
		}
		s.Detail = append(s.Detail, line)
	}
	s.Check = look(func(ctx context.Context) (string, error) {
		var off []string
		for _, v := range ordered {
			why, err := w.isOff(ctx, v.Name)
			if err != nil {
				return "", err
			}
			if why != "" {
				off = append(off, v.Name)
			}
		}
		if len(off) == 0 {
			return "", nil
		}
		return names(off) + " off", nil
	})
	s.Do = func(ctx context.Context, report step.Reporter) error {
		var failures []error
		for i, v := range ordered {
			report.Progress(int64(i), int64(len(ordered)), "VMs")
			off, err := w.isOff(ctx, v.Name)
			if err == nil && off != "" {
				err = w.create(ctx, v.Name)
			}
			if err != nil {
				report.Warn("%v", err)
				failures = append(failures, err)
				continue
			}
			if off == "" || v.Delay == 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return errors.Join(append(failures, context.Cause(ctx))...)
			case <-time.After(v.Delay):
			}
		}
		return errors.Join(failures...)
	}
	return s
}

// rank puts VMs without an order last.
func rank(v VM) int {
	if v.Order == 0 {
		return 1 << 30
	}
	return v.Order
}

// restart shuts the VM down and starts it, for changes that only a start
// brings in.
func (w *worker) restart(v VM) step.Step {
	return step.Step{
		ID: w.id(v, "restart"), Title: "restart " + v.Name, Detail: []string{join(v.Restart)},
		Check: look(func(ctx context.Context) (string, error) {
			d, found, err := w.libvir.lookup(ctx, v.Name)
			if err != nil || !found {
				return "", err
			}
			state, err := w.libvir.stateOf(ctx, d)
			if err != nil || !isActive(state) {
				return "", err
			}
			text := ""
			err = w.libvir.do(ctx, func(l *libvirt.Libvirt) (err error) {
				text, err = l.DomainGetXMLDesc(d, 0)
				return err
			})
			if err != nil {
				return "", err
			}
			live, err := parseXML(text)
			if err != nil {
				return "", err
			}
			want, err := parseXML(v.XML)
			if err != nil {
				return "", err
			}
			return join(startDifferences(want, live)), nil
		}),
		Do: func(ctx context.Context, report step.Reporter) error {
			if err := w.shutDown(ctx, v.Name, report); err != nil {
				return err
			}
			return w.create(ctx, v.Name)
		},
	}
}

// shutDown asks the guest to power off, and forces it when it has not within
// the deadline. The request itself returns at once, whether or not a guest
// listens.
func (w *worker) shutDown(ctx context.Context, name string, report step.Reporter) error {
	d, found, err := w.libvir.lookup(ctx, name)
	if err != nil || !found {
		return err
	}
	state, err := w.libvir.stateOf(ctx, d)
	if err != nil || !isActive(state) {
		return err
	}
	if state == libvirt.DomainRunning || state == libvirt.DomainBlocked || state == libvirt.DomainShutdown {
		if off, err := w.powerOff(ctx, d, report); off || err != nil {
			return err
		}
		report.Warn("%s did not shut down within %v and is forced off", name, w.Shutdown)
	}
	err = w.libvir.do(ctx, func(l *libvirt.Libvirt) error { return l.DomainDestroyFlags(d, libvirt.DomainDestroyDefault) })
	if off, e := w.isOff(ctx, name); e == nil && off != "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forcing %s off: %w", name, err)
	}
	return nil
}

// powerOff presses the ACPI button and waits.
func (w *worker) powerOff(ctx context.Context, d libvirt.Domain, report step.Reporter) (off bool, err error) {
	const pressAgain = 10 * time.Second
	started, pressed := time.Now(), time.Time{}
	for waited := time.Duration(0); waited < w.Shutdown; waited = time.Since(started) {
		// A guest that is still starting does not see the button: press again.
		if time.Since(pressed) > pressAgain {
			pressed = time.Now()
			err := w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
				return l.DomainShutdownFlags(d, libvirt.DomainShutdownAcpiPowerBtn)
			})
			var answer libvirt.Error
			if err != nil && !errors.As(err, &answer) {
				return false, err
			}
		}
		state, err := w.libvir.stateOf(ctx, d)
		if libvirt.IsNotFound(err) || err == nil && !isActive(state) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		report.Progress(int64(waited/time.Second), int64(w.Shutdown/time.Second), "seconds")
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return false, nil
}
