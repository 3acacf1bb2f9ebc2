package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hvinstall/configs"
	"hvinstall/disk"
	"hvinstall/install"
	"hvinstall/net/bridge"
	"hvinstall/step"
	"hvinstall/vmstore"
)

// labelWidth is the column in which the right-hand text begins.
const labelWidth = 13

// preview writes a plan for the person who decides on it: what is there now,
// what becomes of it, what is lost, and what it all comes to.
type preview struct {
	style
	out  io.Writer
	plan install.Plan
	// looked says that every step was looked at, and todo are the IDs of those
	// that have something to do.
	looked bool
	todo   []string
}

func writePreview(w io.Writer, s style, plan install.Plan) {
	preview{style: s, plan: plan}.write(w, nil)
}

// write writes the preview with what there is to do: first where the host
// stands and the rest is folded, else last.
func (p preview) write(w io.Writer, todo func(io.Writer)) {
	var text strings.Builder
	p.out = &text
	plan := p.plan
	p.title()
	if todo != nil && p.folded() {
		todo(&text)
	}
	if plan.Has(install.PartDisks) || plan.Has(install.PartOS) {
		p.reinstall()
		p.disks()
		p.system()
		p.pools()
		p.unlocking()
	}
	if plan.Has(install.PartNet) {
		p.network()
		p.exports()
		p.openPorts()
	}
	if plan.Has(install.PartVMs) {
		p.vms()
	}
	p.warnings()
	p.waits()
	p.summary()
	if todo != nil && !p.folded() {
		todo(&text)
	}
	fmt.Fprint(w, p.screen(plan.Layout.Redactor().Text(text.String())))
}

// folded reports whether what stays as it is takes one line a section: the host
// stands, and no disk of it is made.
func (p preview) folded() bool {
	return !p.all && !p.plan.Installing() && !slices.ContainsFunc(p.plan.Disk.Disks, func(d disk.DiskPlan) bool {
		return d.Fate != disk.Keep && d.Fate != disk.Away
	})
}

// settled reports whether no step whose ID begins so has anything to do. What
// only the steps know is not folded before they were looked at.
func (p preview) settled(prefixes ...string) bool {
	return p.folded() && p.looked && !slices.ContainsFunc(p.todo, func(id string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(id, prefix) })
	})
}

func (p preview) title() {
	left := "hvinstall: the plan for " + p.plan.Layout.Hostname
	right := p.plan.Layout.Path
	fmt.Fprintf(p.out, "%s%s\n", p.bold(left), p.dim(alignRight(right, p.width-len(left))))
}

func alignRight(text string, columns int) string {
	if len(text)+2 > columns {
		return "  " + text
	}
	return strings.Repeat(" ", columns-len(text)) + text
}

func (p preview) heading(text string) { fmt.Fprintf(p.out, "\n%s\n", p.bold(text)) }

// row writes a label and its text, wrapped under itself.
func (p preview) row(label, text string) { p.painted(label, text, nil) }

// painted is row with a colour for the text.
func (p preview) painted(label, text string, colour func(string) string) {
	if colour == nil {
		colour = func(s string) string { return s }
	}
	if utf8.RuneCountInString(label) >= labelWidth {
		fmt.Fprintf(p.out, "  %s\n", label)
		label = ""
	}
	for i, line := range wrap(text, p.width-2-labelWidth) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(p.out, "  %s%s\n", pad(label, labelWidth), colour(line))
	}
}

// fact writes a text under a row, with a word before it: now, then.
func (p preview) fact(word, text string, colour func(string) string) {
	if colour == nil {
		colour = func(s string) string { return s }
	}
	for i, line := range wrap(text, p.width-2-labelWidth-6) {
		if i > 0 {
			word = ""
		}
		fmt.Fprintf(p.out, "  %s%s%s\n", strings.Repeat(" ", labelWidth), p.dim(pad(word, 6)), colour(line))
	}
}

