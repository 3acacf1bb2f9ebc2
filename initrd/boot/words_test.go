package boot

import "testing"

// TestOpens: each of the first gave a root shell, or a way to one, on a host
// that a key stick had opened.
func TestOpens(t *testing.T) {
	for _, c := range [][2]string{
		{"init", "/bin/bash"}, {"init", "/bin/sh"}, {"init", "/nix/store/x-bash/bin/bash"}, {"init", "/nix/store/x-nixos-system-/../bash/init"},
		{"init", "/sbin/../bin/sh"}, {"init", ""},
		{"systemd.debug_shell", ""}, {"systemd.debug-shell", "1"}, {"systemd.debug_shell", "ttyS0"},
		{"systemd.unit", "debug-shell.service"}, {"systemd.unit", ""}, {"systemd.wants", "debug-shell.service"},
		{"systemd.run", "/bin/sh -c id"}, {"systemd.setenv", "SYSTEMD_SULOGIN_FORCE=1"}, {"systemd.crash_shell", "1"},
		{"systemd.mask", "nftables.service"}, {"systemd.set_credential", "passwd.hashed-password.root:"},
		{"systemd.set_credential_binary", "dG1w"}, {"systemd.mount-extra", "/dev/sdb1:/etc"}, {"systemd.volatile", "yes"},
		{"systemd.firstboot", "yes"}, {"systemd.condition-first-boot", "1"}, {"systemd.of_a_newer_one", "1"},
		{"sysctl.kernel.core_pattern", "|/bin/sh"}, {"sysctl.kernel/modprobe", "/home/x"},
		{"kgdboc", "kbd"}, {"kgdbwait", ""}, {"ds", "nocloud"},
	} {
		if Opens(c[0], c[1]) == "" {
			t.Errorf("%s=%s opens nothing", c[0], c[1])
		}
	}
	for _, c := range [][2]string{
		{"quiet", ""}, {"rw", ""}, {"console", "ttyS0,115200"}, {"intel_iommu", "on"}, {"hugepages", "8"}, {"mitigations", "off"},
		{"init", "/sbin/init"}, {"init", "/nix/store/0c0s-nixos-system-hypervisor-25.05/init"}, {"systemd.log_level", "debug"},
		{"systemd.log-target", "console"}, {"systemd.show_status", "1"}, {"systemd.unit", "rescue.target"}, {"emergency", ""}, {"single", ""},
		{"usb-storage.quirks", "1:2:u"}, {"kvm.ignore_msrs", "1"}, {"sysctl.vm.swappiness", "10"}, {"sysctl.kernel.panic", "10"},
		{"rd.hvinstall.debug", ""}, {"rd.hvinstall.shell", ""}, {"modprobe.blacklist", "nouveau"}, {"systemd", ""},
	} {
		if why := Opens(c[0], c[1]); why != "" {
			t.Errorf("%s=%s %s", c[0], c[1], why)
		}
	}
}
