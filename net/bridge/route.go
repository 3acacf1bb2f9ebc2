package bridge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// route is one RTM_NEWROUTE message, opened as far as is needed.
type route struct {
	header []byte // struct rtmsg
	attrs  []attribute
}

func parseRoute(m message) (route, error) {
	attrs, err := m.attributes(unix.SizeofRtMsg)
	if err != nil {
		return route{}, err
	}
	return route{slices.Clone(m[:unix.SizeofRtMsg]), attrs}, nil
}

func (r route) message() message { return build(r.header, r.attrs) }
func (r route) family() int      { return int(r.header[0]) }
func (r route) protocol() int    { return int(r.header[5]) }
func (r route) kind() int        { return int(r.header[7]) }

func (r route) table() uint32 {
	if t := find(r.attrs, unix.RTA_TABLE); t != nil {
		return u32(t)
	}
	return uint32(r.header[4])
}

func (r route) destination() netip.Prefix {
	addr, ok := netip.AddrFromSlice(find(r.attrs, unix.RTA_DST))
	if !ok {
		addr = netip.IPv6Unspecified()
		if r.family() == unix.AF_INET {
			addr = netip.IPv4Unspecified()
		}
	}
	return netip.PrefixFrom(addr, int(r.header[1]))
}

func (r route) isDefault() bool {
	return r.header[1] == 0 && r.kind() == unix.RTN_UNICAST && r.table() == unix.RT_TABLE_MAIN
}

// key tells routes of one interface apart.
func (r route) key(index int) string {
	return fmt.Sprint(r.destination(), r.table(), u32(find(r.attrs, unix.RTA_PRIORITY)), r.gateways(index))
}

// gateways are the next hops through an interface.
func (r route) gateways(index int) []netip.Addr {
	var hops []netip.Addr
	if gw, ok := netip.AddrFromSlice(find(r.attrs, unix.RTA_GATEWAY)); ok && r.through(index) {
		hops = append(hops, gw)
	}
	if via := find(r.attrs, unix.RTA_VIA); len(via) > 2 && r.through(index) { // struct rtvia: family, address
		if gw, ok := netip.AddrFromSlice(via[2:]); ok {
			hops = append(hops, gw)
		}
	}
	eachHop(find(r.attrs, unix.RTA_MULTIPATH), func(hop []byte) {
		if int(u32(hop[4:8])) != index {
			return
		}
		attrs, err := message(hop).attributes(unix.SizeofRtNexthop)
		if err != nil {
			return
		}
		if gw, ok := netip.AddrFromSlice(find(attrs, unix.RTA_GATEWAY)); ok {
			hops = append(hops, gw)
		}
	})
	return hops
}

// through reports whether the route, or one of its hops, leaves by the
// interface.
func (r route) through(index int) bool {
	if int(u32(find(r.attrs, unix.RTA_OIF))) == index {
		return true
	}
	found := false
	eachHop(find(r.attrs, unix.RTA_MULTIPATH), func(hop []byte) { found = found || int(u32(hop[4:8])) == index })
	return found
}

// eachHop walks the struct rtnexthop list of RTA_MULTIPATH.
func eachHop(hops []byte, visit func(hop []byte)) {
	for len(hops) >= unix.SizeofRtNexthop {
		size := int(native.Uint16(hops[0:2]))
		if size < unix.SizeofRtNexthop || size > len(hops) {
			return
		}
		visit(hops[:size])
		hops = hops[min((size+3)&^3, len(hops)):]
	}
}

// hops takes an IPv6 route of several hops apart. To the kernel these are
// routes of their own that happen to have one destination and metric, so that a
// route that is added beside the NIC's becomes a hop of it, and deleting the
// whole would delete both. An IPv4 route is one, with all its hops.
func (r route) hops() []route {
	multipath := find(r.attrs, unix.RTA_MULTIPATH)
	if r.family() != unix.AF_INET6 || multipath == nil {
		return []route{r}
	}
	var singles []route
	eachHop(multipath, func(hop []byte) {
		single := route{header: slices.Clone(r.header)}
		copy(single.header[8:12], bytes32(uint32(hop[2]&unix.RTNH_F_ONLINK)))
		for _, attr := range r.attrs {
			if attr.kind != unix.RTA_MULTIPATH {
				single.attrs = append(single.attrs, attr)
			}
		}
		single.attrs = append(single.attrs, attribute{unix.RTA_OIF, slices.Clone(hop[4:8])})
		if attrs, err := message(hop).attributes(unix.SizeofRtNexthop); err == nil {
			single.attrs = append(single.attrs, attrs...)
		}
		singles = append(singles, single)
	})
	return singles
}