func (p preview) disks() {
	if len(p.plan.Disk.Disks) == 0 {
		return
	}
	p.heading("DISKS")
	kept := 0
	for _, d := range p.plan.Disk.Disks {
		if p.folded() && d.Fate == disk.Keep && d.Was == "" && d.Media == "" {
			kept++
			continue
		}
		name := strings.TrimPrefix(d.ID, disk.ByIDFolder)
		if d.Fate == disk.Erase {
			fmt.Fprintf(p.out, "%s %s%s\n", p.danger("!"), pad(d.Name, labelWidth), p.danger(name))
		} else {
			p.painted(d.Name, name, p.bold)
		}
		if d.Disk.Name == "" {
			p.fact("now", "no such disk, see below", p.danger)
			if d.Fate == disk.Away {
				p.fact("then", p.fate(d), p.fateColour(d.Fate))
			}
			continue
		}
		words := diskWords(d.Disk)
		switch d.Media {
		case "ssd":
			words += "; taken for an SSD as the layout says, the kernel says that it rotates"
		case "hdd":
			words += "; taken for a hard disk as the layout says, the kernel says that it does not rotate"
		}
		p.row(disk.DecimalSize(d.Disk.Size), words)
		if d.Was != "" {
			p.fact("was", strings.TrimPrefix(d.Was, disk.ByIDFolder), p.warn)
		}
		p.fact("now", d.Holds, nil)
		p.fact("then", p.fate(d), p.fateColour(d.Fate))
	}
	if kept > 0 {
		p.painted("kept", quantity(kept, "disk")+", as they should be; --all shows each", p.dim)
	}
}

// diskWords is a disk's kind, model and serial.
func diskWords(d disk.Disk) string {
	words := []string{kind(d)}
	if d.Model != "" {
		words = append(words, d.Model)
	}
	if d.Serial != "" {
		words = append(words, "serial "+d.Serial)
	}
	return strings.Join(words, ", ")
}

// kind is what a shop would call the disk.
func kind(d disk.Disk) string {
	switch {
	case d.Transport == "usb":
		return "USB"
	case d.Transport == "nvme":
		return "NVMe SSD"
	case d.Transport == "virtio" || isVirtual(d):
		return "virtual disk"
	case d.Transport == "mmc":
		return "eMMC or SD"
	case d.Rotational:
		return "hard disk"
	}
	return "SSD"
}

// isVirtual knows the disks of the common hypervisors by their names; whether
// they rotate, nobody can say.
func isVirtual(d disk.Disk) bool {
	name := strings.ToLower(d.Vendor + " " + d.Model)
	return slices.ContainsFunc([]string{"qemu", "vmware", "vbox", "virtual disk", "virtual_disk", "msft virtual"}, func(word string) bool { return strings.Contains(name, word) })
}

func (p preview) fateColour(f disk.Fate) func(string) string {
	switch f {
	case disk.Erase, disk.Refuse:
		return p.danger
	case disk.Away:
		return p.warn
	case disk.Keep, disk.Adopt:
		return p.dim
	case disk.Create, disk.Resume:
	}
	return p.good
}

// fate says what becomes of a disk.
func (p preview) fate(d disk.DiskPlan) string {
	var parts []string
	for _, part := range d.Table.Partitions {
		size := disk.BinarySize(part.Size)
		switch {
		case part.Format == "luks":
			parts = append(parts, fmt.Sprintf("LUKS2 %s %s", d.Mapping, size))
		case d.Role == disk.RoleKey:
			parts = append(parts, fmt.Sprintf("VFAT %s %s for the key", part.FSUUID, size))
		case part.Format == "vfat":
			parts = append(parts, "ESP "+size)
		}
	}
	made := strings.Join(parts, ", ")
	switch d.Fate {
	case disk.Create:
		return made
	case disk.Erase:
		return "ERASED: everything above is lost; then " + made
	case disk.Keep:
		return "kept as it is: " + made
	case disk.Resume:
		return "begun by an earlier run, and completed: " + made
	case disk.Adopt:
		return fmt.Sprintf("adopted as it is: LUKS %s becomes %s", d.VolumeUUID, d.Mapping)
	case disk.Refuse:
		return "refused, see below"
	case disk.Away:
		return "waits; the rest goes on"
	}
	return string(d.Fate)
}

