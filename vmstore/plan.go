package vmstore

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hvinstall/configs"
	"hvinstall/step"
)

// Action is what becomes of a VM.
type Action string

// What a plan does with a VM.
const (
	Create Action = "create" // libvirt does not know it yet
	Keep   Action = "keep"   // right as it is
	Change Action = "change" // redefined in place
	Adopt  Action = "adopt"  // made by hand or by another tool; taken over
	Remove Action = "remove"
	Gone   Action = "gone" // absent, and nothing is left of it
)

// Plan is what becomes of every VM of the layout.
type Plan struct {
	Root   string  `json:"root"` // libvirt_vmstore_root
	URI    string  `json:"uri"`
	Local  bool    `json:"local"` // the libvirt's files are this machine's
	Stage  bool    `json:"stage,omitempty"`
	VMs    []VM    `json:"vms"`
	Images []Image `json:"images,omitempty"`
	// Ordered is true where VMs start one after the other by
	// hvinstall-vms.service, instead of all at once by libvirt.
	Ordered bool `json:"ordered,omitempty"`
	// Undeclared are VMs that libvirt has and the layout does not name. They
	// are never touched.
	Undeclared []Undeclared `json:"undeclared,omitempty"`
	// Expired is what was kept of former VMs, and goes now.
	Expired []Previous `json:"expired,omitempty"`
	// Notes are what a person should know and need not act on.
	Notes []Note `json:"notes,omitempty"`
}

// Origin is where the definition of a VM that exists was found.
type Origin string

// Where a definition was found.
const (
	InLibvirt Origin = "libvirt"
	InFile    Origin = "domain.xml" // beside the disk; libvirt does not know the VM
)

// VM is one VM of the plan.
type VM struct {
	Name   string `json:"name"`
	Action Action `json:"action"`
	Spec   Spec   `json:"spec"`
	// XML is the definition: a new one, or the one there is with the differences
	// made good in it.
	XML string `json:"xml,omitempty"`
	// Template is the user's template that it was made from, if one was.
	Template    string `json:"template,omitempty"`
	TemplateSum string `json:"template_sum,omitempty"` // SHA-256 of the template
	// From says where the definition was that is changed: in libvirt, or only in
	// the domain.xml beside the disk. Empty: there was none.
	From Origin `json:"from,omitempty"`
	wish wish
	// DiskName is what a person knows the disk by that the VM has; empty: it is
	// made.
	DiskName string `json:"disk_name,omitempty"`
	// grows is true where the layout gives the disk a size.
	grows bool
	// transient is true for a VM that runs without a definition.
	transient bool

	Autostart bool          `json:"autostart"` // as libvirt is told
	Running   bool          `json:"running"`
	Order     int           `json:"order,omitempty"`
	Delay     time.Duration `json:"delay,omitempty"`
	NoCOW     bool          `json:"nocow,omitempty"`
	Seed      *Seed         `json:"seed,omitempty"`
	Adopted   bool          `json:"adopted,omitempty"`

	// Differences are what a redefinition changes. It changes nothing else.
	Differences []Difference `json:"differences,omitempty"`
	// Restart are the differences of the running VM that only a restart mends.
	Restart []Difference `json:"restart,omitempty"`
	// Suspended is true where libvirt holds its saved state.
	Suspended bool `json:"suspended,omitempty"`
	// ByHand are devices that somebody added; they are kept.
	ByHand []string `json:"by_hand,omitempty"`
	// Lost is what the removal destroys.
	Lost *Lost `json:"lost,omitempty"`
	// PurgeAfter is how long an absent VM's directory is kept aside; 0: it is
	// deleted at once.
	PurgeAfter time.Duration `json:"purge_after,omitempty"`
	// GrowFrom is the disk's size in bytes where it is smaller than wanted.
	GrowFrom int64 `json:"grow_from,omitempty"`
}

