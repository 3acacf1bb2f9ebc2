package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"hvinstall/host"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// former is how things were before the move: what a rollback restores. It is
// kept in a file while the move is under way, so that a run after a crash
// still knows it; a reboot, which ends both, loses nothing.
type former struct {
	Bridge string    `json:"bridge"`
	NIC    string    `json:"nic"`
	Time   time.Time `json:"time"` // lifetimes count from here

	BridgeExisted bool      `json:"bridge_existed"`
	BridgeMAC     string    `json:"bridge_mac,omitempty"`
	BridgeUp      bool      `json:"bridge_up"`
	BridgeOwn     []message `json:"bridge_own,omitempty"` // addresses that were the bridge's own
	BridgeRoutes  []message `json:"bridge_routes,omitempty"`

	NICUp       bool      `json:"nic_up"`
	NICMTU      int       `json:"nic_mtu"`
	Enslaved    bool      `json:"enslaved"`
	Addresses   []message `json:"addresses,omitempty"`
	Routes      []message `json:"routes,omitempty"`
	Peers       []string  `json:"peers,omitempty"` // who answered the NIC
	DisableIPv6 string    `json:"disable_ipv6,omitempty"`

	// Files are what the hand-over to networkd overwrites; nil: was not there.
	Files map[string]*string `json:"files,omitempty"`
}

func formerFile(env Env, bridge string) string {
	return filepath.Join(env.State, "net-"+bridge+".json")
}

// loadFormer returns nil when no move was interrupted.
func loadFormer(env Env, bridge string) (*former, error) {
	text, err := os.ReadFile(formerFile(env, bridge))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // absent is an answer here, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("reading how the network was: %w", err)
	}
	var f former
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("reading how the network was: %w; remove %s when the network is right", err, formerFile(env, bridge))
	}
	return &f, nil
}

func (f *former) save(env Env) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return host.WriteFile(formerFile(env, f.Bridge), text, 0o600)
}

// look records how things are.
func (p Plan) look() (*former, error) {
	nic, err := linkByName(p.NIC)
	if err != nil {
		return nil, err
	}
	if nic == nil {
		return nil, fmt.Errorf("interface %s is gone; run again when it is back", p.NIC)
	}
	bridge, err := linkByName(p.Bridge)
	if err != nil {
		return nil, err
	}
	attrs := nic.Attrs()
	f := &former{
		Bridge: p.Bridge, NIC: p.NIC, Time: time.Now(),
		NICUp: attrs.RawFlags&unix.IFF_UP != 0, NICMTU: attrs.MTU,
	}
	if bridge != nil {
		f.BridgeExisted, f.BridgeMAC = true, bridge.Attrs().HardwareAddr.String()
		f.BridgeUp = bridge.Attrs().RawFlags&unix.IFF_UP != 0
		f.Enslaved = attrs.MasterIndex == bridge.Attrs().Index
		own, err := addressesOn(bridge.Attrs().Index)
		if err != nil {
			return nil, err
		}
		for _, a := range own {
			f.BridgeOwn = append(f.BridgeOwn, a.message())
		}
		routes, err := routesThrough(bridge.Attrs().Index)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			f.BridgeRoutes = append(f.BridgeRoutes, r.message())
		}
	}
	addresses, err := addressesOn(attrs.Index)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		f.Addresses = append(f.Addresses, a.message())
	}
	routes, err := routesThrough(attrs.Index)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		f.Routes = append(f.Routes, r.message())
	}
	if f.Peers, err = peersOf(attrs.Index, routes); err != nil {
		return nil, err
	}
	f.DisableIPv6, _ = readSysctl(disableIPv6, p.NIC) // a kernel without IPv6 has nothing to restore
	return f, nil
}