func (p preview) system() {
	l := p.plan.Layout
	if l.OS == nil {
		return
	}
	p.heading("SYSTEM")
	if former := p.plan.Renamed(); former != "" {
		p.painted("hostname", fmt.Sprintf("was %s, is %s from the next boot on; its disks keep their identities", former, l.Hostname), p.good)
	}
	if p.settled("os/", "nixos/", "disk/") {
		p.painted("settings", "as they should be; --all shows them", p.dim)
		return
	}
	switch {
	case l.OS.Image != nil:
		p.row("Debian image", configs.PublicURL(l.OS.Image.URL))
		if l.OS.Image.SHA256 != "" {
			p.row("", "sha256 "+l.OS.Image.SHA256)
		}
	case l.OS.NixOS != nil && l.OS.NixOS.Flake != "":
		p.row("NixOS", "flake "+l.OS.NixOS.Flake)
	case l.OS.NixOS != nil:
		p.row("NixOS", l.OS.NixOS.File)
	}
	for _, fs := range p.plan.Disk.Filesystems {
		if fs.Role != disk.RoleOS {
			continue
		}
		var mounts []string
		for _, s := range fs.Subvols {
			mounts = append(mounts, s.Name+" at "+s.Mountpoint)
		}
		p.row("subvolumes", strings.Join(mounts, ", "))
		p.swap(fs.Swap)
	}
	if len(l.Users) > 0 {
		var names []string
		for _, u := range l.Users {
			names = append(names, u.Name)
		}
		p.row("users", strings.Join(names, ", "))
	}
	p.becomeRoot()
	if p.plan.OS != nil {
		p.access(p.plan.OS.Taken, p.plan.OS.Kept)
	}
	p.row("locale", fmt.Sprintf("%s, %s, keymap %s", l.Locale.Lang, l.Locale.Timezone, l.Locale.Keymap))
}

func (p preview) swap(s *disk.SwapPlan) {
	switch {
	case s == nil:
	case s.Now != 0 && s.Now != s.Size:
		p.painted("swap", fmt.Sprintf("%s in %s, which has %s and is made anew", disk.BinarySize(s.Size), s.Path, disk.BinarySize(s.Now)), p.good)
	default:
		p.row("swap", fmt.Sprintf("%s in %s", disk.BinarySize(s.Size), s.Path))
	}
}

// access is what of who may do what is taken back, and what is beside the
// layout.
func (p preview) access(taken, kept []string) {
	for i, line := range taken {
		p.painted(first(i, "taken back"), line, p.warn)
	}
	for i, line := range kept {
		p.painted(first(i, "by hand"), line+" (stays)", p.dim)
	}
}

// first is a label for the first of several lines.
func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

func (p preview) pools() {
	first := true
	for _, fs := range p.plan.Disk.Filesystems {
		if fs.Role != disk.RolePool {
			continue
		}
		if first {
			p.heading("POOLS")
			first = false
		}
		space := fmt.Sprintf("%s usable of %s at %s", disk.DecimalSize(fs.Usable), disk.DecimalSize(fs.Raw), fs.Subvols[0].Mountpoint)
		if fs.Fate == disk.Refuse || fs.Fate == disk.Away {
			space = "at " + fs.Subvols[0].Mountpoint
		}
		p.painted(fs.Label, space, p.bold)
		if p.folded() && fs.Fate == disk.Keep {
			continue
		}
		words := fs.Words() + ", data and metadata on two of them each"
		switch fs.Fate {
		case disk.Keep:
			words = "kept: " + words
		case disk.Adopt:
			words = "adopted: " + words
		case disk.Resume:
			words = "completed: " + words
			if len(fs.Joins) > 0 {
				words = "kept, and takes in " + strings.Join(fs.Joins, ", ") + joinWords(fs) + ": " + fs.Words()
				if fs.Before > 0 {
					words += fmt.Sprintf("; usable before %s, after %s, two copies of everything", disk.DecimalSize(fs.Before), disk.DecimalSize(fs.Usable))
				}
			}
		case disk.Refuse:
			words = "refused, see below: " + words
		case disk.Away:
			words = fmt.Sprintf("left as it is: one of its %d disks is not there, and what was on it has one copy now", len(fs.Devices))
		case disk.Create, disk.Erase:
		}
		p.row("", words)
		p.row("", strings.Join(fs.Subvols[0].Options, ", "))
	}
}