// Lost is what a removal destroys.
type Lost struct {
	Running   bool     `json:"running,omitempty"`
	Defined   bool     `json:"defined,omitempty"`
	Directory string   `json:"directory,omitempty"` // deleted with all in it; empty: there is none
	Files     int      `json:"files,omitempty"`
	Allocated int64    `json:"allocated,omitempty"` // bytes on the disk
	Kept      []string `json:"kept,omitempty"`      // disks outside the root, which stay
	Aside     string   `json:"aside,omitempty"`     // how long the directory is kept aside: 7d; empty: not at all
}

// Lines says in plain words what is lost.
func (l Lost) Lines(name string) []string {
	var lines []string
	if l.Running {
		lines = append(lines, "shut down: "+name+" is running")
	}
	if l.Defined {
		lines = append(lines, "undefined in libvirt, with firmware variables, saved state, snapshots and TPM")
	}
	switch {
	case l.Directory != "" && l.Aside != "":
		lines = append(lines, fmt.Sprintf("moved aside and deleted after %s: %s, %s in %d files; until then: hvinstall %s %s",
			l.Aside, l.Directory, gib(l.Allocated), l.Files, UndeleteCommand, name))
	case l.Directory != "":
		lines = append(lines, fmt.Sprintf("DELETED FOR EVER: %s, %s in %d files", l.Directory, gib(l.Allocated), l.Files))
	}
	for _, k := range l.Kept {
		lines = append(lines, "not deleted, it lies elsewhere: "+k)
	}
	return lines
}

// Undeclared is a VM that the layout does not name.
type Undeclared struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Disk  string `json:"disk,omitempty"`
}

// Note is something worth knowing. It stops nothing.
type Note struct {
	Code  string `json:"code"`
	Where string `json:"where"`
	What  string `json:"what"`
}

func (n Note) String() string {
	if n.Where == "" {
		return n.What
	}
	return n.Where + ": " + n.What
}

// Options are what a plan depends on besides the layout and the facts.
type Options struct {
	// Stage plans for an installation from the live system: files only, the
	// definitions are left to the first boot.
	Stage bool
}

// MakePlan decides what becomes of each VM. Refusals are everything that is
// wrong, in one list.
func MakePlan(want configs.VMPlan, hostname string, facts Facts, options Options) (Plan, []step.Refusal) {
	want = defaults(want)
	p := Plan{Root: want.VMStoreRoot, URI: want.URI, Local: facts.Libvirt.Local || options.Stage, Stage: options.Stage}
	if options.Stage {
		facts.Domains = nil
	}
	var refusals []step.Refusal
	p.Ordered = facts.Host.BootUnit && slices.ContainsFunc(want.VMs, func(vm configs.VM) bool {
		return vm.State == "present" && (vm.BootOrder != 0 || vm.BootDelay != 0)
	})
	for _, vm := range want.VMs {
		planned, wrong := p.planVM(want, vm, hostname, facts)
		refusals = append(refusals, wrong...)
		p.VMs = append(p.VMs, planned)
	}
	p.planImages(want, facts)
	p.findUndeclared(want, facts)
	p.planPrevious(facts)
	refusals = append(refusals, p.preflight(want, facts)...)
	slices.SortStableFunc(p.Notes, func(a, b Note) int { return cmp.Compare(a.Where, b.Where) })
	return p, refusals
}

