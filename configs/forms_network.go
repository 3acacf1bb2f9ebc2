package configs

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func fixInterface(text string) string {
	if len(text) > 15 {
		return fmt.Sprintf("it has %d bytes; Linux allows 15", len(text))
	}
	return ""
}

func checkMAC(text string) (string, string) {
	first, err := strconv.ParseUint(text[:2], 16, 8)
	switch {
	case err != nil:
		return "not a MAC address", ""
	case first&1 != 0:
		return fmt.Sprintf("%s is a multicast address", text), fmt.Sprintf("the first byte must be even, as in %02x%s", first&^1, text[2:])
	case strings.Trim(text, "0:") == "":
		return fmt.Sprintf("%s is no card's address", text), ""
	}
	return "", ""
}

func fixMAC(text string) string {
	digits := strings.NewReplacer("-", "", ".", "", ":", "", " ", "").Replace(text)
	if ok, err := regexp.MatchString(`^`+hex+`{12}$`, digits); !ok || err != nil {
		return ""
	}
	var pairs []string
	for i := 0; i < 12; i += 2 {
		pairs = append(pairs, strings.ToLower(digits[i:i+2]))
	}
	return "write " + strings.Join(pairs, ":")
}

func checkNetwork(text string) (string, string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Sprintf("%s is not a network", quote(text)), "write it like 192.168.1.0/24 or fd00:1::/64"
	}
	if p.Addr().Is4In6() {
		return fmt.Sprintf("%s is an IPv4 network in IPv6 dress", text), "write the IPv4 network"
	}
	if p.Masked() != p {
		return fmt.Sprintf("%s has address bits behind its prefix", text), fmt.Sprintf("the network is %s; the single host is %s", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return "", ""
}

func fixNetwork(text string) string {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return fmt.Sprintf("for this one address write %s", netip.PrefixFrom(a, a.BitLen()))
	}
	return ""
}

func checkAddress(text string) (string, string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Sprintf("%s is not an address with its prefix length", quote(text)), "write it like 192.168.1.10/24"
	}
	a := p.Addr()
	if problem := unusable(a); problem != "" {
		return problem, ""
	}
	if a.Is4() && p.Bits() < 31 {
		last := lastAddress(p)
		if a == p.Masked().Addr() {
			return fmt.Sprintf("%s is the network itself, not an address in it", text), ""
		}
		if a == last {
			return fmt.Sprintf("%s is the network's broadcast address", text), ""
		}
	}
	if p.Bits() == 0 {
		return fmt.Sprintf("%s says that the whole world is on the LAN", text), "write the LAN's prefix length, as in /24"
	}
	return "", ""
}

// lastAddress is the highest address of an IPv4 network.
func lastAddress(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func fixAddress(text string) string {
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return fmt.Sprintf("add the prefix length: %s/24", a)
	} else if err == nil && a.Zone() == "" {
		return fmt.Sprintf("add the prefix length: %s/64", a)
	}
	return ""
}

func unusable(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return fmt.Sprintf("%s is no host's address", a)
	case a.IsMulticast():
		return fmt.Sprintf("%s is a multicast address", a)
	case a.IsLoopback():
		return fmt.Sprintf("%s is the loopback", a)
	case a.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address in IPv6 dress", a)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s is the broadcast address", a)
	}
	return ""
}

func checkIP(text string) (string, string) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return fmt.Sprintf("%s is not an IP address", quote(text)), ""
	}
	if a.IsLoopback() {
		return "", "" // a resolver on the host itself
	}
	return unusable(a), ""
}

// nfsOptions are those of exports(5) that a layout may give.
var nfsOptions = []string{
	"rw", "ro", "sync", "async", "no_subtree_check", "subtree_check", "secure", "insecure", "wdelay", "no_wdelay",
	"hide", "nohide", "crossmnt", "no_auth_nlm", "auth_nlm", "insecure_locks", "secure_locks", "mountpoint", "mp",
	"no_acl", "acl", "nordirplus", "pnfs", "no_pnfs", "security_label", "anonuid", "anongid", "sec", "xprtsec",
}

func checkNFSOption(text string) (string, string) {
	word, value, hasValue := strings.Cut(text, "=")
	switch word {
	case "root_squash", "no_root_squash", "all_squash", "no_all_squash":
		return fmt.Sprintf("%s is not an option here", word), "write squash: " + strings.Replace(word, "no_all_squash", "root_squash", 1)
	case "fsid":
		return "fsid is not an option here", "hvinstall gives each export a stable one"
	case "anonuid", "anongid":
		if _, err := strconv.ParseUint(value, 10, 32); err != nil {
			return fmt.Sprintf("%s takes a number, as in %s=65534", word, word), ""
		}
		return "", ""
	case "sec", "xprtsec":
		if value == "" {
			return fmt.Sprintf("%s takes a value, as in sec=sys", word), ""
		}
		return "", ""
	case "mountpoint", "mp":
		return fmt.Sprintf("%s is not an option here", word), "hvinstall exports only what is on its mounted pool"
	}
	if slices.Contains(nfsOptions, word) {
		if hasValue {
			return fmt.Sprintf("%s takes no value", word), ""
		}
		return "", ""
	}
	return fmt.Sprintf("unknown option %s", quote(text)), didYouMean(word, nfsOptions)
}

func checkOwner(text string) (string, string) {
	if text[0] >= '0' && text[0] <= '9' {
		// 4294967295 is (uid_t)-1, which chown takes as "leave it".
		if n, err := strconv.ParseUint(text, 10, 32); err != nil || n >= 1<<32-1 {
			return fmt.Sprintf("%s is larger than any uid", text), ""
		}
	}
	return "", ""
}