func (p preview) unlocking() {
	if len(p.plan.Crypt.Volumes) == 0 {
		return
	}
	l := p.plan.Layout
	p.heading("UNLOCKING")
	created := 0
	for _, v := range p.plan.Crypt.Volumes {
		if v.Create {
			created++
		}
	}
	if created > 0 {
		p.row("passphrase", fmt.Sprintf("one for all volumes, asked before anything is written; argon2id, %d at a time (each needs up to 1 GiB of memory)",
			p.plan.Crypt.SideBySide))
	}
	for i, k := range p.plan.Crypt.Keys {
		where := "existing VFAT " + k.FSUUID + ", nothing else on it is touched"
		if k.Format {
			where = strings.TrimPrefix(k.DiskID, disk.ByIDFolder)
		} else if k.DiskID != "" {
			where = strings.TrimPrefix(k.DiskID, disk.ByIDFolder) + ", kept"
		}
		p.row(fmt.Sprintf("stick %d", i+1), fmt.Sprintf("key file /%s on %s", k.Filename, where))
	}
	wait := time.Duration(l.Encryption.KeyWait)
	switch {
	case len(p.plan.Crypt.Keys) == 0:
		p.row("at boot", "asks for the passphrase at the console every time: no USB key is in the layout")
	case l.Encryption.FallbackToPassword == nil || *l.Encryption.FallbackToPassword:
		p.row("at boot", fmt.Sprintf("unlocks by the stick; without one, asks for the passphrase after %s", wait))
	default:
		p.row("at boot", "unlocks by the stick, and waits until one is plugged in: fallback_to_password is off")
	}
}

func (p preview) network() {
	n := p.plan.Network
	if n == nil {
		return
	}
	p.heading("NETWORK")
	if n.NIC == "" {
		p.painted(n.Bridge, "refused, see below", p.danger)
		return
	}
	p.row(n.Bridge, fmt.Sprintf("over %s (%s), %s", n.NIC, n.NICMAC, n.Why))
	p.row("", p.address())
}

// address is how the host gets its own address on the bridge.
func (p preview) address() string {
	n := p.plan.Network
	var words []string
	if n.DHCP {
		words = append(words, "address by DHCP")
	}
	if len(n.Addresses) > 0 {
		words = append(words, strings.Join(n.Addresses, ", "))
	}
	if len(n.Gateways) > 0 {
		words = append(words, "gateway "+strings.Join(n.Gateways, ", "))
	}
	if len(n.DNS) > 0 {
		words = append(words, "DNS "+strings.Join(n.DNS, ", "))
	}
	if n.MTU > 0 {
		words = append(words, fmt.Sprintf("MTU %d", n.MTU))
	}
	when := "moved to the bridge now, and put back if no peer answers"
	onBridge := func(nic bridge.NIC) bool { return nic.Name == n.NIC && nic.Master == n.Bridge }
	switch {
	case p.plan.Installing():
		when = "from the first boot on"
	case slices.ContainsFunc(p.plan.Facts.Network.NICs, onBridge):
		when = "the NIC is on the bridge already"
	}
	return strings.Join(append(words, when), "; ")
}

func (p preview) exports() {
	if p.plan.NFS == nil || len(p.plan.NFS.Exports) == 0 {
		return
	}
	p.heading("NFS EXPORTS")
	if p.settled("nfs/") {
		p.painted("exported", quantity(len(p.plan.NFS.Exports), "export")+", as they should be; --all shows each", p.dim)
		return
	}
	for _, e := range p.plan.NFS.Exports {
		fmt.Fprintf(p.out, "  %s\n", p.bold(e.Path))
		clients := e.ClientsInWords()
		var colour func(string) string
		if !slices.Equal(clients, e.Clients) {
			colour = p.danger
		}
		p.painted("", fmt.Sprintf("to %s (%s)", strings.Join(clients, ", "), strings.Join(append(slices.Clone(e.Options), e.Squash), ", ")), colour)
		if e.Squash == "no_root_squash" {
			p.painted("", "no_root_squash: whoever is root on a client is root in it", p.warn)
		}
		for _, line := range p.plan.NFS.Doors(e) {
			p.painted("", line, p.warn)
		}
	}
}

