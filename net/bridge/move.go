package bridge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// move makes the bridge and moves the NIC's addresses and routes to it, in the
// order that leaves the shortest gap:
//
//   - the bridge is made with everything on it while it is down, which nobody
//     notices;
//   - the NIC becomes its port and the bridge comes up, port first, so that the
//     bridge has a carrier when it comes up and sends at once (a bridge that
//     gets its carrier later waits up to a second for the kernel's link watch);
//     packets still leave by the NIC, which a port may do;
//   - each route is put on the bridge before it is taken from the NIC;
//   - last, the NIC loses its addresses.
//
// It starts from whatever is there, so that it also finishes a move that was
// interrupted.
func (p Plan) move() error {
	nic, err := linkByName(p.NIC)
	if err != nil {
		return err
	}
	if nic == nil {
		return fmt.Errorf("interface %s is gone; run again when it is back", p.NIC)
	}
	nicIndex := nic.Attrs().Index
	if p.MTU > 0 && nic.Attrs().MTU != p.MTU {
		if err := netlink.LinkSetMTU(nic, p.MTU); err != nil {
			return fmt.Errorf("setting the MTU of %s to %d: %w; choose one that the card can do", p.NIC, p.MTU, err)
		}
	}
	bridge, err := p.prepareBridge(nic)
	if err != nil {
		return err
	}
	index := bridge.Attrs().Index
	addresses, err := addressesOn(nicIndex)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if moved, ok := a.on(index, p.NIC, p.Bridge, 0); ok {
			if err := addAddress(moved); err != nil {
				return err
			}
		}
	}
	if nic.Attrs().MasterIndex != index {
		if err := netlink.LinkSetMasterByIndex(nic, index); err != nil {
			return fmt.Errorf("making %s a port of %s: %w; is another program (a macvlan, Open vSwitch) using the card?", p.NIC, p.Bridge, err)
		}
	}
	for _, link := range []netlink.Link{bridge, nic} {
		if link.Attrs().RawFlags&unix.IFF_UP == 0 {
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("bringing up %s: %w", link.Attrs().Name, err)
			}
		}
	}
	if err := moveRoutes(nicIndex, index); err != nil {
		return err
	}
	if err := p.strip(nicIndex); err != nil {
		return err
	}
	return p.configureStatic(index)
}

// prepareBridge makes the bridge or brings one that is there into shape.
func (p Plan) prepareBridge(nic netlink.Link) (netlink.Link, error) {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return nil, fmt.Errorf("MAC of %s: %w", p.Bridge, err)
	}
	bridge, err := linkByName(p.Bridge)
	if err != nil {
		return nil, err
	}
	if bridge == nil {
		mtu := nic.Attrs().MTU
		if p.MTU > 0 {
			mtu = p.MTU
		}
		if err := newBridge(p.Bridge, mac, mtu); err != nil {
			return nil, fmt.Errorf("making the bridge %s: %w", p.Bridge, err)
		}
		inheritSysctls(p.NIC, p.Bridge)
		return netlink.LinkByName(p.Bridge)
	}
	index := bridge.Attrs().Index
	if on, err := stpOn(index); err != nil {
		return nil, err
	} else if on {
		if err := stpOff(index); err != nil {
			return nil, fmt.Errorf("switching STP off on %s: %w", p.Bridge, err)
		}
	}
	if bridge.Attrs().HardwareAddr.String() != p.MAC {
		if err := netlink.LinkSetHardwareAddr(bridge, mac); err != nil {
			return nil, fmt.Errorf("giving %s the MAC %s: %w", p.Bridge, p.MAC, err)
		}
	}
	if p.MTU > 0 && bridge.Attrs().MTU != p.MTU && nic.Attrs().MasterIndex == index {
		if err := netlink.LinkSetMTU(bridge, p.MTU); err != nil {
			return nil, fmt.Errorf("setting the MTU of %s to %d: %w; all its ports must be able to carry it", p.Bridge, p.MTU, err)
		}
	}
	return bridge, nil
}

// moveRoutes adds all before it drops any, so that at every moment, also that
// of a crash, each route is there.
func moveRoutes(from, to int) error {
	routes, err := routesThrough(from)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := addRoute(r.on(from, to)); err != nil {
			return err
		}
	}
	for _, r := range routes {
		if err := dropRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// strip takes every address from the NIC: a port has none.
func (p Plan) strip(nicIndex int) error {
	addresses, err := addressesOn(nicIndex)
	if err != nil {
		return err
	}
	slices.Reverse(addresses) // secondaries before their primary
	for _, a := range addresses {
		if err := dropAddress(a); err != nil {
			return err
		}
	}
	// The kernel would make a link-local address again at the next carrier.
	if value, err := readSysctl(disableIPv6, p.NIC); err == nil && value != "1" {
		if err := writeSysctl(disableIPv6, p.NIC, "1"); err != nil {
			return fmt.Errorf("switching IPv6 off on %s: %w", p.NIC, err)
		}
	}
	forgetNeighbours(nicIndex)
	return nil
}

// configureStatic adds the layout's own addresses and gateways. What was on
// the NIC stays beside them until the next boot, for the sessions that use it.
func (p Plan) configureStatic(index int) error {
	missing, err := p.missingAddresses(index)
	if err != nil {
		return err
	}
	for _, prefix := range missing {
		if err := addAddress(newAddress(index, prefix, forever)); err != nil {
			return err
		}
	}
	gateways, err := p.missingGateways(index)
	if err != nil {
		return err
	}
	for _, gw := range gateways {
		if err := addRoute(newDefault(index, gw, unix.RTPROT_STATIC, forever)); err != nil {
			return fmt.Errorf("default gateway %s: %w; is it in the network of one of the addresses?", gw, err)
		}
	}
	return nil
}

func (p Plan) missingAddresses(index int) ([]netip.Prefix, error) {
	have, err := addressesOn(index)
	if err != nil {
		return nil, err
	}
	var missing []netip.Prefix
	for _, text := range p.Addresses {
		want, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", text, err)
		}
		if !slices.ContainsFunc(have, func(a address) bool { return a.prefix() == want }) {
			missing = append(missing, want)
		}
	}
	return missing, nil
}

func (p Plan) missingGateways(index int) ([]netip.Addr, error) {
	routes, err := routesThrough(index)
	if err != nil {
		return nil, err
	}
	var missing []netip.Addr
	for _, text := range p.Gateways {
		want, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("gateway %q: %w", text, err)
		}
		if !slices.ContainsFunc(routes, func(r route) bool { return r.isDefault() && slices.Contains(r.gateways(index), want) }) {
			missing = append(missing, want)
		}
	}
	return missing, nil
}

// InUse is an address of the layout that another machine of the LAN has.
type InUse struct{ Address netip.Prefix }

func (e *InUse) Error() string {
	return fmt.Sprintf("%s is in use by another machine on this LAN; choose another address in the layout", e.Address)
}

// awaitUnique waits for the kernel's check that no other machine has one of
// the IPv6 addresses (RFC 4862, 5.4); until it ends they cannot be used.
func (p Plan) awaitUnique(ctx context.Context, index int) error {
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		addresses, err := addressesOn(index)
		if err != nil {
			return err
		}
		waiting := false
		for _, a := range addresses {
			if a.flags()&unix.IFA_F_DADFAILED != 0 && slices.Contains(p.Addresses, a.prefix().String()) {
				return &InUse{a.prefix()}
			}
			waiting = waiting || a.flags()&(unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC) == unix.IFA_F_TENTATIVE
		}
		if !waiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
