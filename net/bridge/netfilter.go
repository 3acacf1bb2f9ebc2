package bridge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"hvinstall/host"
	"hvinstall/step"
)

// Bridged frames belong to the VMs and must not pass the host's firewall. The
// switches are sysctls that exist only once br_netfilter is loaded, and Docker
// or a firewall may load it at any time; a sysctl.d file alone is read too
// early. So a udev rule sets them at the moment when the module appears.
const (
	netfilterRuleFile = "etc/udev/rules.d/99-hvinstall-bridge.rules"
	netfilterRule     = `# Written by hvinstall: bridged frames do not pass the host's firewall.
ACTION=="add", SUBSYSTEM=="module", KERNEL=="br_netfilter", RUN+="/lib/systemd/systemd-sysctl --prefix=/net/bridge"
`
	netfilterSysctlFile = "etc/sysctl.d/99-hvinstall-bridge.conf"
	netfilterSysctl     = `# Written by hvinstall: bridged frames do not pass the host's firewall.
# The - lets boot pass where br_netfilter is not loaded; the udev rule
# 99-hvinstall-bridge.rules applies this file when it is.
-net.bridge.bridge-nf-call-iptables = 0
-net.bridge.bridge-nf-call-ip6tables = 0
-net.bridge.bridge-nf-call-arptables = 0
`
	procBridge = "/proc/sys/net/bridge/"
)

var netfilterSwitches = []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"}

func (p Plan) netfilterStep(env Env) step.Step {
	files := map[string]string{netfilterRuleFile: netfilterRule, netfilterSysctlFile: netfilterSysctl}
	return step.Step{
		ID:     "net/netfilter",
		Title:  "keep bridged frames out of the host's firewall",
		Detail: []string{"bridge-nf-call-* = 0, also when br_netfilter is loaded later"},
		Check: func(context.Context) (step.State, string, error) {
			for name, text := range files {
				if same, err := host.FileIs(filepath.Join(env.Root, name), []byte(text), 0o644); err != nil || !same {
					return step.Absent, "/" + name + " is not written", err
				}
			}
			if on := switchedOn(env); on != "" {
				return step.Absent, on + " is 1", nil
			}
			return step.Done, "bridged frames pass by the firewall", nil
		},
		Do: func(_ context.Context, report step.Reporter) error {
			for name, text := range files {
				if err := host.WriteFile(filepath.Join(env.Root, name), []byte(text), 0o644); err != nil {
					return err
				}
			}
			for on := switchedOn(env); on != ""; on = switchedOn(env) {
				report.Log("echo 0 > %s%s", procBridge, on)
				if err := os.WriteFile(procBridge+on, []byte("0\n"), 0); err != nil {
					return fmt.Errorf("switching the firewall off for bridged frames: %w", err)
				}
			}
			return nil
		},
	}
}

// switchedOn names a switch that is on in the running kernel, where this run
// makes the bridge in it. Without br_netfilter there is none.
func switchedOn(env Env) string {
	if !env.Live {
		return ""
	}
	for _, name := range netfilterSwitches {
		if value, err := os.ReadFile(procBridge + name); err == nil && len(value) > 0 && value[0] == '1' {
			return name
		}
	}
	return ""
}
