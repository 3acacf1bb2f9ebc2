package bridge

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// inherited are the settings of the NIC that the bridge takes over: what the
// host does with the LAN's packets must not change with the interface.
var inherited = []string{
	"ipv4/conf/%/forwarding", "ipv4/conf/%/rp_filter", "ipv4/conf/%/arp_ignore", "ipv4/conf/%/arp_announce",
	"ipv4/conf/%/accept_redirects", "ipv4/conf/%/send_redirects", "ipv4/conf/%/proxy_arp", "ipv4/conf/%/promote_secondaries",
	"ipv6/conf/%/accept_ra", "ipv6/conf/%/forwarding", "ipv6/conf/%/autoconf", "ipv6/conf/%/use_tempaddr",
	"ipv6/conf/%/accept_redirects", "ipv6/conf/%/accept_ra_defrtr", "ipv6/conf/%/addr_gen_mode", "ipv6/conf/%/disable_ipv6",
}

func sysctlPath(key, link string) string {
	return "/proc/sys/net/" + strings.Replace(key, "%", link, 1)
}

// inheritSysctls copies the NIC's settings. A kernel that lacks one lacks it
// for both.
func inheritSysctls(from, to string) {
	for _, key := range inherited {
		value, err := readSysctl(key, from)
		if err != nil {
			continue
		}
		if have, err := readSysctl(key, to); err == nil && have != value {
			_ = writeSysctl(key, to, value) // a setting that cannot be set keeps its default, which is safe
		}
	}
}

func readSysctl(key, link string) (string, error) {
	value, err := os.ReadFile(sysctlPath(key, link))
	return strings.TrimSpace(string(value)), err
}

// writeSysctl sets a value; a kernel without it (IPv6 compiled out) is no error.
func writeSysctl(key, link, value string) error {
	err := os.WriteFile(sysctlPath(key, link), []byte(value+"\n"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

const disableIPv6 = "ipv6/conf/%/disable_ipv6"