func (p *Plan) planVM(want configs.VMPlan, vm configs.VM, hostname string, facts Facts) (VM, []step.Refusal) {
	planned := VM{
		Name:  vm.Name,
		Order: vm.BootOrder, Delay: delayOf(vm), NoCOW: vm.NoCOW, grows: vm.DiskGB > 0,
	}
	if problem := badName(vm.Name); problem != "" {
		planned.Spec = specFor(want, vm, hostname, nil)
		return planned, []step.Refusal{{Code: "vm-name", Where: vm.Name, What: problem, Hint: "rename the VM"}}
	}
	if vm.State == "absent" {
		have := facts.domain(vm.Name)
		planned.Spec = specFor(want, vm, hostname, have)
		return p.planAbsent(want, planned, vm, have, facts)
	}
	have, from, refusals := facts.existing(want, vm.Name)
	planned.Spec, planned.From = specFor(want, vm, hostname, have), from
	if len(refusals) > 0 {
		return planned, refusals
	}
	planned.Autostart, planned.Running = p.starts(vm, have, from)
	if vm.CloudInit != nil {
		planned.Seed = &Seed{Name: vm.Name, Cloud: *vm.CloudInit}
		for _, path := range []string{vm.CloudInit.UserData, vm.CloudInit.MetaData, vm.CloudInit.NetworkConfig} {
			if sum, known := facts.Seeds[path]; known {
				if planned.Seed.Files == nil {
					planned.Seed.Files = map[string]string{}
				}
				planned.Seed.Files[path] = sum
			}
		}
	}
	refusals = checkPaths(want, vm)
	name, text := "", ""
	switch {
	case vm.DiskImage != nil && want.DiskTemplate != "":
		name, text = want.DiskTemplate, facts.Texts[want.DiskTemplate]
	case vm.ISOImage != nil && want.ISOTemplate != "":
		name, text = want.ISOTemplate, facts.Texts[want.ISOTemplate]
	}
	if name != "" && text == "" {
		return planned, append(refusals, step.Refusal{Code: "template", Where: vm.Name, What: "the template " + name + " is not there or is empty", Hint: "write it, or remove the key"})
	}
	if name != "" {
		planned.TemplateSum = sumOf(text)
	}
	definition, err := definition(planned.Spec, name, text)
	if err != nil {
		return planned, append(refusals, step.Refusal{Code: "template", Where: vm.Name, What: err.Error()})
	}
	planned.Template = name
	wrong, err := p.judge(&planned, vm, have, definition, facts, want.DomainType != "")
	if err != nil {
		return planned, append(refusals, step.Refusal{Code: "vm-xml", Where: vm.Name, What: err.Error()})
	}
	refusals = append(refusals, wrong...)
	refusals = append(refusals, p.judgeDisk(&planned, vm, have, facts)...)
	refusals = append(refusals, p.judgeChain(planned, have, facts)...)
	return planned, refusals
}

// starts says whether libvirt starts the VM with the host, and whether a run
// starts it. Of a VM that was taken over and whose start the layout does not
// speak of, both stay as its owner has them. What libvirt had is lost with it:
// a VM that is found beside its disk only starts as one of ours.
func (p *Plan) starts(vm configs.VM, have *Domain, from Origin) (autostart, running bool) {
	autostart, running = isTrue(vm.Autostart, true), isTrue(vm.Running, true)
	if have != nil && from == InLibvirt && !have.made() {
		if !namesStart(vm) {
			return have.Autostart, isTrue(vm.Running, false)
		}
		running = isTrue(vm.Running, p.Ordered && autostart)
	}
	return autostart && !p.Ordered, running
}

// namesStart is true where the layout says that or when a VM starts with the
// host.
func namesStart(vm configs.VM) bool {
	return vm.Autostart != nil || vm.BootOrder != 0 || vm.BootDelay != 0
}

// existing is the VM as it is: in libvirt, or, where libvirt does not know it
// (the host was installed anew), in the domain.xml beside its disk.
func (f Facts) existing(want configs.VMPlan, name string) (*Domain, Origin, []step.Refusal) {
	if d := f.domain(name); d != nil {
		return d, InLibvirt, nil
	}
	saved, there := f.Saved[name]
	if !there {
		return nil, "", nil
	}
	path := filepath.Join(want.VMStoreRoot, name, domainXMLName)
	refuse := func(hint, format string, args ...any) (*Domain, Origin, []step.Refusal) {
		return nil, "", []step.Refusal{{Code: "domain-xml", Where: name, What: fmt.Sprintf(format, args...), Hint: hint}}
	}
	if saved.Problem != "" {
		return refuse("put it right, or move it aside: the VM is then made anew around its disk", "libvirt does not know it, and %s, which says what it was, cannot be used: %s", path, saved.Problem)
	}
	d := &Domain{Name: name, State: "not defined", Persistent: true, Inactive: saved.XML}
	if err := d.read(); err != nil {
		return refuse("put it right, or move it aside: the VM is then made anew around its disk", "libvirt does not know it, and %s, which says what it was, cannot be read: %v", path, err)
	}
	if d.Name != name {
		return refuse("move it aside if the directory is a copy of that VM's", "%s is the definition of another VM, %s", path, d.Name)
	}
	for _, other := range f.Domains {
		if strings.EqualFold(other.UUID, d.UUID) {
			return refuse("move it aside if the directory is a copy of that VM's", "%s has the UUID of another VM, %s", path, other.Name)
		}
	}
	return d, InFile, nil
}

