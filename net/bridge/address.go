package bridge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// address is one RTM_NEWADDR message, opened as far as is needed.
type address struct {
	header []byte // struct ifaddrmsg
	attrs  []attribute
}

func parseAddress(m message) (address, error) {
	attrs, err := m.attributes(unix.SizeofIfAddrmsg)
	if err != nil {
		return address{}, err
	}
	return address{slices.Clone(m[:unix.SizeofIfAddrmsg]), attrs}, nil
}

func (a address) message() message { return build(a.header, a.attrs) }
func (a address) family() int      { return int(a.header[0]) }
func (a address) index() int       { return int(u32(a.header[4:8])) }

// prefix is the address with its prefix length.
func (a address) prefix() netip.Prefix {
	ip := find(a.attrs, unix.IFA_LOCAL)
	if ip == nil {
		ip = find(a.attrs, unix.IFA_ADDRESS)
	}
	addr, _ := netip.AddrFromSlice(ip)
	return netip.PrefixFrom(addr, int(a.header[1]))
}

func (a address) flags() uint32 {
	if f := find(a.attrs, unix.IFA_FLAGS); f != nil {
		return u32(f)
	}
	return uint32(a.header[2])
}

// lifetimes are seconds; forever is 2³²-1.
func (a address) lifetimes() (preferred, valid uint32) {
	info := find(a.attrs, unix.IFA_CACHEINFO) // struct ifa_cacheinfo
	if len(info) < 8 {
		return forever, forever
	}
	return u32(info[0:4]), u32(info[4:8])
}

const forever = ^uint32(0)

// on is the same address for another interface, after some of its lifetime
// has passed. ok is false when nothing of it is left.
func (a address) on(index int, from, to string, passed time.Duration) (moved address, ok bool) {
	preferred, valid := a.lifetimes()
	preferred, valid = shorter(preferred, passed), shorter(valid, passed)
	if valid == 0 {
		return address{}, false
	}
	// The rest of the flags is the kernel's to set.
	flags := a.flags() & (unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MCAUTOJOIN)
	if a.family() == unix.AF_INET6 {
		// It was found to be unique a moment ago, on this very wire; a second
		// look would make it unusable for a second.
		flags |= unix.IFA_F_NODAD
	}
	moved.header = slices.Clone(a.header)
	moved.header[2] = byte(flags)
	copy(moved.header[4:8], bytes32(uint32(index)))
	for _, attr := range a.attrs {
		switch attr.kind {
		case unix.IFA_FLAGS, unix.IFA_CACHEINFO:
		case unix.IFA_LABEL:
			label := strings.TrimRight(string(attr.value), "\x00")
			if rest, found := strings.CutPrefix(label, from); found && len(to+rest) <= 15 {
				moved.attrs = append(moved.attrs, attribute{attr.kind, append([]byte(to+rest), 0)})
			}
		default:
			moved.attrs = append(moved.attrs, attr)
		}
	}
	info := slices.Concat(bytes32(preferred), bytes32(valid), bytes32(0), bytes32(0))
	moved.attrs = append(moved.attrs, attribute{unix.IFA_FLAGS, bytes32(flags)}, attribute{unix.IFA_CACHEINFO, info})
	return moved, true
}

func shorter(seconds uint32, passed time.Duration) uint32 {
	if seconds == forever {
		return forever
	}
	gone := uint32(passed / time.Second)
	if gone >= seconds {
		return 0
	}
	return seconds - gone
}

// addressesOn lists the interface's addresses in the kernel's order: for IPv4,
// primaries before their secondaries.
func addressesOn(index int) ([]address, error) {
	all, err := dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, fmt.Errorf("reading addresses: %w", err)
	}
	var mine []address
	for _, m := range all {
		a, err := parseAddress(m)
		if err != nil {
			return nil, err
		}
		if a.index() == index {
			mine = append(mine, a)
		}
	}
	return mine, nil
}

// addAddress puts an address on its interface; one that is there is left.
func addAddress(a address) error {
	err := send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a.message())
	if ignore(err, unix.EEXIST) != nil {
		return fmt.Errorf("adding %s: %w", a.prefix(), err)
	}
	return nil
}

// dropAddress takes an address away; one that is gone already is no error,
// for a secondary may go with its primary.
func dropAddress(a address) error {
	err := send(unix.RTM_DELADDR, 0, a.message())
	if ignore(err, unix.EADDRNOTAVAIL, unix.ENODEV) != nil {
		return fmt.Errorf("removing %s: %w", a.prefix(), err)
	}
	return nil
}

// newAddress is an address as a static configuration or a lease makes it.
func newAddress(index int, prefix netip.Prefix, valid uint32) address {
	family, raw := byte(unix.AF_INET6), prefix.Addr().AsSlice()
	if prefix.Addr().Is4() {
		family = unix.AF_INET
	}
	a := address{header: slices.Concat([]byte{family, byte(prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE}, bytes32(uint32(index)))}
	a.attrs = []attribute{{unix.IFA_LOCAL, raw}, {unix.IFA_ADDRESS, raw}}
	if family == unix.AF_INET && prefix.Bits() < 31 {
		broadcast := slices.Clone(raw)
		for bit := prefix.Bits(); bit < 32; bit++ {
			broadcast[bit/8] |= 1 << (7 - bit%8)
		}
		a.attrs = append(a.attrs, attribute{unix.IFA_BROADCAST, broadcast})
	}
	a.attrs = append(a.attrs, attribute{unix.IFA_CACHEINFO, slices.Concat(bytes32(valid), bytes32(valid), bytes32(0), bytes32(0))})
	return a
}
