package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/install"
	"hvinstall/step"
	"hvinstall/vmstore"
)

// adoption is a plan that takes a VM over and gives it another MAC.
func adoption(name string) install.Plan {
	mac := vmstore.Difference{What: "mac", Have: "52:54:00:00:00:01", Want: "52:54:00:00:00:02", Paths: []string{"/domain/devices/interface[1]/mac/@address"}, Hardware: true}
	return install.Plan{Digest: "0123", Layout: &configs.Layout{Hostname: "hypervisor"}, Parts: []install.Part{install.PartVMs}, VMs: &vmstore.Plan{
		VMs: []vmstore.VM{
			{Name: name, Action: vmstore.Adopt, From: vmstore.InLibvirt, DiskName: "/dev/vg/books", Differences: []vmstore.Difference{mac}},
			{Name: name + "-old", Action: vmstore.Remove, Lost: &vmstore.Lost{Defined: true}},
			{Name: name + "-gone", Action: vmstore.Gone},
		},
		Undeclared: []vmstore.Undeclared{{Name: name + "-other", State: "running"}},
	}}
}

// TestAdoptIsTyped: other hardware for a VM of somebody's takes a word of its
// own.
func TestAdoptIsTyped(t *testing.T) {
	plan := adoption("books")
	plan.VMs.VMs = plan.VMs.VMs[:1]
	for word, want := range map[string]error{"yes": errNoConsent, "adopt": nil, "Adopt": errNoConsent} {
		person, program := openTerminal(t)
		if _, err := person.WriteString(word + "\n"); err != nil {
			t.Fatal(err)
		}
		var screen bytes.Buffer
		err := session{plan: plan, installFlags: &installFlags{}, t: terminal{in: program}, screen: &screen}.consent(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("%q is answered by %v, want %v", word, err, want)
		}
		if said := screen.String(); !strings.Contains(said, "the guests of books see. Type adopt to go on") {
			t.Errorf("the question is %q", said)
		}
	}
}

// TestPreviewOfVMs: names of any length stay apart from what is said of them,
// each node that changes is there, and each refusal has a number and a subject.
func TestPreviewOfVMs(t *testing.T) {
	const long = "technitium-secondary"
	show := func(plan install.Plan) []string {
		var out bytes.Buffer
		writePreview(&out, style{width: 100}, plan)
		return strings.Split(out.String(), "\n")
	}
	plan := adoption(long)
	lines := show(plan)
	for _, want := range []string{
		"  " + long,
		"                     mac 52:54:00:00:00:01 → 52:54:00:00:00:02 (devices/interface[1]/mac/@address)",
		"                     nothing else in its definition changes",
		"! " + long + "-old ABSENT: removed for good",
		"  " + long + "-gone",
		"               absent, and nothing is left of it",
		"  " + long + "-other",
		"               not in the layout, left alone (running)",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the preview has no line %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	plan.Refusals = []step.Refusal{
		{Code: "disk-overlay", Where: long, What: "its disk is the base of another", Hint: "name the other one"},
		{Code: "bridge", Where: "books", What: "there is no bridge br9"},
	}
	lines = show(plan)
	for _, want := range []string{"  1. " + long + ": its disk is the base of another", "     → name the other one", "  2. books: there is no bridge br9"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the refusal has no line %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// TestForEverIsNotTriedAgain: what was downloaded is refused for what it is, and
// nobody is sent to the same command again.
func TestForEverIsNotTriedAgain(t *testing.T) {
	for err, again := range map[error]bool{
		&vmstore.NotAnImageError{Path: "/mnt/vmstore/a/a.qcow2", Why: "it is a web page"}: false,
		errors.New("the server is gone"): true,
	} {
		var said bytes.Buffer
		code := session{plan: adoption("books"), t: terminal{err: &said}}.stopped(fmt.Errorf("vms/a/image: %w", err), "/run/log")
		if has := strings.Contains(said.String(), "Run the same command again"); code != exitFailed || has != again || !again && !strings.Contains(said.String(), "would fail again") {
			t.Errorf("exit code %d, want %d, and this says to run it again: %v, want %v:\n%s", code, exitFailed, has, again, said.String())
		}
	}
}