// rootGroups are groups whose members may become root without asking anybody.
var rootGroups = []string{"libvirt", "libvirtd", "docker", "disk", "lxd", "incus-admin"}

// becomeRoot names who is root by another name.
func (p preview) becomeRoot() {
	who := map[string][]string{"libvirt": slices.Clone(p.plan.Layout.Libvirtd.Users)}
	for _, u := range p.plan.Layout.Users {
		for _, group := range u.Groups {
			if slices.Contains(rootGroups, group) {
				group = strings.Replace(group, "libvirtd", "libvirt", 1)
				who[group] = append(who[group], u.Name)
			}
		}
	}
	for _, group := range rootGroups {
		if names := who[group]; len(names) > 0 {
			slices.Sort(names)
			p.painted(group, strings.Join(slices.Compact(names), ", ")+" may become root by it", p.warn)
		}
	}
}

// openPorts is what of the host itself is reached from outside.
func (p preview) openPorts() {
	f := p.plan.Filter
	if f == nil {
		return
	}
	p.heading("OPEN PORTS")
	p.row("ssh", "tcp/22, by key alone")
	if len(f.NFS) > 0 {
		p.row("NFS", "tcp/2049 from "+strings.Join(f.NFS, ", ")+everyone(f.NFS))
	}
	if len(f.Open) > 0 {
		p.row("open_ports", strings.Join(f.Open, ", "))
	}
	p.row("all else", "dropped, by IPv4 and IPv6, but ICMP; VMs on the bridge are not filtered")
}

// everyone says what a network of all addresses is.
func everyone(networks []string) string {
	if slices.Contains(networks, "0.0.0.0/0") || slices.Contains(networks, "::/0") {
		return ": EVERYONE who reaches this host"
	}
	return ""
}

// joinWords says what the new disks are for.
func joinWords(fs disk.FilesystemPlan) string {
	switch {
	case fs.Before == 0: // not mounted: known once its volumes are open
		return ", in the place of a missing disk if there is one"
	case fs.Missing == 0:
		return " beside the disks it has"
	}
	return ", in the place of " + quantity(fs.Missing, "missing disk") + ", of which there is one copy now"
}

func (p preview) vms() {
	if p.plan.VMs == nil {
		return
	}
	p.heading("VMS")
	var kept, gone []string
	for _, vm := range p.plan.VMs.VMs {
		switch {
		case !p.folded() || p.refused(vm.Name):
			p.vm(vm)
		case vm.Action == vmstore.Gone:
			gone = append(gone, vm.Name)
		case vm.Action == vmstore.Keep && len(vm.Differences) == 0 && vm.RestartLine() == "":
			kept = append(kept, vm.Name)
		default:
			p.vm(vm)
		}
	}
	if len(kept) > 0 {
		p.painted("kept", strings.Join(kept, ", ")+": as they should be", p.dim)
	}
	if len(gone) > 0 {
		p.painted("absent", strings.Join(gone, ", ")+": as they should be", p.dim)
	}
	for _, u := range p.plan.VMs.Undeclared {
		p.painted(u.Name, "not in the layout, left alone ("+u.State+")", p.dim)
	}
}

// refused says whether there is a reason against what is wanted of it.
func (p preview) refused(name string) bool {
	return slices.ContainsFunc(p.plan.Refusals, func(r step.Refusal) bool { return r.Where == name })
}