// restore puts everything back. It may be run twice, and after a move that
// came to any point.
func (f *former) restore() error {
	nic, err := linkByName(f.NIC)
	if err != nil {
		return err
	}
	if nic == nil {
		return fmt.Errorf("interface %s is gone; nothing can be put back", f.NIC)
	}
	bridge, err := linkByName(f.Bridge)
	if err != nil {
		return err
	}
	var problems []error
	keep := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	if f.DisableIPv6 != "" {
		keep(writeSysctl(disableIPv6, f.NIC, f.DisableIPv6))
	}
	if f.NICUp {
		keep(netlink.LinkSetUp(nic))
	}
	index, passed := nic.Attrs().Index, time.Since(f.Time)
	keep(f.restoreAddresses(index, passed))
	keep(f.restoreRoutes(index))
	if bridge != nil {
		if !f.Enslaved && nic.Attrs().MasterIndex == bridge.Attrs().Index {
			keep(netlink.LinkSetNoMaster(nic))
		}
		keep(f.restoreBridge(bridge))
	}
	if nic.Attrs().MTU != f.NICMTU {
		keep(netlink.LinkSetMTU(nic, f.NICMTU))
	}
	if !f.NICUp {
		keep(netlink.LinkSetDown(nic))
	}
	// Routes once more: IPv6 drops those whose interface had no address yet.
	keep(f.restoreRoutes(index))
	return errors.Join(problems...)
}

func (f *former) restoreAddresses(index int, passed time.Duration) error {
	var problems []error
	for _, m := range f.Addresses {
		a, err := parseAddress(m)
		if err != nil {
			return err
		}
		if back, ok := a.on(index, f.NIC, f.NIC, passed); ok {
			problems = append(problems, addAddress(back))
		}
	}
	return errors.Join(problems...)
}

func (f *former) restoreRoutes(index int) error {
	if !f.NICUp {
		return nil
	}
	var problems []error
	for _, m := range f.Routes {
		r, err := parseRoute(m)
		if err != nil {
			return err
		}
		problems = append(problems, addRoute(r.on(index, index)))
	}
	return errors.Join(problems...)
}

// restoreBridge deletes a bridge that the move made, and takes from one that
// was there what the move gave it.
func (f *former) restoreBridge(bridge netlink.Link) error {
	if !f.BridgeExisted {
		if err := netlink.LinkDel(bridge); err != nil {
			return fmt.Errorf("deleting %s: %w", f.Bridge, err)
		}
		return nil
	}
	if mac, err := net.ParseMAC(f.BridgeMAC); err == nil && bridge.Attrs().HardwareAddr.String() != f.BridgeMAC {
		if err := netlink.LinkSetHardwareAddr(bridge, mac); err != nil {
			return fmt.Errorf("giving %s its MAC back: %w", f.Bridge, err)
		}
	}
	if err := f.dropAddedRoutes(bridge.Attrs().Index); err != nil {
		return err
	}
	own := map[string]bool{}
	for _, m := range f.BridgeOwn {
		a, err := parseAddress(m)
		if err != nil {
			return err
		}
		own[a.prefix().String()] = true
	}
	have, err := addressesOn(bridge.Attrs().Index)
	if err != nil {
		return err
	}
	for _, a := range have {
		if own[a.prefix().String()] || a.prefix().Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := dropAddress(a); err != nil {
			return err
		}
	}
	if !f.BridgeUp {
		return netlink.LinkSetDown(bridge)
	}
	return nil
}

// dropAddedRoutes takes from a bridge that was there the routes that the move
// gave it.
func (f *former) dropAddedRoutes(index int) error {
	own := map[string]bool{}
	for _, m := range f.BridgeRoutes {
		r, err := parseRoute(m)
		if err != nil {
			return err
		}
		own[r.key(index)] = true
	}
	have, err := routesThrough(index)
	if err != nil {
		return err
	}
	for _, r := range have {
		if own[r.key(index)] {
			continue
		}
		if err := dropRoute(r); err != nil {
			return err
		}
	}
	return nil
}
