package vmstore

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"
)

// preflight finds what would stop the run later, or a VM from starting, before
// anything changes.
func (p *Plan) preflight(want configs.VMPlan, facts Facts) []step.Refusal {
	var list []step.Refusal
	refuse := func(code, where, hint, format string, args ...any) {
		list = append(list, step.Refusal{Code: code, Where: where, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	if len(p.VMs) == 0 {
		return nil
	}
	if !p.Stage && !facts.Libvirt.Reachable {
		refuse("libvirt", want.URI, "start it: systemctl start libvirtd", "libvirt does not answer: %s", facts.Libvirt.Why)
	}
	p.checkDuplicates(want, facts, refuse)
	if !slices.ContainsFunc(p.VMs, func(v VM) bool { return v.Action != Remove && v.Action != Gone }) {
		return list
	}
	p.checkSources(facts, refuse)
	if !facts.Host.Known || !p.Local {
		return list
	}
	p.checkSums(want, facts, refuse)
	p.checkSpace(facts, refuse)
	p.checkPrograms(facts, refuse)
	p.checkUSB(facts)
	if !p.Stage {
		// The live system's own QEMU, bridge and firmware say nothing of the
		// installed one's.
		p.checkHost(want, facts, refuse)
		if !p.Ordered && slices.ContainsFunc(want.VMs, func(vm configs.VM) bool { return vm.BootOrder != 0 || vm.BootDelay != 0 }) {
			p.note("boot-order", "", "boot_order and boot_delay need %s, which is not enabled here: after a host boot libvirt starts all VMs at once", UnitName)
		}
	}
	return list
}

type refuser func(code, where, hint, format string, args ...any)

// checkHost looks at what QEMU needs of this machine.
func (p *Plan) checkHost(want configs.VMPlan, facts Facts, refuse refuser) {
	h := facts.Host
	if slices.ContainsFunc(p.VMs, func(v VM) bool { return v.Action != Remove && v.Action != Gone && v.Spec.DomainType == "kvm" }) {
		switch {
		case !h.KVM.Present:
			refuse("kvm", "/dev/kvm", "switch on virtualisation (VT-x, AMD-V) in the firmware's setup, or set libvirt_domain_type: qemu", "it is not there")
		case !h.KVM.Usable:
			refuse("kvm", "/dev/kvm", "add the user to the kvm group: usermod -aG kvm "+h.QEMUUser, "%s", h.KVM.Why)
		case facts.Libvirt.CapabilitiesKnown && !facts.Libvirt.KVM:
			refuse("kvm", "/dev/kvm", "restart libvirtd; see journalctl -u libvirtd", "libvirt says that QEMU cannot use it")
		}
	}
	if h.Blocked != "" {
		refuse("permission", h.Blocked, "chmod o+x "+h.Blocked, "the user %s of the VMs cannot pass through it to %s", h.QEMUUser, p.Root)
	}
	for _, v := range p.VMs {
		if v.Action == Remove || v.Action == Gone {
			continue
		}
		if v.Spec.Bridge != "" && !slices.Contains(h.Bridges, v.Spec.Bridge) {
			hint := "make it, or correct bridge or libvirt_default_bridge"
			if v.Adopted {
				hint = "make it, or write in the VM's entry which bridge it shall be on"
			}
			refuse("bridge", v.Name, hint, "there is no bridge %s", v.Spec.Bridge)
		}
		p.checkFirmware(v, facts, refuse)
		if v.Spec.TPM && facts.Libvirt.CapabilitiesKnown && !facts.Libvirt.TPM {
			refuse("tpm", v.Name, "install swtpm and swtpm-tools", "it has a TPM, and libvirt has no emulator for one")
		}
		if h.AppArmor {
			p.checkAppArmor(v, facts, refuse)
		}
	}
}

// checkFirmware asks libvirt's descriptors for one that fits.
func (p *Plan) checkFirmware(v VM, facts Facts, refuse refuser) {
	if !v.Spec.UEFI {
		return
	}
	broken := ""
	for _, f := range facts.Host.Firmware {
		if !f.UEFI || f.SecureBoot != v.Spec.SecureBoot || v.Spec.SecureBoot && !f.Enrolled {
			continue
		}
		if !f.Missing {
			return
		}
		broken = f.Code
	}
	kind := "without Secure Boot"
	if v.Spec.SecureBoot {
		kind = "with Secure Boot and the vendor's keys"
	}
	switch {
	case broken != "":
		refuse("firmware", v.Name, "install ovmf anew", "its UEFI firmware %s is not there", broken)
	case len(facts.Host.Firmware) > 0 || !facts.Libvirt.UEFI:
		refuse("firmware", v.Name, "install ovmf", "there is no UEFI firmware %s", kind)
	}
}

// checkAppArmor knows that libvirt's helper, which writes each VM's profile,
// is confined itself: it must be able to read the disk to find what it names.
func (p *Plan) checkAppArmor(v VM, facts Facts, refuse refuser) {
	for _, file := range []string{v.Spec.Disk, v.Spec.ISO, v.Spec.Seed} {
		if file == "" || slices.ContainsFunc(facts.Host.AppArmorReads, func(pattern string) bool { return matchAppArmor(pattern, file) }) {
			continue
		}
		refuse("apparmor", v.Name, "name it *.qcow2 or *.iso, or allow it in /etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper",
			"AppArmor does not let libvirt's helper read %s", file)
	}
}

// matchAppArmor knows the forms that libvirt's profile uses: /dir/**, /**.ext
// and /**.{a,b}.
func matchAppArmor(pattern, file string) bool {
	if open := strings.IndexByte(pattern, '{'); open >= 0 {
		end := strings.IndexByte(pattern[open:], '}')
		if end < 0 {
			return false
		}
		for option := range strings.SplitSeq(pattern[open+1:open+end], ",") {
			if matchAppArmor(pattern[:open]+option+pattern[open+end+1:], file) {
				return true
			}
		}
		return false
	}
	before, after, deep := strings.Cut(pattern, "**")
	if !deep {
		ok, err := path.Match(pattern, file)
		return ok && err == nil
	}
	if !strings.HasPrefix(file, before) {
		return false
	}
	if after == "" {
		return true
	}
	// path.Match has the classes, as [iI][sS][oO]; the ** is any beginning.
	rest := strings.TrimPrefix(file, before)
	for i := range rest {
		if ok, err := path.Match(after, rest[i:]); ok && err == nil {
			return true
		}
	}
	return false
}

// checkSums compares the VMs with the machine. Together they may be more than it
// has, which is said: not all use what they have at the same time. One that is
// larger than the machine does not start.
func (p *Plan) checkSums(want configs.VMPlan, facts Facts, refuse refuser) {
	if want.Overcommit == "allow" {
		return
	}
	ram, vcpus := int64(0), 0
	count := func(mb, vcpu int) { ram, vcpus = ram+int64(mb)<<20, vcpus+vcpu }
	for _, v := range p.VMs {
		have := facts.domain(v.Name)
		if v.Action == Remove || v.Action == Gone || !v.Running && !v.Autostart && !(have != nil && have.Active) {
			continue
		}
		count(v.Spec.RAMMB, v.Spec.VCPU)
		if one := int64(v.Spec.RAMMB) << 20; one > facts.Host.RAM+facts.Host.Swap {
			refuse("ram", v.Name, "lower ram_mb, or write libvirt_overcommit: allow", "it has %s of memory, and the machine has %s: it cannot start", gib(one), gib(facts.Host.RAM))
		}
		if v.Spec.VCPU > facts.Host.CPUs {
			p.note("vcpu", v.Name, "it has %d vCPUs, and the machine has %d processors: it is slower than with fewer", v.Spec.VCPU, facts.Host.CPUs)
		}
	}
	for _, u := range p.Undeclared {
		if d := facts.domain(u.Name); d != nil && d.Active {
			count(d.LiveRAMMB, d.LiveVCPU)
		}
	}
	if ram > facts.Host.RAM {
		p.note("ram", "", "the VMs have %s of memory together, and the machine has %s: when they use it all, the kernel ends one of them", gib(ram), gib(facts.Host.RAM))
	} else if ram > facts.Host.RAM/100*90 {
		p.note("ram", "", "the VMs have %s of the machine's %s of memory; little is left for the host and its caches", gib(ram), gib(facts.Host.RAM))
	}
	if vcpus > 4*facts.Host.CPUs {
		p.note("vcpu", "", "the VMs have %d vCPUs together on %d processors; they will be slow when all of them work", vcpus, facts.Host.CPUs)
	}
}

// checkSpace compares the downloads with the pool. What an archive unpacks to
// is not known before: at least its own size.
func (p *Plan) checkSpace(facts Facts, refuse refuser) {
	need := int64(0)
	for _, image := range p.Images {
		for _, path := range image.Paths {
			if _, there := facts.Files[path]; !there {
				need += image.Size
			}
		}
		if image.Size > 0 && packed(image.URL) {
			need += image.Size // the download lies beside what it unpacks to
		}
	}
	if facts.Host.RootMissing || need == 0 {
		return
	}
	if need > facts.Host.Free-min(facts.Host.Free/20, 1<<30) {
		refuse("space", p.Root, "delete something or add a disk", "the images need %s at least, and %s are free", gib(need), gib(facts.Host.Free))
	}
}

func packed(url string) bool {
	return slices.Contains([]string{".xz", ".gz", ".bz2", ".zst", ".zip", ".tgz", ".txz"}, filepath.Ext(url))
}

// checkSources reports servers that would refuse a download.
func (p *Plan) checkSources(facts Facts, refuse refuser) {
	for _, image := range p.Images {
		if problem := facts.Sources[image.URL].Problem; problem != "" {
			refuse("image-url", strings.Join(image.VMs, ", "), "check the URL", "%s: %s", image.URL, problem)
		}
	}
}

// checkPrograms names what is not installed.
func (p *Plan) checkPrograms(facts Facts, refuse refuser) {
	if !slices.Contains(facts.Host.Programs, "qemu-img") {
		refuse("program", "qemu-img", "apt-get install qemu-utils", "it is not installed")
	}
	if !slices.Contains(facts.Host.Programs, "xz") && slices.ContainsFunc(p.Images, func(i Image) bool { return strings.HasSuffix(i.URL, "xz") && i.Size > 0 }) {
		p.note("xz", "", "xz is not installed: unpacking takes about three times as long")
	}
}

// checkUSB tells of sticks that are not plugged in: the VM starts without them.
func (p *Plan) checkUSB(facts Facts) {
	if facts.Host.USB == nil {
		return
	}
	for _, v := range p.VMs {
		if v.Action == Remove || v.Action == Gone {
			continue
		}
		for _, u := range v.Spec.USB {
			switch n := facts.Host.USB[u.String()]; {
			case n == 0:
				p.note("usb-missing", v.Name, "USB device %s is not plugged in; the VM starts without it", u)
			case n > 1:
				p.note("usb-twice", v.Name, "%d USB devices %s are plugged in; libvirt cannot tell which one is meant and will not start the VM", n, u)
			}
		}
	}
}

// checkDuplicates finds what two VMs cannot share, also with VMs that the
// layout does not name. libvirt accepts all of it.
func (p *Plan) checkDuplicates(want configs.VMPlan, facts Facts, refuse refuser) {
	names, macs, usb, files := map[string]int{}, map[string]string{}, map[string]string{}, map[string]string{}
	claim := func(owners map[string]string, key, name, code, what, hint string) {
		if key == "" {
			return
		}
		if other, taken := owners[key]; taken && other != name {
			refuse(code, name, hint, "%s %s is %s's too", what, key, other)
			return
		}
		owners[key] = name
	}
	for _, vm := range want.VMs {
		if names[vm.Name]++; names[vm.Name] == 2 {
			refuse("vm-twice", vm.Name, "remove one of the two", "it is in libvirt_vms twice")
		}
	}
	add := func(v VM) {
		claim(macs, strings.ToLower(v.Spec.MAC), v.Name, "mac-twice", "its MAC", "give one of them another mac_address")
		for _, u := range v.Spec.USB {
			claim(usb, u.String(), v.Name, "usb-shared", "its USB device", "a device can be in one VM only")
		}
		claim(files, v.Spec.Disk, v.Name, "disk-twice", "its disk", "give each VM a disk of its own")
	}
	for _, v := range p.VMs {
		if v.Action != Remove && v.Action != Gone {
			add(v)
		}
	}
	for _, u := range p.Undeclared {
		d := facts.domain(u.Name)
		for _, nic := range d.NICs {
			claim(macs, strings.ToLower(nic.MAC), d.Name, "mac-twice", "its MAC", "it is not in the layout; give the other one another mac_address")
		}
		for _, dev := range d.USB {
			claim(usb, dev.String(), d.Name, "usb-shared", "its USB device", "it is not in the layout; a device can be in one VM only")
		}
		for _, disk := range d.Disks {
			if disk.Device == "disk" {
				claim(files, disk.Path, d.Name, "disk-twice", "its disk", "it is not in the layout; give each VM a disk of its own")
			}
		}
	}
}
