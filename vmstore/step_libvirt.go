package vmstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// define gives libvirt the definition. A domain that is there is redefined in
// place, running or not: its own description, in which the layout's differences
// are made good.
func (w *worker) define(v VM) step.Step {
	title := "define " + v.Name + " in libvirt"
	switch v.Action {
	case Adopt:
		title = "take over " + v.Name + " as it is"
		if v.DiskName != "" {
			title += ", with its disk " + v.DiskName
		}
	case Change, Keep:
		title = "redefine " + v.Name + " in libvirt"
	case Create, Remove, Gone:
	}
	s := step.Step{ID: w.id(v, "define"), Title: title}
	if v.From == InFile {
		s.Detail = append(s.Detail, "from "+v.where())
	}
	for _, d := range v.Differences {
		s.Detail = append(s.Detail, d.Line())
	}
	if len(v.Differences) > 0 {
		s.Detail = append(s.Detail, "nothing else in its definition changes")
	}
	for _, key := range v.ByHand {
		s.Detail = append(s.Detail, "kept, added by hand: "+key)
	}
	if line := v.RestartLine(); line != "" && !w.Restart {
		s.Detail = append(s.Detail, line)
	}
	s.Check = func(ctx context.Context) (step.State, string, error) { return w.isDefined(ctx, v) }
	s.Do = func(ctx context.Context, _ step.Reporter) error {
		before, found, err := w.described(ctx, v.Name)
		if err != nil {
			return err
		}
		xml, err := w.merged(v, before)
		if err != nil {
			return err
		}
		if err := w.defineXML(ctx, v, xml); err != nil {
			return fmt.Errorf("defining the domain: %w", err)
		}
		if err := w.verifyDefined(ctx, v, xml); err != nil {
			return errors.Join(fmt.Errorf("%w; it is put back as it was", err), w.putBack(ctx, v, before, found))
		}
		return nil
	}
	return s
}

// merged is the definition that libvirt is to get: new, or the one there is
// with exactly the changes that the plan has shown.
func (w *worker) merged(v VM, before string) (string, error) {
	known := before != ""
	switch {
	case known != (v.From == InLibvirt):
		return "", fmt.Errorf("libvirt %s %s since the plan was made; run the same command again", map[bool]string{true: "has got", false: "has lost"}[known], v.Name)
	case v.From == "":
		return v.XML, nil
	case v.From == InFile:
		var err error
		if before, err = readXMLFile(w.at(v.where())); err != nil {
			return "", err
		}
	}
	doc, err := readTree(before)
	if err != nil {
		return "", err
	}
	m := merge(doc, v.wish, false)
	switch {
	case m.err != nil:
		return "", m.err
	case len(m.refusals) > 0:
		return "", m.refusals[0]
	case linesOf(m.found) != linesOf(v.Differences):
		return "", fmt.Errorf("the definition of %s was changed since the plan was made (%s); run the same command again", v.Name, join(m.found))
	}
	return doc.WriteToString()
}

func linesOf(found []Difference) string {
	var b strings.Builder
	for _, d := range found {
		b.WriteString(d.Line() + "\n")
	}
	return b.String()
}

func (w *worker) defineXML(ctx context.Context, v VM, xml string) error {
	return w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
		// Validation reads libvirt's whole schema anew each time, 40 ms for
		// each VM. What our own templates give is held against it by the
		// tests; what a user's gives is held against it here. libvirt's mock
		// knows no validation.
		flags := libvirt.DomainDefineFlags(0)
		if v.Template != "" && w.libvir.uri.Scheme != "test" {
			flags = libvirt.DomainDefineValidate
		}
		_, err := l.DomainDefineXMLFlags(xml, flags)
		return err
	})
}