// judge compares the VM that there is with what the layout wants, and decides
// the action.
func (p *Plan) judge(v *VM, vm configs.VM, have *Domain, definition string, facts Facts, typed bool) ([]step.Refusal, error) {
	wanted, err := readTree(definition)
	if err != nil {
		return nil, err
	}
	v.Adopted = have != nil && (!have.Ours || have.Adopted)
	v.wish = wish{Spec: v.Spec, mac: vm.MACAddress != "", made: !v.Adopted, adopted: v.Adopted, usb: facts.Host.USBPlaces}
	if v.Template != "" {
		v.wish.stated = wanted.Copy()
	}
	if have == nil {
		v.Action = Create
		w := v.wish
		w.fresh = true
		m := merge(wanted, w, false)
		if v.XML, err = wanted.WriteToString(); err != nil {
			return nil, err
		}
		return m.refusals, m.err
	}
	doc := have.tree
	if doc == nil { // facts from elsewhere
		if doc, err = readTree(have.Inactive); err != nil {
			return nil, err
		}
	} else {
		doc = doc.Copy()
	}
	m := merge(doc, v.wish, false)
	switch {
	case m.err != nil:
		return nil, m.err
	case len(m.found) == 0:
		v.XML = have.Inactive
	default:
		if v.XML, err = doc.WriteToString(); err != nil {
			return nil, err
		}
	}
	v.Differences, v.ByHand, v.transient = m.found, m.byHand(), !have.Persistent
	p.Notes = append(p.Notes, m.notes...)
	p.noteFirmware(v, vm, have)
	if v.Spec.DomainType == "qemu" && !typed && facts.Host.KVM.Usable {
		p.note("type-kept", v.Name, "it runs without KVM, slowly, and stays so: libvirt_domain_type: kvm changes that")
	}
	p.noteStart(v, vm, have)
	if have.Live != "" {
		live, err := readTree(have.Live)
		if err != nil {
			return nil, err
		}
		v.Restart = merge(live, v.wish, true).found
	}
	if have.Suspended != "" {
		saved, err := readTree(have.Suspended)
		if err != nil {
			return nil, err
		}
		v.Restart, v.Suspended = merge(saved, v.wish, true).found, true
		p.note("suspended", v.Name, "libvirt holds its saved state (managed save): started, it goes on where it was, with the definition of then")
	}
	if troubles, advice := have.troubles(facts); have.Reason != "" {
		p.note("trouble", v.Name, "%s; %s", strings.Join(troubles, "; "), advice)
	}
	switch {
	case !have.Ours || !have.Persistent:
		v.Action = Adopt
	case v.From == InFile:
		v.Action = Create
	case len(v.Differences) > 0:
		v.Action = Change
	default:
		v.Action = Keep
	}
	if v.From == InFile {
		p.note("from-file", v.Name, "libvirt does not know it; it is defined from %s", filepath.Join(v.Spec.Dir, domainXMLName))
	}
	return m.refusals, nil
}

// noteStart says of a VM that was taken over that nobody starts it, where that
// is not what the layout says.
func (p *Plan) noteStart(v *VM, vm configs.VM, have *Domain) {
	if v.From != InLibvirt || have.made() {
		return
	}
	asleep, off := !namesStart(vm) && !have.Autostart, vm.Running == nil && !have.Active && !v.Running
	switch {
	case asleep && off:
		p.note("start-kept", v.Name, "it is off, does not start with the host, and stays so: running and autostart are for the layout to say")
	case asleep:
		p.note("start-kept", v.Name, "it does not start with the host, and stays so: autostart: true changes that")
	case off:
		p.note("start-kept", v.Name, "it is off, and stays so: running: true starts it")
	}
}

