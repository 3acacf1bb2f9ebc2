package main

import (
	"strings"
	"testing"
	"time"

	"hvinstall/install"
	"hvinstall/vmstore"
)

// TestYesDeletesNothing: what --yes does not consent to, and what it says then.
func TestYesDeletesNothing(t *testing.T) {
	gone := vmstore.VM{Name: "books", Action: vmstore.Remove, Lost: &vmstore.Lost{Defined: true, Directory: "/mnt/vmstore/books"}}
	aside, undefined := gone, gone
	aside.PurgeAfter = 7 * 24 * time.Hour
	undefined.Lost = &vmstore.Lost{Defined: true}
	for name, test := range map[string]struct {
		vm   vmstore.VM
		want string
	}{
		"deleted":        {gone, "--yes does not consent to deleting books for good; use --confirm 0123, or keep the disks aside for a time with purge_after"},
		"kept aside":     {aside, ""},
		"undefined only": {undefined, ""},
		"adopted":        {vmstore.VM{Name: "books", Action: vmstore.Adopt, Differences: []vmstore.Difference{{What: "mac", Hardware: true}}}, "--yes does not consent to other hardware for books"},
	} {
		plan := install.Plan{Digest: "0123", Parts: []install.Part{install.PartVMs}, VMs: &vmstore.Plan{VMs: []vmstore.VM{test.vm}}}
		err := session{plan: plan, installFlags: &installFlags{yes: true}}.consent(t.Context())
		if err != nil {
			said := err.Error()
			if test.want == "" || !strings.HasPrefix(said, test.want) {
				t.Errorf("%s: %s, want %q", name, said, test.want)
			}
		} else if test.want != "" {
			t.Errorf("%s: consented to, want %q", name, test.want)
		}
		if err := (session{plan: plan, installFlags: &installFlags{confirm: "0123"}}).consent(t.Context()); err != nil {
			t.Errorf("%s: by its digest: %v", name, err)
		}
	}
}