// vm is one VM: what it is, and what becomes of it.
func (p preview) vm(vm vmstore.VM) {
	declared := p.declared(vm.Name)
	switch vm.Action {
	case vmstore.Gone:
		p.painted(vm.Name, "absent, and nothing is left of it", p.dim)
		return
	case vmstore.Remove:
		fmt.Fprintf(p.out, "%s %s %s\n", p.danger("!"), pad(vm.Name, labelWidth-1), p.danger(absentWords(vm)))
		if vm.Lost != nil {
			for _, line := range vm.Lost.Lines(vm.Name) {
				p.fact("", line, p.danger)
			}
		}
		return
	case vmstore.Create, vmstore.Keep, vmstore.Change, vmstore.Adopt:
	}
	p.row(vm.Name, vmWords(declared, vm.Spec))
	switch {
	case vm.DiskName != "" && vm.From != "":
		p.fact("disk", vm.DiskName+", as it is", p.dim)
	case declared.DiskImage != nil:
		p.fact("disk", configs.PublicURL(declared.DiskImage.URL), p.dim)
		p.unsummed(vm, declared.DiskImage.URL, declared.DiskImage.Checksum)
	case declared.ISOImage != nil:
		p.fact("ISO", configs.PublicURL(declared.ISOImage.URL), p.dim)
		p.unsummed(vm, declared.ISOImage.URL, declared.ISOImage.Checksum)
	}
	word := "then"
	if vm.Action == vmstore.Adopt {
		p.fact(word, "adopted: it keeps its UUID and its disk", nil)
		word = ""
	}
	for _, d := range vm.Differences {
		p.fact(word, d.Line(), map[bool]func(string) string{true: p.warn}[d.Hardware])
		word = ""
	}
	if len(vm.Differences) > 0 {
		p.fact("", "nothing else in its definition changes", p.dim)
	}
	if line := vm.RestartLine(); line != "" {
		p.fact("", line, p.warn)
	}
}

// unsummed says of an image what the digest cannot cover.
func (p preview) unsummed(vm vmstore.VM, from, checksum string) {
	if vm.Action != vmstore.Create || strings.HasPrefix(from, "file://") {
		return
	}
	plain := strings.HasPrefix(from, "http://")
	switch {
	case checksum == "" && plain:
		p.fact("", "without a checksum, by plain http: anybody on the way can give another", p.warn)
	case checksum == "":
		p.fact("", "without a checksum: the server's word is taken for it", p.warn)
	case strings.Contains(checksum, ":http://"):
		p.fact("", "its checksum comes by plain http: anybody on the way can give another", p.warn)
	}
}

func absentWords(vm vmstore.VM) string {
	if vm.PurgeAfter > 0 {
		return "ABSENT: removed, and its disks kept aside for " + vm.Lost.Aside
	}
	return "ABSENT: removed for good"
}

func (p preview) declared(name string) configs.VM {
	for _, vm := range p.plan.Layout.VMs {
		if vm.Name == name {
			return vm
		}
	}
	return configs.VM{Name: name}
}

func vmWords(vm configs.VM, spec vmstore.Spec) string {
	words := []string{fmt.Sprintf("%d vCPU", spec.VCPU), fmt.Sprintf("%d MiB", spec.RAMMB)}
	if vm.DiskGB > 0 {
		words = append(words, fmt.Sprintf("%d GiB disk", vm.DiskGB))
	}
	if vm.MACAddress != "" {
		words = append(words, vm.MACAddress)
	}
	if spec.Bridge != "" {
		words = append(words, "on "+spec.Bridge)
	}
	if n := len(vm.USBDevices); n > 0 {
		words = append(words, quantity(n, "USB device"))
	}
	return strings.Join(words, ", ")
}

// reinstall stands before all disks: the pools are a host's that was there before.
func (p preview) reinstall() {
	former := p.plan.Disk.Former
	if former == nil || len(p.plan.Refusals) > 0 {
		return
	}
	p.heading("INSTALLS A HOST ANEW")
	p.painted("pools of", former.Host+": "+strings.Join(former.Pools, ", "), p.warn)
	p.row("", "They are taken over as they are, with their passphrase; nothing on them is erased. Only the system is made anew.")
	p.row("", "If they are another machine's, which needs them: stop here, and give them back.")
}

func (p preview) warnings() {
	if len(p.plan.Warnings) == 0 {
		return
	}
	p.heading("WARNINGS")
	for _, w := range p.plan.Warnings {
		p.painted("", w, p.warn)
	}
}

func (p preview) waits() {
	if len(p.plan.Waits) == 0 {
		return
	}
	p.heading("WAITS")
	for i, r := range p.plan.Waits {
		writeReason(p.out, p.style, i+1, r.Where, r.What, r.Hint)
	}
}