// noteFirmware says what of firmware has no effect on a VM that exists. Of one
// that was taken over, only what the layout cannot mean by its defaults.
func (p *Plan) noteFirmware(v *VM, vm configs.VM, have *Domain) {
	kept := func(what string) {
		p.note("firmware-kept", v.Name, "%s, and stays so: its guest was installed with it", what)
	}
	uefi, made := isTrue(vm.Firmware.UEFI, true), v.wish.made
	switch {
	case v.Spec.UEFI && !uefi:
		kept("its firmware is UEFI")
	case made && !have.UEFI && uefi:
		kept("its firmware is BIOS")
	case vm.Firmware.SecureBoot && !v.Spec.SecureBoot:
		kept("its Secure Boot is off")
	case made && v.Spec.UEFI && have.SecureBoot && !vm.Firmware.SecureBoot:
		kept("its Secure Boot is on")
	}
	if have.TPM && !vm.Firmware.TPM && v.wish.made {
		p.note("tpm-kept", v.Name, "it has a TPM, which the layout does not name; it stays, for its guest's keys may be in it")
	}
}

// judgeDisk decides about the VM's disk: what is there is never replaced, and
// what is gone is never quietly made anew under a VM that had it.
func (p *Plan) judgeDisk(v *VM, vm configs.VM, have *Domain, facts Facts) []step.Refusal {
	if !p.Local {
		if have == nil {
			p.note("remote-image", v.Name, "images are not brought to another machine; put %s there yourself", v.Spec.Disk)
		}
		return nil
	}
	if have != nil {
		disk, found, ambiguous := have.systemDisk(layoutDisk(vm, v.Spec))
		if found {
			v.DiskName = disk.name()
		}
		switch {
		case len(ambiguous) > 0:
			return []step.Refusal{{
				Code: "disk-ambiguous", Where: v.Name, What: "which of its disks it starts from cannot be told: " + strings.Join(ambiguous, ", "),
				Hint: "give that one <boot order='1'/> (virsh edit " + v.Name + "), or name it in the layout as dest",
			}}
		case !found:
			v.Spec.DiskKind = "none"
			p.note("disk-none", v.Name, "it has no disk, and gets none")
			return nil
		case v.Spec.DiskKind != "file":
			p.note("disk-kept", v.Name, "its disk is a %s disk (%s), and stays so: its image, disk_gb and backing chain are not looked at", v.Spec.DiskKind, v.DiskName)
			return nil
		}
		if v.Spec.Disk != layoutDisk(vm, v.Spec) {
			p.note("disk-kept", v.Name, "its disk is %s, and stays so", v.Spec.Disk)
		}
	}
	file, there := facts.Files[v.Spec.Disk]
	if there && have != nil && v.Spec.DiskFormat == formatRaw && file.Size > 0 {
		file.Format, file.Virtual, file.Problem = formatRaw, file.Size, ""
	}
	if !there {
		if have != nil && have.Active {
			_, advice := have.troubles(facts)
			return []step.Refusal{{Code: "disk-gone", Where: v.Name, What: "it runs, and the file of its disk is gone: " + v.Spec.Disk, Hint: advice}}
		}
		if have != nil {
			return []step.Refusal{{
				Code: "disk-gone", Where: v.Name,
				What: "its definition, in " + v.where() + ", names the disk " + v.Spec.Disk + ", which is not there",
				Hint: "mount the pool it was on, or put the file back from a backup; where the pool's mountpoint was changed in the layout, " +
					"put the old one back: the definition in libvirt names it",
			}}
		}
		return nil
	}
	if file.Problem != "" {
		return []step.Refusal{{Code: "disk-image", Where: v.Name, What: v.Spec.Disk + " is no whole disk image: " + file.Problem,
			Hint: "look at it with 'qemu-img info' and 'qemu-img check', and put it back from a backup; moved aside, it is not lost, and the VM gets a new disk"}}
	}
	if file.Format != v.Spec.DiskFormat {
		return []step.Refusal{{
			Code: "disk-format", Where: v.Name, What: fmt.Sprintf("%s is %s, and the VM expects %s", v.Spec.Disk, file.Format, v.Spec.DiskFormat),
			Hint: fmt.Sprintf("nothing is converted here: a guest can write bytes into a raw disk that look like another format's. "+
				"Put a disk of the format %[1]s there, or one from a backup; if you made the file yourself and know that it is %[2]s, "+
				"convert it with both formats named: qemu-img convert -f %[2]s -O %[1]s", v.Spec.DiskFormat, file.Format),
		}}
	}
	if have == nil && file.Needs != "" {
		// Nobody's definition says that this file is a qcow2. Were it a raw disk
		// of a former VM, its guest could have written the name of any file of
		// this host there.
		return []step.Refusal{{
			Code: "disk-needs", Where: v.Name,
			What: fmt.Sprintf("%s is there, no definition has it, and it needs %s: a guest may have written that name", v.Spec.Disk, file.Needs),
			Hint: "put the VM's own definition (its domain.xml of a backup) beside it, where it is a clone or an overlay that you made; " +
				"else move the file aside: it is not lost, and the VM gets a new disk",
		}}
	}
	wanted := int64(v.Spec.DiskGB) << 30
	switch {
	case vm.DiskGB == 0:
	case file.Virtual < wanted && have != nil && have.bootsFrom() != "" && have.bootsFrom() != v.Spec.DiskTarget:
		return []step.Refusal{{
			Code: "disk-ambiguous", Where: v.Name,
			What: fmt.Sprintf("disk_gb is %d, its system disk was %s (%s), and it now boots from %s first", vm.DiskGB, v.Spec.DiskTarget, v.Spec.Disk, have.bootsFrom()),
			Hint: "put the boot order right (virsh edit " + v.Name + "), or take disk_gb out of the layout",
		}}
	case file.Virtual < wanted:
		v.GrowFrom = file.Virtual
	case file.Virtual > wanted:
		p.note("disk-larger", v.Name, "its disk has %s and disk_gb says %d; a disk is never shrunk", gib(file.Virtual), vm.DiskGB)
	}
	return nil
}

