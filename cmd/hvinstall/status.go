package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strings"
	"time"

	"hvinstall/configs"
	"hvinstall/disk"
	"hvinstall/install"
	"hvinstall/osimage"
	"hvinstall/vmstore"

	"github.com/spf13/pflag"
)

// runStatus shows the whole host against its plan, and writes nothing.
func runStatus(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("status", pflag.ContinueOnError)
	plan := flags.String("plan", "/etc/hvinstall/layout.yaml", "the layout `FILE` of this host")
	vms := flags.String("vms", "", "take the libvirt_* keys from this `FILE` instead")
	asJSON := flags.Bool("json", false, "the status as JSON")
	exitCode := flags.Bool("exit-code", false, "exit 4 when something differs")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if flags.NArg() > 0 {
		return usageError(t, "status takes no argument %q", flags.Arg(0))
	}
	layout, err := configs.LoadFile(*plan, *vms)
	if errors.Is(err, fs.ErrPermission) && !flags.Changed("plan") {
		layout, err = configs.LoadFile(osimage.PublicLayout, *vms)
	}
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	// It lives for a second and holds little: collecting what it drops would
	// take a tenth of that.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)
	status, err := install.ReadStatus(ctx, layout)
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	if *asJSON {
		out, err := json.MarshalIndent(status, "", "  ")
		if err != nil {
			t.complain(err)
			return exitFailed
		}
		fmt.Fprintf(t.out, "%s\n", layout.Redactor().JSON(out))
	} else {
		var text strings.Builder
		s := styleOf(t.out)
		writeStatus(&text, s, status)
		fmt.Fprint(t.out, s.screen(layout.Redactor().Text(text.String())))
	}
	if *exitCode && !status.Healthy() {
		return exitDiffers
	}
	return exitDone
}

// statusScreen writes a status for a person: one calm screen, what needs them
// last.
type statusScreen struct {
	style
	out   io.Writer
	label int // columns of the labels of the section at hand
}

func writeStatus(w io.Writer, s style, status install.Status) {
	p := &statusScreen{style: s, out: w}
	fmt.Fprintf(w, "%s%s\n", s.bold(status.Hostname), s.dim(alignRight(status.Taken.Local().Format("2006-01-02 15:04"), s.width-len(status.Hostname))))
	p.boot(status)
	p.disks(status.Disks)
	p.volumes(status.Volumes)
	p.pools(status)
	p.network(status.Network)
	p.exports(status.Exports)
	p.vms(status.VMs)
	p.unseen(status)
	p.verdict(status)
}

// heading begins a section whose rows have these labels.
func (p *statusScreen) heading(text string, labels ...string) {
	fmt.Fprintf(p.out, "\n%s\n", p.bold(text))
	p.label = labelWidth + 3
	for _, l := range labels {
		p.label = max(p.label, len([]rune(l))+2)
	}
}

// labels takes the label of each element of a section.
func labels[E any](elements []E, label func(E) string) []string {
	var all []string
	for _, e := range elements {
		all = append(all, label(e))
	}
	return all
}

// row writes a mark, a label and its text, wrapped under itself.
func (p *statusScreen) row(good bool, label, text string) {
	mark, colour := p.good("✓"), func(s string) string { return s }
	if !good {
		mark, colour = p.danger("✗"), p.danger
	}
	for i, line := range wrap(text, p.width-4-p.label) {
		if i > 0 {
			mark, label = " ", ""
		}
		fmt.Fprintf(p.out, "  %s %s%s\n", mark, pad(label, p.label), colour(line))
	}
}

func (p *statusScreen) boot(s install.Status) {
	if s.Boot == nil || s.Boot.UnlockedBy == "" {
		return
	}
	p.heading("BOOT")
	p.row(true, "unlocked", fmt.Sprintf("by %s, %.1f s after the kernel started; gave way to systemd after %.1f s", s.Boot.UnlockedBy, s.Boot.LastOpen, s.Boot.SwitchRoot))
}

func (p *statusScreen) disks(disks []install.DiskStatus) {
	if len(disks) == 0 {
		return
	}
	p.heading("DISKS", labels(disks, func(d install.DiskStatus) string { return d.Name })...)
	for _, d := range disks {
		name := strings.TrimPrefix(d.ID, disk.ByIDFolder)
		if !d.Present {
			isKey := strings.HasPrefix(d.Name, "key-")
			p.row(isKey, d.Name, "not there: "+name)
			continue
		}
		words := []string{disk.DecimalSize(d.Size), d.Model}
		p.row(d.Health.Unavailable != "" || d.Health.Passed, d.Name, strings.Join(append(words, healthWords(d.Health)...), ", "))
	}
}

func healthWords(h disk.Health) []string {
	if h.Unavailable != "" {
		return []string{"health not known (" + strings.TrimSuffix(h.Unavailable, ".") + ")"}
	}
	words := []string{"healthy"}
	if !h.Passed {
		words[0] = "FAILING"
	}
	if h.TemperatureC > 0 {
		words = append(words, fmt.Sprintf("%d °C", h.TemperatureC))
	}
	if h.WornPercent > 0 {
		words = append(words, fmt.Sprintf("%d %% worn", h.WornPercent))
	}
	if h.Reallocated > 0 {
		words = append(words, fmt.Sprintf("%d sectors replaced", h.Reallocated))
	}
	if h.PowerOnHours > 0 {
		words = append(words, fmt.Sprintf("%d h", h.PowerOnHours))
	}
	return words
}

