package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"hvinstall/disk"
	"hvinstall/install"

	"golang.org/x/term"
)

// apply shows the plan, asks for consent, and runs it.
func (f *installFlags) apply(ctx context.Context, t terminal, plan install.Plan) int {
	screen := t.out
	if f.json {
		screen = t.err
	}
	look := styleOf(screen)
	writePreview(screen, look, plan)
	if len(plan.Refusals) > 0 {
		return exitRefused
	}
	if err := f.consent(t, screen == t.err, plan); err != nil {
		fmt.Fprintf(t.err, "\nhvinstall: %v\n", err)
		return exitRefused
	}
	_ = ctx
	return exitFailed
}

// errNoConsent is an answer other than yes.
var errNoConsent = errors.New("not confirmed; nothing was written")

// consent makes sure that somebody wants exactly this plan.
func (f *installFlags) consent(t terminal, toErr bool, plan install.Plan) error {
	erased := plan.Erases()
	switch {
	case f.confirm != "":
		if !strings.EqualFold(f.confirm, plan.Digest) {
			return fmt.Errorf("--confirm %s is not this plan's digest, which is %s: the layout, a disk or what is on it has changed since; read the plan above again",
				f.confirm, plan.Digest)
		}
		return nil
	case f.yes && len(erased) > 0:
		return fmt.Errorf("--yes does not consent to erasing %s; use --confirm %s", shortNames(erased), plan.Digest)
	case f.yes:
		return nil
	}
	input, isFile := t.in.(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		return fmt.Errorf("nobody is there to confirm: run at a terminal, or with --confirm %s", plan.Digest)
	}
	out := t.out
	if toErr {
		out = t.err
	}
	word := "yes"
	if len(erased) > 0 {
		word = "erase"
		fmt.Fprintf(out, "\nThis erases %s. Type erase to go on: ", shortNames(erased))
	} else {
		fmt.Fprint(out, "\nType yes to go on: ")
	}
	answer, err := bufio.NewReader(input).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != word {
		return errNoConsent
	}
	return nil
}

func shortNames(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, strings.TrimPrefix(id, disk.ByIDFolder))
	}
	return strings.Join(names, ", ")
}