// where says in words where the definition was found.
func (v VM) where() string {
	if v.From == InFile {
		return filepath.Join(v.Spec.Dir, domainXMLName)
	}
	return "libvirt"
}

func delayOf(vm configs.VM) time.Duration { return time.Duration(vm.BootDelay) }

// layoutDisk is where the layout has the VM's disk.
func layoutDisk(vm configs.VM, s Spec) string {
	if vm.DiskImage != nil {
		return filepath.Clean(vm.DiskImage.Dest)
	}
	return filepath.Join(s.Dir, vm.Name+".qcow2")
}

func (p *Plan) planAbsent(want configs.VMPlan, v VM, vm configs.VM, have *Domain, facts Facts) (VM, []step.Refusal) {
	v.Action, v.Running, v.Autostart = Remove, false, false
	directory, there := facts.Directories[vm.Name]
	if !p.Local {
		there = false
	}
	if have == nil && !there {
		v.Action = Gone
		return v, nil
	}
	v.Lost = &Lost{Defined: have != nil}
	if v.PurgeAfter = cmp.Or(time.Duration(vm.PurgeAfter), time.Duration(want.PurgeAfter)); v.PurgeAfter > 0 {
		v.Lost.Aside = cmp.Or(vm.PurgeAfter, want.PurgeAfter).String()
	}
	if there {
		v.Lost.Directory, v.Lost.Files, v.Lost.Allocated = v.Spec.Dir, directory.Files, directory.Allocated
	}
	if have != nil {
		v.Lost.Running = have.Active
		for _, d := range have.Disks {
			if d.Path != "" && d.Device == "disk" && !inside(v.Spec.Dir, d.Path) {
				v.Lost.Kept = append(v.Lost.Kept, d.Path)
			}
		}
	}
	var refusals []step.Refusal
	if vm.Protected {
		refusals = append(refusals, step.Refusal{Code: "vm-protected", Where: vm.Name, What: "it is to be removed, and it is protected", Hint: "remove protected: true first if you mean it"})
	}
	refusals = append(refusals, judgeReferences(want, v, facts)...)
	if there && directory.Kind != "directory" {
		refusals = append(refusals, step.Refusal{Code: "vm-directory", Where: vm.Name, What: v.Spec.Dir + " is a " + directory.Kind + ", not a directory", Hint: "remove it yourself: it is not followed"})
	}
	return v, refusals
}

