package configs

import (
	"slices"
	"strings"
)

// systemAccounts are Debian's base-passwd's, and those of the packages on a
// host. A login, keys or a group of theirs is a door that nobody looks at.
var systemAccounts = []string{
	"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup",
	"list", "irc", "nobody", "messagebus", "sshd", "polkitd", "tss", "libvirt-qemu", "libvirt-dnsmasq", "libvirtdbus",
	"qemu", "swtpm", "statd", "dnsmasq", "rpc", "chrony", "ntp", "nixbld",
	// Of Debian's other packages (Debian's wiki, "SystemGroups"; their postinst).
	"avahi", "avahi-autoipd", "colord", "Debian-exim", "debian-tor", "dhcpcd", "fwupd-refresh", "geoclue", "gnats", "kernoops",
	"lldpd", "mosquitto", "mysql", "node-exporter", "nslcd", "nginx", "ntpsec", "nut", "openvpn", "postfix", "postgres",
	"prometheus", "radvd", "redis", "rtkit", "saned", "speech-dispatcher", "sssd", "stunnel4", "syslog", "tcpdump",
	"telegraf", "usbmux", "uuidd", "whoopsie",
	// Of NixOS (nixos/modules/misc/ids.nix).
	"wwwrun", "qemu-libvirtd", "unscd", "rpcuser", "nm-openvpn", "nm-iodine", "dhcpd", "kea", "unbound", "named",
}

// systemGroups are base-passwd's and other packages': an account of such a name
// would get that group as its own.
var systemGroups = []string{
	"adm", "tty", "disk", "kmem", "dialout", "fax", "voice", "cdrom", "floppy", "tape", "sudo", "audio", "dip", "operator",
	"src", "shadow", "utmp", "video", "sasl", "plugdev", "staff", "users", "nogroup", "input", "sgx", "kvm", "render",
	"crontab", "netdev", "ssh", "wheel", "libvirt", "libvirtd", "docker", "lxd", "incus-admin", "keys",
}

// isSystemAccount knows them by name: the layout is read where the system is not
// there yet. What the system has besides is refused by its number, see osimage.
func isSystemAccount(name string) bool {
	if number, is := strings.CutPrefix(name, "nixbld"); is && strings.Trim(number, "0123456789") == "" {
		return true
	}
	return slices.Contains(systemAccounts, name) || slices.Contains(systemGroups, name) || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "systemd-") ||
		strings.HasPrefix(name, "libvirt-") || strings.HasPrefix(name, "debian-")
}

func (c *checker) validateUsers() {
	var names []string
	for i := range c.l.Users {
		u := &c.l.Users[i]
		if c.good(&u.Name) {
			if slices.Contains(names, u.Name) {
				c.fail(fields(&u.Name), "", "the user %s is given already", u.Name)
			}
			names = append(names, u.Name)
			if isSystemAccount(u.Name) {
				c.fail(fields(&u.Name), "give the person an account of their own; in the group wheel it may become root", "%s is an account of the system's own", u.Name)
			}
		}
		for j := range u.Groups {
			if c.good(&u.Groups[j]) && slices.Contains(u.Groups[:j], u.Groups[j]) {
				c.fail(fields(&u.Groups[j]), "", "%s is given already", u.Groups[j])
			}
		}
		for j := range u.SSHAuthorizedKeys {
			if c.good(&u.SSHAuthorizedKeys[j]) && slices.Contains(u.SSHAuthorizedKeys[:j], u.SSHAuthorizedKeys[j]) {
				c.fail(fields(&u.SSHAuthorizedKeys[j]), "", "the key is given already")
			}
		}
	}
	for i := range c.l.Libvirtd.Users {
		user := &c.l.Libvirtd.Users[i]
		if !c.good(user) {
			continue
		}
		if slices.Contains(c.l.Libvirtd.Users[:i], *user) {
			c.fail(fields(user), "", "%s is given already", *user)
		}
		if isSystemAccount(*user) {
			hint := "name people; who may use libvirt is root on this host"
			if *user == "root" {
				hint = "root needs no group: remove the entry"
			}
			c.fail(fields(user), hint, "%s is an account of the system's own", *user)
			continue
		}
		// Only a system that is made from an image has no other accounts than
		// those given here.
		if os := c.l.OS; os != nil && os.Image != nil && len(names) > 0 && !c.failed[&c.l.Users] &&
			!slices.Contains(names, *user) {
			hint := "add it to users"
			if near := nearest(*user, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			c.fail(fields(user), hint, "there will be no user %s", *user)
		}
	}
}
