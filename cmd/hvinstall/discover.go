package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"hvinstall/disk"
	"hvinstall/install"
	"hvinstall/net/bridge"

	"github.com/spf13/pflag"
)

// runDiscover shows the machine: its disks, USB sticks and NICs.
func runDiscover(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("discover", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print facts as JSON, which --facts reads back")
	layout := flags.Bool("layout", false, "print a starter layout.yaml for this machine")
	path := flags.String("facts", "", "show a machine captured earlier with --json, instead of this one; - is standard input")
	if code, done := parse(t, flags, args); done {
		return code
	}
	switch {
	case flags.NArg() > 0:
		return usageError(t, "discover takes no argument, and got %q", flags.Arg(0))
	case *asJSON && *layout:
		return usageError(t, "discover prints either --json or --layout")
	}
	facts, err := machineFacts(ctx, t, *path)
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	switch {
	case *asJSON:
		encoder := json.NewEncoder(t.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(facts)
	case *layout:
		_, err = io.WriteString(t.out, install.Starter(facts))
		// The layout goes to a file; what it is made without must still be read.
		for _, line := range facts.Unseen() {
			t.complain("not seen: " + line)
		}
	default:
		err = writeMachine(t.out, styleOf(t.out), facts)
	}
	if err != nil {
		t.complain(fmt.Errorf("writing: %w", err))
		return exitFailed
	}
	return exitDone
}

// machineFacts looks at this machine, or reads one captured earlier.
func machineFacts(ctx context.Context, t terminal, path string) (install.Facts, error) {
	switch path {
	case "":
		return install.Probe(ctx)
	case "-":
		return install.LoadFacts(t.in)
	}
	file, err := os.Open(path)
	if err != nil {
		return install.Facts{}, err
	}
	defer file.Close()
	facts, err := install.LoadFacts(file)
	if err != nil {
		return install.Facts{}, fmt.Errorf("%s: %w", path, err)
	}
	return facts, nil
}

// machineView writes facts for people: a column of sizes, one of kinds, and
// the rest under each other.
type machineView struct {
	style
	out strings.Builder
}

// Columns of the view.
const (
	sizeColumn = 9
	kindColumn = 14
	textColumn = 2 + sizeColumn + kindColumn
)

func writeMachine(w io.Writer, s style, f install.Facts) error {
	v := machineView{style: s}
	v.machine(f)
	v.disks(f.Disks.Disks)
	v.sticks(f.Disks.Disks)
	v.nics(f.Network)
	v.unseen(f)
	v.next()
	_, err := io.WriteString(w, v.out.String())
	return err
}

func (v *machineView) line(format string, args ...any) {
	v.out.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

func (v *machineView) heading(text string) { v.line("\n%s", v.bold(text)) }

func (v *machineView) machine(f install.Facts) {
	name := strings.TrimSpace(f.Vendor + " " + f.Product)
	if name == "" {
		name = "unknown machine"
	}
	if f.Hostname != "" {
		name = f.Hostname + ", " + name
	}
	v.line("%s", v.bold(name))
	words := []string{quantity(f.CPUs, "CPU"), disk.BinarySize(f.Memory.Total) + " memory"}
	if f.UEFI {
		words = append(words, "UEFI")
	} else {
		words = append(words, "no UEFI (booted in legacy mode)")
	}
	if f.KVM {
		words = append(words, "KVM")
	} else {
		words = append(words, "no usable KVM")
	}
	if f.Virtualisation != "" {
		words = append(words, "itself a virtual machine ("+f.Virtualisation+")")
	}
	if f.OS != "" {
		running := f.OS
		if f.Live {
			running = "live " + running
		}
		words = append(words, running)
	}
	for _, l := range wrap(strings.Join(words, ", "), v.width) {
		v.line("%s", l)
	}
}

// text writes lines in the right-hand column, behind a word.
func (v *machineView) text(word, text string, colour func(string) string) {
	for _, l := range wrap(text, v.width-textColumn-len(word)) {
		if colour != nil {
			l = colour(l)
		}
		v.line("%s%s%s", strings.Repeat(" ", textColumn), v.dim(word), l)
		word = strings.Repeat(" ", len(word))
	}
}

func (v *machineView) disks(disks []disk.Disk) {
	v.heading(fmt.Sprintf("DISKS (%d)", len(disks)))
	if len(disks) == 0 {
		v.line("  none")
	}
	for i, d := range disks {
		if i > 0 {
			v.line("")
		}
		name := v.bold(d.Called())
		if len(d.ByID) == 0 {
			name = v.bold(d.Name) + v.warn("  no by-id name: a layout cannot name it")
		}
		v.line("  %s%s%s", pad(disk.DecimalSize(d.Size), sizeColumn), pad(kind(d), kindColumn), name)
		v.text("", strings.Join(labelWords(d), ", "), nil)
		v.text("", fmt.Sprintf("%.2f GiB, sectors %d/%d, now %s", float64(d.Size)/(1<<30), d.LogicalSector, d.PhysicalSector, d.Name), nil)
		if content := d.Content(); d.Blank() {
			v.text("holds    ", content, v.good)
		} else {
			v.text("holds    ", content, nil)
		}
		if uses := uses(d); uses != "" {
			v.text("in use   ", uses, v.warn)
		}
		word := "also     "
		for _, alias := range d.ByID {
			if alias != d.Called() {
				v.text(word, shorten(alias, v.width-textColumn-len(word)), v.dim)
				word = strings.Repeat(" ", len(word))
			}
		}
	}
}

// shorten takes the middle out of a name that is too long for a line; --json
// has it whole.
func shorten(name string, columns int) string {
	runes := []rune(name)
	if len(runes) <= columns {
		return name
	}
	tail := columns / 3
	return string(runes[:columns-tail-1]) + "…" + string(runes[len(runes)-tail:])
}

// labelWords are what is printed on the disk's label.
func labelWords(d disk.Disk) []string {
	var words []string
	if model := strings.TrimSpace(d.Vendor + " " + d.Model); model != "" {
		words = append(words, model)
	}
	if d.Serial != "" {
		words = append(words, "serial "+d.Serial)
	} else {
		words = append(words, "no serial number")
	}
	if d.ReadOnly {
		words = append(words, "write-protected")
	}
	return words
}

// uses says what uses a disk: who a person would ask first.
func uses(d disk.Disk) string {
	var words, mounts []string
	if d.Live {
		words = append(words, "the running system runs from it")
	}
	for _, h := range d.AllHolders() {
		switch {
		case h.Kind == "mount" && !slices.Contains(mounts, h.Name):
			mounts = append(mounts, h.Name)
		case h.Kind != "mount" && !slices.Contains(words, h.String()):
			words = append(words, h.String())
		}
	}
	const most = 6 // a host of containers mounts one file system in a hundred places
	if more := len(mounts) - most; more > 0 {
		mounts = append(mounts[:most], fmt.Sprintf("%d more", more))
	}
	if len(mounts) > 0 {
		words = append(words, "mounted at "+strings.Join(mounts, ", "))
	}
	return strings.Join(words, "; ")
}

// sticks lists what can hold a key, with the words for the layout.
func (v *machineView) sticks(disks []disk.Disk) {
	var shown bool
	for _, d := range disks {
		if !install.CanHoldKey(d) {
			continue
		}
		if !shown {
			v.heading("USB STICKS that can hold a key")
			shown = true
		}
		v.line("  %s%s", pad(disk.DecimalSize(d.Size), sizeColumn), v.bold(d.Called()))
		indent := strings.Repeat(" ", 2+sizeColumn)
		volumes := install.VFATs(d)
		for _, fat := range volumes {
			label := ""
			if fat.Label != "" {
				label = fmt.Sprintf(", label %q", fat.Label)
			}
			v.line("%susb_keys: [{uuid: %s}]%s", indent, fat.UUID, v.dim("   keeps what is on it"+label))
		}
		if len(volumes) == 0 && len(d.ByID) > 0 {
			v.line("%sno VFAT on it; name it by disk, and it is formatted", indent)
		}
	}
}

func (v *machineView) nics(n bridge.Facts) {
	v.heading("NETWORK")
	names, drivers := 4, 4
	for _, nic := range n.NICs {
		names, drivers = max(names, len(nic.Name)), max(drivers, len(driverOf(nic)))
	}
	for _, nic := range n.NICs {
		v.line("  %s  %s  %s  %s", v.bold(pad(nic.Name, names)), pad(nic.MAC, 17), pad(driverOf(nic), drivers), link(nic))
		var words []string
		if len(nic.Addresses) > 0 {
			words = append(words, strings.Join(nic.Addresses, ", "))
		}
		if nic.Master != "" {
			words = append(words, "port of "+nic.Master)
		}
		if len(nic.Gateways) > 0 {
			words = append(words, "default route by "+strings.Join(nic.Gateways, ", "))
		}
		if nic.PermanentMAC != "" && nic.PermanentMAC != nic.MAC {
			words = append(words, "the card's own MAC is "+nic.PermanentMAC)
		}
		indent := strings.Repeat(" ", 4+names)
		if len(words) > 0 {
			for _, l := range wrap(strings.Join(words, "; "), v.width-len(indent)) {
				v.line("%s%s", indent, l)
			}
		}
	}
	if len(n.NICs) == 0 {
		v.line("  no network card")
	}
	if len(n.DNS) > 0 {
		v.line("  DNS  %s", strings.Join(n.DNS, ", "))
	}
}

// driverOf is the driver of a card, or what a made interface is.
func driverOf(n bridge.NIC) string {
	switch {
	case n.Kind == "wireless":
		return n.Driver + " (wireless)"
	case n.Driver != "":
		return n.Driver
	}
	return n.Kind
}

// link is the state of the cable: 1 Gb/s, no carrier, down.
func link(n bridge.NIC) string {
	switch {
	case !n.Up:
		return "down"
	case !n.Carrier:
		return "no carrier"
	case n.SpeedMbit >= 1000 && n.SpeedMbit%1000 == 0:
		return fmt.Sprintf("%d Gb/s", n.SpeedMbit/1000)
	case n.SpeedMbit >= 1000:
		return fmt.Sprintf("%.1f Gb/s", float64(n.SpeedMbit)/1000)
	case n.SpeedMbit > 0:
		return fmt.Sprintf("%d Mb/s", n.SpeedMbit)
	}
	return "up"
}

func (v *machineView) unseen(f install.Facts) {
	lines := f.Unseen()
	if !f.Root && len(lines) == 0 {
		lines = []string{"looked without root: something may be missing"}
	}
	if len(lines) == 0 {
		return
	}
	v.heading("NOT SEEN")
	for _, line := range lines {
		for i, l := range wrap(line, v.width-4) {
			mark := "  - "
			if i > 0 {
				mark = "    "
			}
			v.line("%s%s", mark, v.warn(l))
		}
	}
}

func (v *machineView) next() {
	v.line("")
	for _, l := range wrap("Next: hvinstall discover --layout > layout.yaml, and decide what it marks CHOOSE.", v.width) {
		v.line("%s", l)
	}
}