// planImages collects what is to be downloaded, each URL once.
func (p *Plan) planImages(want configs.VMPlan, facts Facts) {
	if !p.Local {
		return
	}
	for i, vm := range want.VMs {
		v := p.VMs[i]
		if v.Action == Remove || v.Action == Gone || v.XML == "" || v.Spec.DiskKind != "file" {
			continue
		}
		switch {
		case vm.DiskImage != nil && v.Spec.Disk == filepath.Clean(vm.DiskImage.Dest):
			p.addImage(Image{URL: vm.DiskImage.URL, Checksum: vm.DiskImage.Checksum, Extract: vm.DiskImage.Extract}, v, v.Spec.Disk, vm.DiskGB, facts)
		case vm.ISOImage != nil && v.Spec.ISO != "":
			p.addImage(Image{URL: vm.ISOImage.URL, Checksum: vm.ISOImage.Checksum, ISO: true}, v, v.Spec.ISO, 0, facts)
		}
	}
}

func (p *Plan) addImage(image Image, v VM, path string, diskGB int, facts Facts) {
	if _, there := facts.Files[path]; there {
		// Still a step, whose Check finds it done: the plan has the same steps
		// before and after. Only the download's size is no matter any more.
		image.Size = 0
	} else {
		source := facts.Sources[image.URL]
		image.Size = source.Size
		if source.Sum != "" && source.Checksum == image.Checksum {
			image.Sum = source.Sum
		}
	}
	limit := max(int64(unpackLimit), int64(diskGB)<<30)
	for i := range p.Images {
		other := &p.Images[i]
		if other.URL == image.URL && other.Checksum == image.Checksum && other.ISO == image.ISO && isTrue(other.Extract, true) == isTrue(image.Extract, true) {
			other.Paths, other.VMs = append(other.Paths, path), append(other.VMs, v.Name)
			other.Limit, other.Size = max(other.Limit, limit), max(other.Size, image.Size)
			return
		}
	}
	image.Paths, image.VMs, image.Limit = []string{path}, []string{v.Name}, limit
	p.Images = append(p.Images, image)
}

// planPrevious finds what was kept long enough, and says of a new VM that the
// disks of one of its name are still there.
func (p *Plan) planPrevious(facts Facts) {
	if !p.Local || p.Stage {
		return
	}
	for _, e := range facts.Previous {
		if e.due() {
			p.Expired = append(p.Expired, e)
			p.note("expired", e.VM, "deleted now, as its time is up: %s", e.line())
			continue
		}
		for _, v := range p.VMs {
			if e.Disks && e.VM == v.Name && v.Action == Create && v.From == "" {
				p.note("undelete", v.Name, "it is made anew, and the disks of its former self are still kept: to have those instead, hvinstall %s %s before this run", UndeleteCommand, v.Name)
			}
		}
	}
}

func (p *Plan) findUndeclared(want configs.VMPlan, facts Facts) {
	for _, d := range facts.Domains {
		if slices.ContainsFunc(want.VMs, func(vm configs.VM) bool { return vm.Name == d.Name }) {
			continue
		}
		u := Undeclared{Name: d.Name, State: d.State}
		if disk, ok, _ := d.systemDisk(""); ok {
			u.Disk = disk.Path
		}
		p.Undeclared = append(p.Undeclared, u)
	}
	slices.SortFunc(p.Undeclared, func(a, b Undeclared) int { return cmp.Compare(a.Name, b.Name) })
}

