package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Probe reads the machine's network interfaces, addresses, default routes and
// DNS servers. It needs no root and changes nothing.
func Probe(ctx context.Context) (Facts, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return Facts{}, fmt.Errorf("listing network interfaces: %w", err)
	}
	var facts Facts
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback != 0 {
			continue
		}
		n := sysNIC("/sys/class/net/", l.Attrs().Name)
		n.fromLink(l, names)
		if err := n.readAddresses(l); err != nil {
			facts.Unseen = append(facts.Unseen, fmt.Sprintf("addresses of %s: %v", n.Name, err))
		}
		facts.NICs = append(facts.NICs, n)
	}
	if err := readGateways(facts.NICs, names); err != nil {
		facts.Unseen = append(facts.Unseen, fmt.Sprintf("default routes: %v", err))
	}
	facts.DNS = readDNS("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")
	slices.SortStableFunc(facts.NICs, func(a, b NIC) int { return strings.Compare(a.Name, b.Name) })
	return facts, context.Cause(ctx)
}

// fromLink takes from netlink what the kernel tells there.
func (n *NIC) fromLink(l netlink.Link, names map[int]string) {
	a := l.Attrs()
	n.MAC = a.HardwareAddr.String()
	if mac := a.PermHWAddr; len(mac) == 6 && slices.ContainsFunc(mac, func(b byte) bool { return b != 0 }) {
		n.PermanentMAC = mac.String()
	}
	n.Up = a.Flags&net.FlagUp != 0
	n.Carrier = a.RawFlags&unix.IFF_LOWER_UP != 0
	n.MTU = a.MTU
	n.Master = names[a.MasterIndex]
	if n.Kind == "" {
		n.Kind = kindOf(l.Type())
	}
}

// kindOf puts the kernel's link types into the few that matter here. A device
// without a type and without a bus is another kernel-made one.
func kindOf(linkType string) string {
	switch linkType {
	case "bridge", "bond", "vlan", "veth":
		return linkType
	case "tuntap", "tun", "macvtap":
		return "tun"
	}
	return "other"
}

// readAddresses lists the addresses that people give: no link-local IPv6.
func (n *NIC) readAddresses(l netlink.Link) error {
	addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.IP.To4() == nil && a.IP.IsLinkLocalUnicast() {
			continue
		}
		n.Addresses = append(n.Addresses, a.IPNet.String())
	}
	slices.Sort(n.Addresses)
	return nil
}

// readGateways finds the default routes of the main table, those of several
// paths too.
func readGateways(nics []NIC, names map[int]string) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	add := func(index int, gateway net.IP) {
		for i := range nics {
			if nics[i].Name == names[index] && gateway != nil && !slices.Contains(nics[i].Gateways, gateway.String()) {
				nics[i].Gateways = append(nics[i].Gateways, gateway.String())
			}
		}
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		add(r.LinkIndex, r.Gw)
		for _, path := range r.MultiPath {
			add(path.LinkIndex, path.Gw)
		}
	}
	return nil
}

// sysNIC reads what sysfs tells of an interface; classes is /sys/class/net/.
func sysNIC(classes, name string) NIC {
	folder := classes + name
	n := NIC{Name: name}
	exists := func(p string) bool { _, err := os.Stat(folder + p); return err == nil }
	if device, err := filepath.EvalSymlinks(folder + "/device"); err == nil {
		n.Kind = "physical"
		n.Bus = busName(folder+"/device", device)
		if driver, err := os.Readlink(folder + "/device/driver"); err == nil {
			n.Driver = filepath.Base(driver)
		}
	}
	if exists("/phy80211") || exists("/wireless") {
		n.Kind = "wireless"
	}
	// Without a carrier, reading the speed is an error, and some drivers say -1.
	if b, err := os.ReadFile(folder + "/speed"); err == nil {
		if speed, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && speed > 0 && speed < 10_000_000 {
			n.SpeedMbit = speed
		}
	}
	return n
}

// busName is udev's form of a device's place: pci-0000:05:00.0. A virtio NIC
// is called by the PCI device that it is on.
func busName(link, device string) string {
	bus := "device"
	if subsystem, err := os.Readlink(link + "/subsystem"); err == nil {
		bus = filepath.Base(subsystem)
	}
	if bus == "virtio" {
		parent := filepath.Dir(device)
		if subsystem, err := os.Readlink(parent + "/subsystem"); err == nil {
			bus, device = filepath.Base(subsystem), parent
		}
	}
	return bus + "-" + filepath.Base(device)
}

// readDNS lists the servers of the first file that has any that are not a
// local stub.
func readDNS(paths ...string) []string {
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if servers := parseResolv(string(b)); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

func parseResolv(text string) []string {
	var servers []string
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		address, _, _ := strings.Cut(fields[1], "%")
		if ip := net.ParseIP(address); ip != nil && !ip.IsLoopback() && !slices.Contains(servers, fields[1]) {
			servers = append(servers, fields[1])
		}
	}
	return servers
}
