package bridge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hvinstall/step"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"golang.org/x/sys/unix"
)

// lease asks for a DHCPv4 lease on the bridge, where no networkd does it: in
// live systems of other makers. It asks for the address that was moved, by the
// same MAC. Nobody renews the lease here; networkd does from the next boot on.
// It returns the DNS servers.
func (p Plan) lease(ctx context.Context, env Env, report step.Reporter, index int) ([]string, error) {
	have, err := globalAddresses(index)
	if err != nil {
		return nil, err
	}
	addresses, err := addressesOn(index)
	if err != nil {
		return nil, err
	}
	var current netip.Addr
	for _, a := range addresses {
		if addr := a.prefix().Addr(); addr.Is4() && !addr.IsLinkLocalUnicast() && !slices.Contains(p.Addresses, a.prefix().String()) {
			current = addr
			break
		}
	}
	timeout := env.Timeout
	if len(have) > 0 {
		// An address is there and works; a server that does not answer is no
		// reason to undo that.
		timeout = min(timeout, 5*time.Second)
	}
	ack, err := p.request(ctx, current, timeout)
	if err != nil {
		if len(have) > 0 && ctx.Err() == nil {
			report.Warn("no DHCP server answered on %s (%v); %s is kept", p.Bridge, err, strings.Join(have, ", "))
			return nil, nil
		}
		return nil, fmt.Errorf("asking for an address on %s: %w; is there a DHCP server on this LAN? Else write addresses in the layout", p.Bridge, err)
	}
	return p.take(ack, current, report, index)
}

func (p Plan) request(ctx context.Context, current netip.Addr, timeout time.Duration) (*dhcpv4.DHCPv4, error) {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return nil, err
	}
	client, err := nclient4.New(p.Bridge, nclient4.WithHWAddr(mac), nclient4.WithTimeout(time.Second), nclient4.WithRetry(max(int(timeout/time.Second), 1)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // the answer is in hand
	// The identity that networkd will use at later boots: the MAC (RFC 2132,
	// 9.14: hardware type 1, then the address).
	modifiers := []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, mac...))),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName),
	}
	if current.IsValid() {
		modifiers = append(modifiers, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(current.AsSlice())))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	offer, err := client.DiscoverOffer(ctx, modifiers...)
	if err != nil {
		return nil, err
	}
	lease, err := client.RequestFromOffer(ctx, offer, modifiers[:2]...)
	if err != nil {
		return nil, err
	}
	return lease.ACK, nil
}

// take puts the lease on the bridge.
func (p Plan) take(ack *dhcpv4.DHCPv4, current netip.Addr, report step.Reporter, index int) ([]string, error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	ones, _ := ack.SubnetMask().Size()
	if !ok || ones == 0 {
		return nil, fmt.Errorf("the DHCP server's answer has no address or no netmask")
	}
	seconds := uint32(min(ack.IPAddressLeaseTime(time.Hour)/time.Second, time.Duration(forever)))
	prefix := netip.PrefixFrom(addr, ones)
	// Replace: the address may be there with less of its lifetime left.
	if err := send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, newAddress(index, prefix, seconds).message()); err != nil {
		return nil, fmt.Errorf("adding the leased %s: %w", prefix, err)
	}
	report.Log("lease %s on %s for %s", prefix, p.Bridge, time.Duration(seconds)*time.Second)
	if current.IsValid() && current != addr {
		report.Warn("the DHCP server gave %s %s instead of %s, which stays until its lease ends", p.Bridge, addr, current)
	}
	if seconds != forever {
		report.Warn("the lease of %s ends at %s; systemd-networkd renews it from the next boot on", addr, time.Now().Add(time.Duration(seconds)*time.Second).Format("15:04"))
	}
	routes, err := routesThrough(index)
	if err != nil {
		return nil, err
	}
	hasDefault := slices.ContainsFunc(routes, func(r route) bool { return r.isDefault() && r.family() == unix.AF_INET })
	if routers := ack.Router(); len(routers) > 0 && !hasDefault && len(p.Gateways) == 0 {
		if gw, ok := netip.AddrFromSlice(routers[0].To4()); ok {
			if err := addRoute(newDefault(index, gw, unix.RTPROT_DHCP, forever)); err != nil {
				return nil, err
			}
		}
	}
	var servers []string
	for _, ip := range ack.DNS() {
		servers = append(servers, ip.String())
	}
	return servers, nil
}