func (p *Plan) note(code, where, format string, args ...any) {
	p.Notes = append(p.Notes, Note{Code: code, Where: where, What: fmt.Sprintf(format, args...)})
}

// Removals are the VMs that the plan destroys; a run asks for them.
func (p Plan) Removals() []VM {
	var found []VM
	for _, v := range p.VMs {
		if v.Action == Remove {
			found = append(found, v)
		}
	}
	return found
}

// DeletedForGood are the VMs whose directories are deleted at once.
func (p Plan) DeletedForGood() []string {
	var found []string
	for _, v := range p.Removals() {
		if v.Lost != nil && v.Lost.Directory != "" && v.PurgeAfter == 0 {
			found = append(found, v.Name)
		}
	}
	return found
}

// AdoptedWithChanges are the VMs that hvinstall did not make and whose guests
// see other hardware after their adoption; a run asks for them.
func (p Plan) AdoptedWithChanges() []string {
	var found []string
	for _, v := range p.VMs {
		if v.Action == Adopt && slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.Hardware }) {
			found = append(found, v.Name)
		}
	}
	return found
}

// RestartLines says what waits for a restart, one line for each VM.
func (p Plan) RestartLines() []string {
	var lines []string
	for _, v := range p.VMs {
		if line := v.RestartLine(); line != "" {
			lines = append(lines, v.Name+": "+line)
		}
	}
	return lines
}

// RestartLine is "restart needed: ram 4096 → 8192 MiB", or empty.
func (v VM) RestartLine() string {
	if len(v.Restart) == 0 {
		return ""
	}
	return "restart needed: " + join(v.Restart)
}

func join(differences []Difference) string {
	parts := make([]string, len(differences))
	for i, d := range differences {
		parts[i] = d.String()
	}
	return strings.Join(parts, ", ")
}

// inside reports whether path lies in dir, by its name alone.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../")
}

// badName says why a name cannot be a directory's: it is joined to the root,
// and what lies there is deleted for a VM that is absent.
func badName(name string) string {
	switch {
	case name == "" || name == "." || name == ".." || name == strings.Split(previousDir, "/")[0]:
		return fmt.Sprintf("%q is no name for a VM", name)
	case strings.ContainsAny(name, "/\x00\n"):
		return fmt.Sprintf("the name %q has a character that a file name cannot have", name)
	}
	return ""
}

// checkPaths refuses an image outside its VM's directory: the directory is
// what absent removes, and what belongs to the VM.
func checkPaths(want configs.VMPlan, vm configs.VM) []step.Refusal {
	var refusals []step.Refusal
	dir := filepath.Join(want.VMStoreRoot, vm.Name)
	check := func(key, path string) {
		switch {
		case !inside(dir, filepath.Clean(path)):
			refusals = append(refusals, step.Refusal{Code: "image-path", Where: vm.Name, What: key + ".dest " + path + " is not inside " + dir, Hint: "put it there"})
		case filepath.Dir(filepath.Clean(path)) != dir:
			refusals = append(refusals, step.Refusal{Code: "image-path", Where: vm.Name, What: key + ".dest " + path + " is in a directory of its own below " + dir, Hint: "put it directly into " + dir})
		}
	}
	switch {
	case vm.DiskImage != nil && vm.ISOImage != nil:
		refusals = append(refusals, step.Refusal{Code: "vm-image", Where: vm.Name, What: "it has both disk_image and iso_image", Hint: "keep one"})
	case vm.DiskImage != nil:
		check("disk_image", vm.DiskImage.Dest)
	case vm.ISOImage != nil:
		check("iso_image", vm.ISOImage.Dest)
	default:
		refusals = append(refusals, step.Refusal{Code: "vm-image", Where: vm.Name, What: "it has neither disk_image nor iso_image", Hint: "give it one"})
	}
	return refusals
}
