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
}

func isSystemAccount(name string) bool {
	return slices.Contains(systemAccounts, name) || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "systemd-")
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
