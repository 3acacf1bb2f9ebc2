package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"hvinstall/configs"
	"hvinstall/osimage/live"
)

// greet is what a person sees at the live system's login.
func greet(ctx context.Context, t terminal) {
	p := func(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }
	p("")
	p("hvinstall live system: turns this machine into a KVM hypervisor.")
	p("Nothing is written to a disk before you have seen the plan and said yes.")
	p("")
	p("  network   %s", addresses())
	layout := live.Layout()
	plan, err := configs.LoadFile(layout, "")
	if keyboard := liveKeymap(plan); keyboard != "" {
		switch active, err := keyboardLikeBoot(ctx, t.in, keyboard); {
		case err != nil:
			p("  keyboard  us: %s", showable(err.Error()))
		case active != "":
			p("  keyboard  %s", active)
		}
	}
	switch {
	case layout == "":
		p("  layout    none on the stick yet")
	case err != nil:
		p("  layout    %s has errors; see them with: hvinstall check --plan %s", layout, layout)
	default:
		p("  layout    %s, valid", layout)
	}
	if begun := live.Begun(); begun != "" {
		p("  begun     %s, and did not come to its end:", begun)
		p("            the same layout again goes on where it stopped")
	}
	p("")
	if layout == "" {
		layout = "layout.yaml"
		p("  hvinstall discover                           this machine's disks and cards")
		p("  hvinstall discover --layout > layout.yaml    a first layout, from what is here")
		p("  nano layout.yaml                             make it yours")
		p("  hvinstall live --save layout.yaml            keep it on the stick")
	} else {
		p("  hvinstall discover                           this machine's disks and cards")
	}
	p("  hvinstall --plan %s --dry-run", layout)
	p("  hvinstall --plan %s", layout)
	p("")
	if line, err := os.ReadFile("/proc/cmdline"); err == nil {
		request, _ := live.ParseRequest(string(line)) // what is wrong with it the run itself has said
		if reminder := passphraseOnStick(request); reminder != "" {
			p("%s\n", reminder)
		}
	}
	if data, err := os.ReadFile(unattendedFailure); err == nil {
		p("The unattended installation did not go through:\n")
		for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
			p("  %s", showable(line))
		}
		p("\nThe same command may be run again. The log: less %s\n", unattendedLog)
	}
}

// liveKeymap is what vconsole.keymap= on the kernel's command line says, as
// with systemd, or the layout on the stick.
func liveKeymap(plan *configs.Layout) string {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err == nil {
		for word := range strings.FieldsSeq(string(cmdline)) {
			if name, found := strings.CutPrefix(word, "vconsole.keymap="); found {
				return name
			}
		}
	}
	if plan == nil {
		return ""
	}
	return plan.Locale.Keymap
}

// addresses are this machine's, for a person who wants to reach it.
func addresses() string {
	var all []string
	interfaces, err := net.Interfaces()
	if err != nil {
		return err.Error()
	}
	for _, i := range interfaces {
		list, err := i.Addrs()
		if err != nil || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, a := range list {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				all = append(all, i.Name+" "+ip.String())
			}
		}
	}
	if len(all) == 0 {
		return "no address yet; an installation from the stick needs none"
	}
	return strings.Join(all, ", ")
}