// summary ends the preview: the refusals, or counts, what is lost, and the
// digest that consents to it.
func (p preview) summary() {
	if n := len(p.plan.Refusals); n > 0 {
		fmt.Fprintf(p.out, "\n%s\n", p.danger(fmt.Sprintf("REFUSED: %s. Nothing was written.", quantity(n, "reason"))))
		for i, r := range p.plan.Refusals {
			writeReason(p.out, p.style, i+1, r.Where, r.What, r.Hint)
		}
		return
	}
	fmt.Fprintf(p.out, "\n%s\n", p.bold(p.counts()))
	var erased []string
	for _, d := range p.plan.Disk.Disks {
		if d.Fate == disk.Erase {
			erased = append(erased, strings.TrimPrefix(d.ID, disk.ByIDFolder))
		}
	}
	if len(erased) > 0 {
		for i, line := range wrap("Erases "+quantity(len(erased), "disk")+" holding data: "+strings.Join(erased, ", "), p.width) {
			if i > 0 {
				line = "  " + line
			}
			fmt.Fprintln(p.out, p.danger(line))
		}
	} else if p.plan.Has(install.PartDisks) {
		fmt.Fprintln(p.out, "Erases no disk that holds data.")
	}
	var aside, removed []string
	if p.plan.VMs != nil {
		for _, vm := range p.plan.VMs.Removals() {
			if vm.PurgeAfter > 0 {
				aside = append(aside, vm.Name)
			} else {
				removed = append(removed, vm.Name)
			}
		}
	}
	if len(aside) > 0 {
		fmt.Fprintln(p.out, p.danger(fmt.Sprintf("Removes %s, whose disks are kept aside for a time: %s", quantity(len(aside), "VM"), strings.Join(aside, ", "))))
	}
	if len(removed) > 0 {
		fmt.Fprintln(p.out, p.danger(fmt.Sprintf("Deletes %s for good, with all disks: %s", quantity(len(removed), "VM"), strings.Join(removed, ", "))))
	}
	fmt.Fprintf(p.out, "Digest %s\n", p.plan.Digest)
}

// writeReason writes one numbered reason and, under it, the way out.
func writeReason(w io.Writer, s style, n int, where, what, hint string) {
	label := fmt.Sprintf("%d.", n)
	for i, line := range wrap(where+": "+what, s.width-5) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "  %s%s\n", pad(label, 3), line)
	}
	if hint == "" {
		return
	}
	arrow := s.good("→")
	for _, line := range wrap(hint, s.width-7) {
		fmt.Fprintf(w, "     %s %s\n", arrow, line)
		arrow = " "
	}
}

// counts is "7 disks: 6 created, 1 kept; 2 pools; 3 exports; 3 VMs".
func (p preview) counts() string {
	var parts []string
	fates := map[disk.Fate]int{}
	for _, d := range p.plan.Disk.Disks {
		fates[d.Fate]++
	}
	if n := len(p.plan.Disk.Disks); n > 0 {
		var words []string
		for _, f := range []struct {
			fate disk.Fate
			word string
		}{{disk.Create, "created"}, {disk.Erase, "ERASED"}, {disk.Resume, "completed"}, {disk.Keep, "kept"}, {disk.Adopt, "adopted"}, {disk.Away, "not there"}} {
			if fates[f.fate] > 0 {
				words = append(words, fmt.Sprintf("%d %s", fates[f.fate], f.word))
			}
		}
		parts = append(parts, quantity(n, "disk")+": "+strings.Join(words, ", "))
	}
	l := p.plan.Layout
	if n := len(l.Pools); n > 0 && p.plan.Has(install.PartDisks) {
		parts = append(parts, quantity(n, "pool"))
	}
	if l.NFSExports != nil && len(l.NFSExports.Exports) > 0 && p.plan.Has(install.PartNet) {
		parts = append(parts, quantity(len(l.NFSExports.Exports), "export"))
	}
	if n := len(l.VMs); n > 0 && p.plan.Has(install.PartVMs) {
		absent := 0
		for _, vm := range l.VMs {
			if vm.State == "absent" {
				absent++
			}
		}
		words := quantity(n, "VM")
		if absent > 0 {
			words += fmt.Sprintf(" (%d absent)", absent)
		}
		parts = append(parts, words)
	}
	if len(parts) == 0 {
		return "nothing is asked for"
	}
	return strings.Join(parts, "; ")
}
