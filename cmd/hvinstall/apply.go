package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/host"
	"hvinstall/initrd"
	"hvinstall/install"
	"hvinstall/osimage/live"
	"hvinstall/step"
	"hvinstall/vmstore"

	"golang.org/x/term"
)

// errNoConsent is an answer other than yes.
var errNoConsent = errors.New("not confirmed; nothing was written")

// session is one run of the installer that writes.
type session struct {
	*installFlags
	t      terminal
	screen io.Writer // for people; standard error with --json
	style  style
	plan   install.Plan
}

// apply shows the plan, asks for consent, carries it out and verifies it.
func (f *installFlags) apply(ctx context.Context, t terminal, plan install.Plan) int {
	r := session{installFlags: f, t: t, screen: t.out, plan: plan}
	if f.json {
		r.screen = t.err
	}
	r.style = styleOf(r.screen)
	r.style.all = f.all
	if len(plan.Refusals) > 0 {
		writePreview(r.screen, r.style, plan)
		return exitRefused
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(t.err, "hvinstall: this must be run as root; 'hvinstall --plan FILE --dry-run' looks and shows without")
		return exitFailed
	}
	if missing := plan.MissingPrograms(); len(missing) > 0 {
		fmt.Fprintf(t.err, "hvinstall: these programs are needed and not installed: %s\n", strings.Join(missing, ", "))
		return exitFailed
	}
	return r.steps(ctx)
}

// steps looks at every step; with nothing to do it says so, and asks nobody.
func (r session) steps(ctx context.Context) int {
	env := install.Env{Keyring: &crypt.Keyring{}, Binary: "/proc/self/exe", NetTimeout: r.netTimeout, Restart: r.restart, Initrd: r.initrd}
	if path, err := os.Executable(); err == nil {
		env.Binary = path
	}
	steps, err := r.plan.Steps(env)
	if err != nil {
		return r.fail(err)
	}
	found, err := step.Look(ctx, steps, step.LookSide)
	if err != nil {
		return r.fail(err)
	}
	var todo, ids []string
	var foreign []step.Refusal
	for i, f := range found {
		switch f.State {
		case step.Done:
		case step.Foreign:
			foreign = append(foreign, step.Refusal{Code: "foreign", Where: steps[i].Title, What: f.Why, Hint: "it is not what the layout says, and is left as it is: nothing was changed; if the layout was edited, put the edited line back, else find out whose it is"})
		case step.Absent:
			todo, ids = append(todo, steps[i].Title), append(ids, steps[i].ID)
		}
	}
	if len(foreign) > 0 {
		r.plan.Refusals = foreign
		writePreview(r.screen, r.style, r.plan)
		return exitRefused
	}
	if len(todo) == 0 {
		return r.nothingToDo(len(steps))
	}
	if refusals := r.plan.NixOSPreflight(ctx, env); len(refusals) > 0 {
		r.plan.Refusals = refusals
		writePreview(r.screen, r.style, r.plan)
		return exitRefused
	}
	preview{style: r.style, plan: r.plan, looked: true, todo: ids}.write(r.screen, func(w io.Writer) { r.todo(w, todo, len(steps)) })
	switch err := r.consent(ctx); {
	case errors.Is(err, errInterrupted):
		return r.leave()
	case err != nil:
		fmt.Fprintf(r.t.err, "\nhvinstall: %s\n", r.public(err))
		return exitRefused
	}
	if r.plan.Has(install.PartDisks) {
		keyring, err := r.keyring(ctx, r.t, r.plan.Crypt)
		if errors.Is(err, errInterrupted) {
			return r.leave()
		}
		if err != nil {
			return r.fail(err)
		}
		defer keyring.Wipe()
		env.Keyring = keyring
		if steps, err = r.plan.Steps(env); err != nil {
			return r.fail(err)
		}
	}
	return r.do(ctx, steps)
}

