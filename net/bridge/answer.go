package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// peersOf names who is asked whether the bridge works: the gateways through
// the interface that answered it lately, else all its gateways, else anybody
// in its neighbour table.
func peersOf(index int, routes []route) ([]string, error) {
	neighbours, err := netlink.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("reading the neighbours: %w", err)
	}
	const known = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
	var alive []netip.Addr
	for _, n := range neighbours {
		addr, ok := netip.AddrFromSlice(n.IP)
		if addr = addr.Unmap(); ok && n.State&known != 0 && !addr.IsMulticast() {
			alive = append(alive, addr)
		}
	}
	var gateways, answering []netip.Addr
	for _, r := range routes {
		if !r.isDefault() {
			continue
		}
		for _, gw := range r.gateways(index) {
			gateways = append(gateways, gw)
			if slices.Contains(alive, gw) {
				answering = append(answering, gw)
			}
		}
	}
	peers := alive
	if len(gateways) > 0 {
		peers = gateways
	}
	if len(answering) > 0 {
		peers = answering
	}
	var names []string
	for _, a := range peers {
		if name := a.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// NoAnswer is a LAN that stays silent on the bridge.
type NoAnswer struct {
	Bridge string
	Peers  []string
	After  time.Duration
}

func (e *NoAnswer) Error() string {
	return fmt.Sprintf("%s did not answer from %s within %s", strings.Join(e.Peers, ", "), e.Bridge, e.After)
}

// awaitAnswer asks the peers by ARP or neighbour discovery through the
// interface until one answers. It returns who did.
func awaitAnswer(ctx context.Context, bridge string, index int, peers []string, timeout time.Duration) (string, error) {
	deadline := time.Now().Add(timeout)
	for first := true; ; first = false {
		who, err := answered(index, peers)
		if err != nil || who != "" {
			return who, err
		}
		// A question that nobody answered ends as FAILED after three tries, and
		// is asked anew.
		if err := ask(index, peers, first); err != nil {
			return "", err
		}
		if time.Now().After(deadline) {
			return "", &NoAnswer{bridge, peers, timeout}
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answered finds a peer that the kernel knows to be reachable now.
func answered(index int, peers []string) (string, error) {
	neighbours, err := netlink.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("reading the neighbours: %w", err)
	}
	for _, n := range neighbours {
		if n.State&netlink.NUD_REACHABLE == 0 {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok && slices.Contains(peers, addr.Unmap().String()) {
			return addr.Unmap().String(), nil
		}
	}
	return "", nil
}

// ask makes the kernel resolve each peer. An old entry is thrown away first:
// only what answers now counts.
func ask(index int, peers []string, first bool) error {
	for _, peer := range peers {
		addr, err := netip.ParseAddr(peer)
		if err != nil {
			return fmt.Errorf("peer %q: %w", peer, err)
		}
		entry := &netlink.Neigh{LinkIndex: index, Family: netlink.FAMILY_V6, IP: addr.AsSlice()}
		if addr.Is4() {
			entry.Family = netlink.FAMILY_V4
		}
		if first {
			_ = netlink.NeighDel(entry) // mostly there is none
		}
		entry.Flags = netlink.NTF_USE
		err = netlink.NeighSet(entry)
		if ignore(err, unix.ENETDOWN, unix.ENOBUFS, unix.EINVAL) != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("asking for %s: %w", peer, err)
		}
	}
	return nil
}

// forgetNeighbours empties the interface's neighbour table, so that nothing
// more is sent out of it beside the bridge: a DHCP client that is stopped would
// release the address that the bridge now has.
func forgetNeighbours(index int) {
	neighbours, err := netlink.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return
	}
	for i := range neighbours {
		_ = netlink.NeighDel(&neighbours[i]) // it ages out by itself
	}
}
