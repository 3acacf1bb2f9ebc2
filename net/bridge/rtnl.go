package bridge

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// message is the body of an rtnetlink message as the kernel printed it: a
// fixed header and attributes, see rtnetlink(7). Addresses and routes are moved
// as messages with only the interface changed, so that what this program does
// not know of them (metrics, lifetimes, protocols, tables) moves along.
type message []byte

type attribute struct {
	kind  uint16
	value []byte
}

func (m message) attributes(header int) ([]attribute, error) {
	if len(m) < header {
		return nil, fmt.Errorf("rtnetlink message of %d bytes is cut short", len(m))
	}
	raw, err := nl.ParseRouteAttr(m[header:])
	if err != nil {
		return nil, fmt.Errorf("reading an rtnetlink message: %w", err)
	}
	attrs := make([]attribute, 0, len(raw))
	for _, a := range raw {
		attrs = append(attrs, attribute{a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), a.Value})
	}
	return attrs, nil
}

func build(header []byte, attrs []attribute) message {
	m := slices.Clone(header)
	for _, a := range attrs {
		m = append(m, nl.NewRtAttr(int(a.kind), a.value).Serialize()...)
		for len(m)%unix.NLMSG_ALIGNTO != 0 {
			m = append(m, 0)
		}
	}
	return m
}

func find(attrs []attribute, kind uint16) []byte {
	for _, a := range attrs {
		if a.kind == kind {
			return a.value
		}
	}
	return nil
}

var native = nl.NativeEndian()

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return native.Uint32(b)
}

func bytes32(v uint32) []byte { return nl.Uint32Attr(v) }

// send carries one message out. It is the only place that changes addresses
// and routes.
func send(kind, flags int, m message) error {
	request := nl.NewNetlinkRequest(kind, unix.NLM_F_ACK|flags)
	request.AddRawData(m)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// dump reads all messages of a kind; the kernel says when the table changed
// while it was read, and then it is read again.
func dump(kind int, reply uint16, header []byte) ([]message, error) {
	for tries := 0; ; tries++ {
		request := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
		request.AddRawData(header)
		raw, err := request.Execute(unix.NETLINK_ROUTE, reply)
		if errors.Is(err, netlink.ErrDumpInterrupted) && tries < 20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages := make([]message, len(raw))
		for i := range raw {
			messages[i] = slices.Clone(raw[i])
		}
		return messages, nil
	}
}

// newBridge makes the bridge, down: STP off and no forwarding delay, so that
// its port forwards at once.
func newBridge(name string, mac []byte, mtu int) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
	request.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
	request.AddData(bridgeOptions(nl.IFLA_BR_STP_STATE, nl.IFLA_BR_FORWARD_DELAY))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// stpOff switches STP off on a bridge that is there.
func stpOff(index int) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	request.AddData(header)
	// Alone: while STP is on, the kernel refuses a forwarding delay of 0.
	request.AddData(bridgeOptions(nl.IFLA_BR_STP_STATE))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// bridgeOptions sets options of a bridge to 0.
func bridgeOptions(options ...int) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	for _, option := range options {
		data.AddRtAttr(option, nl.Uint32Attr(0))
	}
	return info
}

// stpOn reports whether a bridge runs STP.
func stpOn(index int) (bool, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	request.AddData(header)
	raw, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return false, fmt.Errorf("reading the bridge's options: %w", err)
	}
	if len(raw) == 0 {
		return false, errors.New("the kernel tells no options of the bridge")
	}
	attrs, err := message(raw[0]).attributes(unix.SizeofIfInfomsg)
	if err != nil {
		return false, err
	}
	for _, kind := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_DATA} {
		if attrs, err = message(find(attrs, kind)).attributes(0); err != nil {
			return false, err
		}
	}
	return u32(find(attrs, nl.IFLA_BR_STP_STATE)) != 0, nil
}

// linkByName returns nil for an interface that is not there.
func linkByName(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil // absent is an answer here, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("looking for interface %s: %w", name, err)
	}
	return link, nil
}

func ignore(err error, errnos ...syscall.Errno) error {
	for _, errno := range errnos {
		if errors.Is(err, errno) {
			return nil
		}
	}
	return err
}