func (p *statusScreen) volumes(volumes []install.VolumeStatus) {
	if len(volumes) == 0 {
		return
	}
	p.heading("VOLUMES", labels(volumes, func(v install.VolumeStatus) string { return v.Mapping })...)
	for _, v := range volumes {
		state := "open"
		if !v.Open {
			state = "closed"
		}
		words := []string{state}
		if v.Unseen != "" {
			words = append(words, "header not seen: "+v.Unseen)
		} else {
			words = append(words, "opened by "+slots(v))
		}
		if v.Discards {
			words = append(words, "discards reach the disk")
		}
		p.row(v.Open, v.Mapping, strings.Join(words, ", "))
	}
}

func slots(v install.VolumeStatus) string {
	var names []string
	if v.Passphrase {
		names = append(names, "the passphrase")
	}
	for _, s := range v.Sticks {
		names = append(names, "stick "+s)
	}
	if len(names) == 0 {
		return "no key of this layout"
	}
	return strings.Join(names, " or ")
}

func (p *statusScreen) pools(s install.Status) {
	if len(s.Pools) == 0 {
		return
	}
	p.heading("POOLS")
	for _, pool := range s.Pools {
		if !pool.Mounted {
			p.row(false, pool.Name, "not mounted at "+pool.Mountpoint)
			continue
		}
		u := pool.Usage
		words := []string{fmt.Sprintf("%s used, %s free at %s", disk.DecimalSize(u.Data), disk.DecimalSize(u.Free), pool.Mountpoint)}
		if n := u.Missing(); n > 0 {
			words = append(words, quantity(n, "disk")+" MISSING")
		}
		var errors uint64
		for _, d := range u.Devices {
			errors += d.Errors.Sum()
		}
		words = append(words, quantity(len(u.Devices), "disk"), strings.Join(u.Profiles, "+"), fmt.Sprintf("%d errors", errors), scrubWords(u.Scrub, s.Taken))
		p.row(u.Missing() == 0 && errors == 0, pool.Name, strings.Join(words, ", "))
	}
}

func scrubWords(s *disk.Scrub, now time.Time) string {
	if s == nil {
		return "no scrub known"
	}
	days := int(now.Sub(s.Started).Hours() / 24)
	words := fmt.Sprintf("scrubbed %d days ago", days)
	switch {
	case days < 1:
		words = "scrubbed today"
	case days == 1:
		words = "scrubbed yesterday"
	}
	if !s.Finished {
		words += " (not finished)"
	}
	if s.Uncorrectable > 0 {
		words += fmt.Sprintf(" (%d errors NOT corrected)", s.Uncorrectable)
	}
	return words
}

func (p *statusScreen) network(n *install.NetworkStatus) {
	if n == nil {
		return
	}
	p.heading("NETWORK")
	if !n.Up {
		p.row(false, n.Bridge, "not there")
		return
	}
	link := "no carrier"
	if n.Carrier {
		link = "link"
		if n.SpeedMbit > 0 {
			link = fmt.Sprintf("%d Mbit/s", n.SpeedMbit)
		}
	}
	addresses := strings.Join(n.Addresses, ", ")
	if addresses == "" {
		addresses = "no address"
	}
	p.row(n.Carrier && len(n.Addresses) > 0, n.Bridge, fmt.Sprintf("%s; over %s, %s", addresses, n.NIC, link))
}

func (p *statusScreen) exports(exports []install.ExportStatus) {
	if len(exports) == 0 {
		return
	}
	p.heading("NFS EXPORTS", labels(exports, func(e install.ExportStatus) string { return e.Path })...)
	for _, e := range exports {
		if len(e.Exported) == 0 {
			p.row(false, e.Path, "not exported")
			continue
		}
		p.row(true, e.Path, "to "+strings.Join(e.Exported, ", "))
	}
}

func (p *statusScreen) vms(s *vmstore.Status) {
	if s == nil {
		return
	}
	p.heading("VMS", labels(s.VMs, func(v vmstore.VMStatus) string { return v.Name })...)
	if s.Libvirt != "" {
		p.row(false, "libvirt", s.Libvirt)
	}
	for _, vm := range s.VMs {
		words := []string{vm.State}
		if len(vm.Differs) > 0 && vm.Differs[0] == vm.State {
			words = nil
		}
		if vm.VCPU > 0 {
			words = append(words, fmt.Sprintf("%d vCPU, %d MiB", vm.VCPU, vm.RAMMB))
		}
		if vm.DiskSize > 0 {
			words = append(words, fmt.Sprintf("%s of %s on disk", disk.BinarySize(uint64(vm.DiskUsed)), disk.BinarySize(uint64(vm.DiskSize))))
		}
		if !vm.Declared {
			words = append(words, "not in the layout")
		}
		words = append(words, vm.Troubles...)
		words = append(words, vm.Differs...)
		if vm.Restart != "" {
			words = append(words, vm.Restart)
		}
		words = append(words, vm.Notes...)
		p.row(len(vm.Differs)+len(vm.Troubles) == 0 && vm.Restart == "", vm.Name, strings.Join(words, ", "))
	}
}

func (p *statusScreen) unseen(s install.Status) {
	if len(s.Unseen) == 0 {
		return
	}
	p.heading("NOT SEEN")
	for _, u := range s.Unseen {
		fmt.Fprintln(p.out, p.wrapped("-", u, "", p.dim))
	}
	if !s.Root {
		fmt.Fprintln(p.out, p.wrapped(" ", "root sees more", "", p.dim))
	}
}

// verdict is what needs the person: nothing, or a list with what to do.
func (p *statusScreen) verdict(s install.Status) {
	if s.Healthy() {
		fmt.Fprintf(p.out, "\n%s\n", p.good("Everything is as the layout wants it."))
		return
	}
	fmt.Fprintf(p.out, "\n%s\n", p.danger(quantity(len(s.Differs), "thing")+" to look at:"))
	for i, d := range s.Differs {
		writeReason(p.out, p.style, i+1, d.Where, d.What, d.Hint)
	}
}
