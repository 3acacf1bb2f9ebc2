package nixos

import (
	"strings"

	"hvinstall/configs"
)

// firewallNix closes the host to the LAN, but for ssh, the exports' clients
// (nfs.nix) and network.open_ports. NixOS' own firewall drops all else.
func firewallNix(in Input) string {
	body := attrs{
		set("networking.firewall.enable", true),
		set("networking.nftables.enable", raw("lib.mkDefault true"), "A module of yours that needs iptables may say false."),
	}
	var open []string
	if in.Layout.Network != nil {
		open = in.Layout.Network.OpenPorts
	}
	for _, protocol := range []string{"tcp", "udp"} {
		single, ranges := list{}, list{}
		for _, text := range open {
			p, err := configs.ParsePorts(text)
			switch {
			case err != nil || p.Protocol != protocol: // check refuses the former
			case p.First == p.Last:
				single = append(single, int(p.First))
			default:
				ranges = append(ranges, attrs{set("from", int(p.First)), set("to", int(p.Last))})
			}
		}
		name := "networking.firewall.allowed" + strings.ToUpper(protocol) + "Port"
		if len(single) > 0 {
			body = append(body, set(name+"s", single, "network.open_ports"))
		}
		if len(ranges) > 0 {
			body = append(body, set(name+"Ranges", ranges, "network.open_ports"))
		}
	}
	body = append(body,
		set("networking.firewall.extraInputRules", raw("lib.mkIf config.networking.nftables.enable "+inline([]string{
			`iifname "virbr*" meta l4proto { tcp, udp } th dport 53 accept`, `iifname "virbr*" udp dport { 67, 69, 547 } accept`})),
			"Guests of libvirt's own networks get leases and names from the host."),
		after(set("services.openssh.enable", true)),
		set("services.openssh.settings.PasswordAuthentication", false, "Keys only: the console stays open to passwords."),
		set("services.openssh.settings.KbdInteractiveAuthentication", false),
		set("services.openssh.settings.PermitRootLogin", raw(`lib.mkDefault "no"`)),
		set("services.openssh.settings.X11Forwarding", raw("lib.mkDefault false")),
		after(binding{path: []string{"environment", "etc", "systemd/resolved.conf.d/hvinstall.conf", "text"},
			value:   block([]string{"[Resolve]", "LLMNR=no", "MulticastDNS=no"}),
			comment: []string{"Names of the LAN are asked of its DNS server, and never of whoever answers first."}}),
	)
	return module{
		header: []string{"What of the host is reached from the LAN; VMs on the bridge are not filtered."},
		args:   []string{"config", "lib"},
		body:   body,
	}.String()
}