// made reports whether the kernel makes the route by itself where an address
// is added: it needs no moving.
func (r route) made() bool {
	return r.kind() != unix.RTN_UNICAST || r.protocol() == unix.RTPROT_KERNEL ||
		native.Uint32(r.header[8:12])&unix.RTM_F_CLONED != 0 || r.table() == unix.RT_TABLE_LOCAL
}

// on is the same route through another interface.
func (r route) on(from, to int) route {
	moved := route{header: slices.Clone(r.header)}
	flags := native.Uint32(r.header[8:12]) & unix.RTNH_F_ONLINK
	copy(moved.header[8:12], bytes32(flags))
	for _, attr := range r.attrs {
		switch attr.kind {
		case unix.RTA_OIF:
			attr.value = bytes32(uint32(to))
		case unix.RTA_MULTIPATH:
			attr.value = slices.Clone(attr.value)
			eachHop(attr.value, func(hop []byte) {
				hop[2] &= unix.RTNH_F_ONLINK
				if int(u32(hop[4:8])) == from {
					copy(hop[4:8], bytes32(uint32(to)))
				}
			})
		case unix.RTA_CACHEINFO:
			// A route from a router advertisement ends some day; the kernel tells
			// when in ticks of 1/100 s (struct rta_cacheinfo).
			if expires := int32(u32(tail(attr.value, 8))); r.family() == unix.AF_INET6 && expires > 0 {
				moved.attrs = append(moved.attrs, attribute{unix.RTA_EXPIRES, bytes32(uint32(max(expires/100, 1)))})
			}
			continue
		case rtaNHID:
			continue // a nexthop object belongs to the old interface; its hop is in the message too
		}
		moved.attrs = append(moved.attrs, attr)
	}
	return moved
}

func tail(b []byte, from int) []byte {
	if len(b) < from {
		return nil
	}
	return b[from:]
}

// routesThrough lists the routes of an interface that must be moved, in an
// order in which they can be added: the way to a gateway before the gateway.
func routesThrough(index int) ([]route, error) {
	all, err := dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, make([]byte, unix.SizeofRtMsg))
	if err != nil {
		return nil, fmt.Errorf("reading routes: %w", err)
	}
	var mine []route
	for _, m := range all {
		r, err := parseRoute(m)
		if err != nil {
			return nil, err
		}
		if r.made() {
			continue
		}
		for _, single := range r.hops() {
			if single.through(index) {
				mine = append(mine, single)
			}
		}
	}
	slices.SortStableFunc(mine, func(a, b route) int {
		return cmp.Compare(len(a.gateways(index)), len(b.gateways(index)))
	})
	return mine, nil
}

// addRoute puts a route before others to the same destination. IPv4 keeps
// routes of one destination and metric side by side and uses the first; a
// replace would hit the first, which may be another card's.
func addRoute(r route) error {
	flags := unix.NLM_F_CREATE
	if r.family() == unix.AF_INET6 {
		flags |= unix.NLM_F_APPEND
	}
	err := send(unix.RTM_NEWROUTE, flags, r.message())
	if ignore(err, unix.EEXIST) != nil {
		return fmt.Errorf("adding the route to %s: %w", r.destination(), err)
	}
	return nil
}

// dropRoute takes a route away; one that is gone already is no error.
func dropRoute(r route) error {
	err := send(unix.RTM_DELROUTE, 0, r.message())
	if ignore(err, unix.ESRCH, unix.ENODEV) != nil {
		return fmt.Errorf("removing the route to %s: %w", r.destination(), err)
	}
	return nil
}

// newDefault is a default route as a static configuration or a lease makes it.
func newDefault(index int, gateway netip.Addr, protocol byte, seconds uint32) route {
	family := byte(unix.AF_INET6)
	if gateway.Is4() {
		family = unix.AF_INET
	}
	r := route{header: make([]byte, unix.SizeofRtMsg)}
	r.header[0], r.header[4], r.header[5] = family, unix.RT_TABLE_MAIN, protocol
	r.header[6], r.header[7] = unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	r.attrs = []attribute{{unix.RTA_OIF, bytes32(uint32(index))}, {unix.RTA_GATEWAY, gateway.AsSlice()}}
	if seconds != forever && family == unix.AF_INET6 {
		r.attrs = append(r.attrs, attribute{unix.RTA_EXPIRES, bytes32(seconds)})
	}
	return r
}

const rtaNHID = 30 // RTA_NH_ID of linux/rtnetlink.h