func (r session) nothingToDo(steps int) int {
	if r.json {
		_ = json.NewEncoder(r.t.out).Encode(step.Event{Time: time.Now(), Kind: step.RunDone, Steps: steps})
		return exitDone
	}
	fmt.Fprintf(r.t.out, "%s: nothing to do, all %s are as they should be.\n", r.plan.Layout.Hostname, quantity(steps, "step"))
	if r.plan.VMs != nil {
		for _, note := range r.plan.VMs.Notes {
			fmt.Fprintln(r.t.out, r.style.wrapped(r.style.warn("!"), note.String(), "", r.style.warn))
		}
		for _, line := range r.plan.VMs.RestartLines() {
			fmt.Fprintln(r.t.out, r.style.wrapped(r.style.warn("!"), line, "", r.style.warn))
		}
	}
	return exitDone
}

// todo names what there is to do where it is less than everything.
func (r session) todo(w io.Writer, titles []string, all int) {
	if len(titles) == all {
		return
	}
	fmt.Fprintf(w, "\n%s\n", r.style.bold(fmt.Sprintf("TO DO: %d of %s", len(titles), quantity(all, "step"))))
	for _, title := range titles {
		fmt.Fprintln(w, r.style.wrapped("-", title, "", nil))
	}
}

// do runs the steps.
func (r session) do(ctx context.Context, steps []step.Step) int {
	record, err := newRecord(filepath.Join(runFolder, "log"), time.Now())
	if err != nil {
		return r.fail(err)
	}
	defer record.close() //nolint:errcheck // a log that cannot be closed is no reason to fail a run

	ended := func() {}
	if live.Running() && r.plan.Installing() && r.attended() {
		ended = r.onStick()
	}
	shown := r.renderer()
	redactor := r.plan.Layout.Redactor()
	fmt.Fprintln(r.screen)
	times := &report{}
	runner := step.Runner{
		Side: sideBySide, Memory: max(r.plan.Facts.Memory.Available, crypt.Argon2Memory),
		Events: func(e step.Event) {
			for _, text := range []*string{&e.Title, &e.Message, &e.Error} {
				*text = showable(redactor.Text(*text))
			}
			record.event(e)
			times.event(e)
			shown.event(e)
		},
	}
	_, err = runner.Run(ctx, steps)
	shown.close()
	log := record.file.Name()
	if r.plan.TargetIsMounted() {
		if kept, keepErr := record.keep(r.plan.Root); keepErr == nil {
			log = kept
		}
	}
	timesAt, timesErr := times.keep(log, r.plan.Layout.Hostname)
	if err != nil {
		return r.stopped(err, log)
	}
	ended()
	fmt.Fprint(r.screen, times.summary(r.style))
	r.next(log)
	if timesErr == nil {
		fmt.Fprintf(r.screen, "The time of each step is in %s\n", timesAt)
	}
	return exitDone
}

// attended is a run that a person consents to at the terminal; others have
// their layout from elsewhere.
func (r session) attended() bool { return r.confirm == "" && !r.yes }

// sideBySide is how many steps run at once: enough for a disk each.
const sideBySide = 16

func (r session) renderer() renderer {
	switch {
	case r.json:
		return jsonLines{json.NewEncoder(r.t.out)}
	case isTerminal(r.screen):
		return newLiveBars(r.screen, r.style)
	}
	return plainLines{r.style, r.screen}
}

