package nixos

import (
	"slices"

	"hvinstall/configs"
)

// libvirtdNix is the daemon, who may use it, and the bridge that it may use.
// VMs themselves are hvinstall's.
func libvirtdNix(in Input) string {
	l := in.Layout
	bridge := l.DefaultBridge
	if bridge == "" {
		bridge = "br0"
	}
	bridges := []string{bridge}
	for _, vm := range l.VMs {
		if vm.Bridge != "" && !slices.Contains(bridges, vm.Bridge) && vm.State != "absent" {
			bridges = append(bridges, vm.Bridge)
		}
	}
	present := func(want func(configs.VM) bool) bool {
		return slices.ContainsFunc(l.VMs, func(vm configs.VM) bool { return vm.State != "absent" && want(vm) })
	}
	tpm := present(func(vm configs.VM) bool { return vm.Firmware.TPM })
	secure := present(func(vm configs.VM) bool { return vm.Firmware.SecureBoot })

	qemu := attrs{set("runAsRoot", false, "QEMU runs as the user qemu-libvirtd; the pool stays root's.")}
	if tpm {
		qemu = append(qemu, set("swtpm.enable", true, "firmware.tpm of a VM"))
	}
	args := []string{}
	libvirtd := attrs{
		set("enable", true),
		set("allowedBridges", texts(bridges...), "What qemu-bridge-helper may plug a VM into: libvirt_default_bridge."),
		set("onBoot", "ignore", "Which VMs start with the host is said by each VM's autostart, and in which order by hvinstall."),
		set("onShutdown", "shutdown", "An ACPI shutdown; the default would write every VM's memory to the system disk."),
		set("qemu", qemu, "OVMF: QEMU's own images, always there since 25.11 and by default before (qemu.ovmf.enable)."),
	}
	body := attrs{set("virtualisation.libvirtd", libvirtd)}
	if secure || tpm {
		// The option is gone since 25.11, and setting it there is an error: the
		// name itself must depend on the release.
		args = []string{"lib", "pkgs"}
		libvirtd[len(libvirtd)-1] = binding{path: []string{"qemu"}, comment: []string{
			"OVMF: QEMU's own images since 25.11; before, Secure Boot and TPM need the full build."},
			value: raw(inlineAttrs(qemu) + "\n// lib.optionalAttrs (lib.versionOlder lib.version \"25.11pre\") { ovmf.packages = [ pkgs.OVMFFull.fd ]; }")}
	}
	if users := l.Libvirtd.Users; len(users) > 0 {
		body = append(body,
			after(set("users.groups.libvirtd.members", texts(users...), "libvirtd.users: the system socket and /dev/kvm without sudo.")),
			set("users.groups.kvm.members", texts(users...)),
		)
	}
	return module{
		header: []string{"libvirtd. The VMs are not described here: hvinstall makes them from libvirt_vms (hvinstall.nix)."},
		args:   args,
		body:   body,
	}.String()
}

func inlineAttrs(a attrs) string {
	var p printer
	p.value(a)
	return p.String()
}
