package boot

import (
	"slices"
	"strings"
)

// Opens says why a word of the kernel command line would make whoever typed it
// root on the opened host, or take away what protects it; "" is a word that
// opens nothing. The kernel, systemd and its generators read the command line,
// see kernel-parameters.txt, kernel-command-line(7) and systemd(1). rescue and
// emergency are not here: sulogin lets nobody in while root is locked.
func Opens(key, value string) string {
	plain := strings.ReplaceAll(key, "-", "_") // systemd takes both
	switch {
	case key == "init" && !isInit(value):
		return "starts another program than the host's init"
	case strings.HasPrefix(key, "kgdb"), key == "ekgdboc", key == "kdb":
		return "lets a serial port or the keyboard change memory"
	case slices.Contains(sysctls, strings.ReplaceAll(key, "/", ".")):
		return "has the kernel run a program as root"
	case key == "cloud-config-url", key == "cc", key == "ds":
		return "has cloud-init take orders from elsewhere"
	}
	rest, is := strings.CutPrefix(plain, "systemd.")
	switch {
	case !is:
		return ""
	case rest == "unit":
		if slices.Contains(units, value) {
			return ""
		}
		return "starts a unit of the typist's choice"
	case slices.ContainsFunc(harmless, func(prefix string) bool { return strings.HasPrefix(rest, prefix) }):
		return ""
	}
	// debug_shell, run, setenv, set_credential, wants, mask, mount_extra, …, and
	// what a newer systemd may take.
	return "changes what systemd starts, masks or mounts, or what it trusts"
}

// isInit says whether a program is an init: the usual ones, or a NixOS system's.
func isInit(path string) bool {
	if slices.Contains(Inits, path) {
		return true
	}
	system, found := strings.CutPrefix(path, "/nix/store/")
	name, end, cut := strings.Cut(system, "/")
	return found && cut && end == "init" && strings.Contains(name, "-nixos-system-") && !strings.Contains(name, "..")
}

// Inits are tried in the kernel's own order, see init/main.c, with systemd's
// place before it: Debian's /sbin/init leads there.
var Inits = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/etc/init", "/bin/init"}

// sysctls are set by the kernel before anything else runs.
var sysctls = []string{
	"sysctl.kernel.core_pattern", "sysctl.kernel.modprobe", "sysctl.kernel.hotplug", "sysctl.kernel.poweroff_cmd",
	"sysctl.kernel.usermodehelper.bset", "sysctl.kernel.usermodehelper.inheritable",
}

// units are those that a person may start instead of the usual one.
var units = []string{
	"default.target", "multi-user.target", "graphical.target", "rescue.target", "rescue.service",
	"emergency.target", "emergency.service", "poweroff.target", "reboot.target",
}

// harmless begin what systemd takes of log, clock, watchdogs and the like.
var harmless = []string{
	"log_", "show_status", "status_unit_format", "journald.", "default_timeout", "default_standard_", "device_timeout",
	"unified_cgroup_hierarchy", "legacy_systemd_cgroup_controller", "hostname", "machine_id", "clock_usec", "watchdog_",
	"cpu_affinity", "dump_core", "crash_chvt", "crash_reboot", "service_watchdogs", "gpt_auto", "default_device_timeout",
}