// verifyDefined reads back what libvirt made of a definition: it is to be this
// VM, as the layout wants it, and nothing that libvirt itself had written may
// be gone.
func (w *worker) verifyDefined(ctx context.Context, v VM, xml string) error {
	after, found, err := w.described(ctx, v.Name)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("libvirt took the definition of %s and does not know it", v.Name)
	}
	have, err := readTree(after)
	if err != nil {
		return err
	}
	if id := content(below(have.Root(), "uuid")); !strings.EqualFold(id, v.Spec.UUID) {
		return fmt.Errorf("libvirt gave %s the UUID %s, want %s", v.Name, id, v.Spec.UUID)
	}
	// What a running VM without a definition has, has parts of its run.
	if v.From == InLibvirt && !v.transient {
		want, err := readTree(xml)
		if err != nil {
			return err
		}
		if lost := stated("/domain", want.Root(), have.Root(), false); len(lost) > 0 {
			return fmt.Errorf("libvirt dropped %s of %s from its own definition", lost[0].path, v.Name)
		}
	}
	if m := merge(have, v.wish, false); m.err != nil || len(m.found) > 0 {
		return errors.Join(fmt.Errorf("libvirt did not take all of the definition of %s: %s", v.Name, join(m.found)), m.err)
	}
	return nil
}

// putBack gives libvirt what it had.
func (w *worker) putBack(ctx context.Context, v VM, before string, known bool) error {
	if known && !v.transient {
		return w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
			_, err := l.DomainDefineXMLFlags(before, 0)
			return err
		})
	}
	d, found, err := w.libvir.lookup(ctx, v.Name)
	if err != nil || !found {
		return err
	}
	return w.libvir.do(ctx, func(l *libvirt.Libvirt) error {
		err := l.DomainUndefineFlags(d, libvirt.DomainUndefineKeepNvram)
		if isUnsupported(err) {
			err = l.DomainUndefine(d)
		}
		return err
	})
}

// isDefined looks for differences in libvirt's description.
func (w *worker) isDefined(ctx context.Context, v VM) (step.State, string, error) {
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
	inactive, persistent := "", int32(0)
	err = w.libvir.do(ctx, func(l *libvirt.Libvirt) (err error) {
		if persistent, err = l.DomainIsPersistent(d); err == nil {
			inactive, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive)
		}
		return err
	})
	switch {
	case libvirt.IsNotFound(err):
		return step.Absent, "libvirt does not know it", nil
	case err != nil:
		return step.Absent, "", err
	case persistent == 0:
		return step.Absent, "it runs without a definition", nil
	case v.From == InLibvirt && len(v.Differences) == 0 && inactive == v.XML:
		return step.Done, "", nil // as the plan has found it
	}
	have, err := readTree(inactive)
	if err != nil {
		return step.Absent, "", err
	}
	m := merge(have, v.wish, false)
	switch {
	case m.err != nil:
		return step.Absent, "", m.err
	case len(m.refusals) > 0:
		return step.Foreign, m.refusals[0].What, nil
	case !m.ours:
		return step.Absent, "hvinstall did not define it", nil
	case len(m.found) > 0:
		return step.Absent, join(m.found), nil
	}
	return step.Done, "", nil
}

// described is the definition that libvirt has, with the passwords in it:
// without them a redefinition would take them away.
func (w *worker) described(ctx context.Context, name string) (text string, found bool, err error) {
	d, found, err := w.libvir.lookup(ctx, name)
	if err != nil || !found {
		return "", false, err
	}
	err = w.libvir.do(ctx, func(l *libvirt.Libvirt) (err error) {
		text, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive|libvirt.DomainXMLSecure)
		return err
	})
	if libvirt.IsNotFound(err) {
		return "", false, nil
	}
	return text, err == nil, err
}

// domainFile keeps libvirt's description beside the disk: with it a host that
// is installed anew finds the VM as it was. It is written once libvirt has the
// definition.
func (w *worker) domainFile(v VM) step.Step {
	path := w.at(filepath.Join(v.Spec.Dir, domainXMLName))
	return step.Step{
		ID: w.id(v, "xml"), Title: "save " + filepath.Join(v.Spec.Dir, domainXMLName),
		Check: look(func(ctx context.Context) (string, error) {
			text, found, err := w.described(ctx, v.Name)
			if err != nil || !found {
				return "libvirt does not know it", err
			}
			same, err := isSaved(path, text)
			if same || err != nil {
				return "", err
			}
			return "it is not there, or is not what libvirt has", nil
		}),
		Do: func(ctx context.Context, _ step.Reporter) error {
			text, found, err := w.described(ctx, v.Name)
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("libvirt does not know %s", v.Name)
			}
			return host.WriteFile(path, []byte(text), savedMode(text))
		},
	}
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
			live, err := readTree(text)
			if err != nil {
				return "", err
			}
			return join(merge(live, v.wish, true).found), nil
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
