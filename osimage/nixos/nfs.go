package nixos

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// nfsNix serves the exports by NFSv4: exports(5) lines, the directories, and
// the firewall opened for the clients alone.
func nfsNix(in Input) string {
	var lines []string
	var v4, v6 []string
	directories := list{}
	for _, e := range in.Exports {
		options := e.Options
		if e.Mountpoint != "" && !slices.ContainsFunc(options, func(o string) bool {
			return strings.HasPrefix(o, "mountpoint") || o == "mp" || strings.HasPrefix(o, "mp=")
		}) {
			options = append(slices.Clone(options), "mountpoint="+e.Mountpoint)
		}
		line := exportsPath(e.Path)
		for _, c := range e.Clients {
			line += fmt.Sprintf(" %s(%s)", c, strings.Join(options, ","))
			if isIPv6(c) {
				v6 = append(v6, c)
			} else {
				v4 = append(v4, c)
			}
		}
		lines = append(lines, line)
		directories = append(directories, attrs{
			set("path", e.Path), set("pool", e.Mountpoint), set("mode", e.Mode), set("owner", e.Owner), set("group", e.Group),
		})
	}
	slices.Sort(v4)
	slices.Sort(v6)
	v4, v6 = slices.Compact(v4), slices.Compact(v6)

	body := attrs{
		set("services.nfs.server.enable", true),
		set("services.nfs.server.exports", textOf(lines),
			"mountpoint= keeps a pool that is not mounted from being served as an empty directory."),
		after(set("services.nfs.settings.nfsd", attrs{set("vers2", false), set("vers3", false), set("vers4", true)},
			"Version 4 alone: one port. mountd reads this, too, and opens none.")),
		set("services.rpcbind.enable", raw("lib.mkForce false"), "Only version 3 needs these two."),
		set("systemd.services.rpc-statd.enable", raw("lib.mkForce false")),
		after(set("systemd.services.hvinstall-exports", raw(fmt.Sprintf(exportsService, inlineList(exportMounts(in)))))),
		after(set("networking.firewall.extraInputRules", raw("lib.mkIf config.networking.nftables.enable "+inline(nftRules(v4, v6))),
			"The port is open for these clients only; which of the two firewalls NixOS uses,", "networking.nftables.enable says.")),
		set("networking.firewall.extraCommands", raw("lib.mkIf (!config.networking.nftables.enable) "+inline(iptablesRules(v4, v6)))),
	}
	return module{
		header: []string{"NFS (version 4, port 2049): nfs_exports of layout.yaml."},
		args:   []string{"config", "lib", "pkgs"},
		lets:   attrs{set("directories", directories, "Made on their pool, and only while that is mounted; what exists is left as it is.")},
		body:   body,
	}.String()
}

// exportMounts are the units that mount what the exports are on.
func exportMounts(in Input) list {
	units := list{}
	for _, e := range in.Exports {
		if u := mountUnit(e.Mountpoint); e.Mountpoint != "" && !slices.Contains(units, any(u)) {
			units = append(units, u)
		}
	}
	return units
}

func inlineList(l list) string {
	var p printer
	p.depth = 1
	p.value(l)
	return p.String()
}

// exportsPath writes a path as exports(5) reads it: a byte that means something
// there as three octal digits.
func exportsPath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`#\"'(),$`, c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// inline prints lines of text at depth zero; the printer indents what follows.
func inline(lines []string) string {
	var p printer
	p.value(textOf(lines))
	return p.String()
}

func nftRules(v4, v6 []string) []string {
	var rules []string
	if len(v4) > 0 {
		rules = append(rules, "ip saddr { "+strings.Join(v4, ", ")+" } tcp dport 2049 accept")
	}
	if len(v6) > 0 {
		rules = append(rules, "ip6 saddr { "+strings.Join(v6, ", ")+" } tcp dport 2049 accept")
	}
	return rules
}

func iptablesRules(v4, v6 []string) []string {
	var rules []string
	for _, c := range v4 {
		rules = append(rules, "iptables -A nixos-fw -p tcp -s "+c+" --dport 2049 -j nixos-fw-accept")
	}
	for _, c := range v6 {
		rules = append(rules, "ip6tables -A nixos-fw -p tcp -s "+c+" --dport 2049 -j nixos-fw-accept")
	}
	return rules
}

func isIPv6(client string) bool {
	address, _, _ := strings.Cut(client, "/")
	a, err := netip.ParseAddr(address)
	return err == nil && a.Is6()
}

const exportsService = `{
  description = "Directories that are exported by NFS";
  wantedBy = [ "nfs-server.service" ];
  before = [ "nfs-server.service" ];
  after = %s;
  path = [ pkgs.util-linux ];
  script = lib.concatMapStrings (d: ''
    if [ -z ${lib.escapeShellArg d.pool} ] || mountpoint -q ${lib.escapeShellArg d.pool}; then
      [ -e ${lib.escapeShellArg d.path} ] || install -d -m ${lib.escapeShellArg d.mode} -o ${lib.escapeShellArg d.owner} -g ${lib.escapeShellArg d.group} -- ${lib.escapeShellArg d.path}
    fi
  '') directories;
  serviceConfig = {
    Type = "oneshot";
    RemainAfterExit = true;
  };
}`