func isTerminal(w io.Writer) bool {
	file, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// stopped says how a run ended before its end, and what to do next.
func (r session) stopped(err error, log string) int {
	var foreign *step.ForeignError
	switch {
	case errors.Is(err, errInterrupted):
		fmt.Fprintf(r.t.err, "\nInterrupted. What was begun is finished or will be taken up again:\nrun the same command again to go on. The log is %s\n", log)
		return exitCanceled
	case errors.As(err, &foreign):
		fmt.Fprintf(r.t.err, "\nhvinstall: %s\nThe log is %s\n", r.public(err), log)
		return exitRefused
	}
	next := "Run the same command again to go on from here."
	if vmstore.IsFinal(err) {
		next = "The same command would fail again: change what the message names first."
	}
	fmt.Fprintf(r.t.err, "\nhvinstall: %s\n\n%s The log is %s\n", r.public(err), next, log)
	return exitFailed
}

// public is an error's text as it may be shown.
func (r session) public(err error) string {
	return showable(r.plan.Layout.Redactor().Text(err.Error()))
}

// leave is Ctrl-C at a question.
func (r session) leave() int {
	fmt.Fprint(r.t.err, "\n\nInterrupted; nothing was written.\n")
	return exitCanceled
}

// next says what a person does after the run.
func (r session) next(log string) {
	if r.plan.Installing() && r.plan.OS != nil && r.plan.Has(install.PartOS) {
		fmt.Fprintf(r.screen, "\n%s is installed. Leave its key stick in, take the live stick out, and reboot:\n\n    systemctl reboot\n", r.plan.Layout.Hostname)
	} else if r.plan.Installing() && r.plan.Has(install.PartDisks) {
		fmt.Fprintf(r.screen, "\nThe file systems are mounted at %s.\n", r.plan.Root)
	}
	fmt.Fprintf(r.screen, "The log is %s\n", log)
}

func (r session) fail(err error) int {
	fmt.Fprintf(r.t.err, "hvinstall: %s\n", r.public(err))
	return exitFailed
}

// consent makes sure that somebody wants exactly this plan.
func (r session) consent(ctx context.Context) error {
	erased, deleted, adopted := r.plan.Erases(), r.plan.DeletesForGood(), r.plan.AdoptsWithChanges()
	switch {
	case r.confirm != "":
		if !strings.EqualFold(r.confirm, r.plan.Digest) {
			return fmt.Errorf("--confirm %s is not this plan's digest, which is %s: the layout, a disk or what is on it has changed since; read the plan above again",
				r.confirm, r.plan.Digest)
		}
		return nil
	case r.yes && len(erased) > 0:
		return fmt.Errorf("--yes does not consent to erasing %s; use --confirm %s", shortNames(erased), r.plan.Digest)
	case r.yes && len(deleted) > 0:
		return fmt.Errorf("--yes does not consent to deleting %s for good; use --confirm %s, or keep the disks aside for a time with purge_after",
			strings.Join(deleted, ", "), r.plan.Digest)
	case r.yes && len(adopted) > 0:
		return fmt.Errorf("--yes does not consent to other hardware for %s, which hvinstall did not make; use --confirm %s", strings.Join(adopted, ", "), r.plan.Digest)
	case r.yes:
		return nil
	}
	input, isFile := r.t.in.(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		hint := "--confirm " + r.plan.Digest
		if len(erased)+len(deleted)+len(adopted) == 0 {
			hint += " or --yes"
		}
		return fmt.Errorf("nobody is there to confirm: run at a terminal, or with %s", hint)
	}
	word := "yes"
	if len(erased) > 0 {
		word = "erase"
		fmt.Fprintf(r.screen, "\n%s Type erase to go on: ", r.style.danger("This erases "+shortNames(erased)+"."))
	} else if removed := r.plan.Removes(); len(removed) > 0 {
		word = "delete"
		fmt.Fprintf(r.screen, "\n%s Type delete to go on: ", r.style.danger("This deletes "+strings.Join(removed, ", ")+"."))
	} else if len(adopted) > 0 {
		word = "adopt"
		fmt.Fprintf(r.screen, "\n%s Type adopt to go on: ", r.style.danger("This changes the hardware that the guests of "+strings.Join(adopted, ", ")+" see."))
	} else {
		fmt.Fprint(r.screen, "\nType yes to go on: ")
	}
	line, err := answer(ctx, input, func() (string, error) { return readLine(input) })
	if errors.Is(err, errInterrupted) {
		return err
	}
	if err != nil || strings.TrimSpace(line) != word {
		return errNoConsent
	}
	return nil
}

func shortNames(byID []string) string {
	var names []string
	for _, id := range byID {
		names = append(names, strings.TrimPrefix(id, disk.ByIDFolder))
	}
	return strings.Join(names, ", ")
}

// initrd builds the initramfs of a kernel of the system at root.
func (r session) initrd(ctx context.Context, root, version, output string) error {
	image, err := buildInitrd(ctx, r.t, initrd.Options{Root: root, Kernel: version, Binary: "/proc/self/exe"}, false, "")
	if err != nil {
		return err
	}
	return host.WriteFile(output, image.Data, 0o600)
}
