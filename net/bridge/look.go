package bridge

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hvinstall/step"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lookLive compares the running network with the plan. It writes nothing.
func (p Plan) lookLive(env Env) (step.State, string, error) {
	nic, err := linkByName(p.NIC)
	if err != nil {
		return step.Absent, "", err
	}
	if nic == nil {
		return step.Foreign, fmt.Sprintf("interface %s is gone since the plan was made", p.NIC), nil
	}
	bridge, err := linkByName(p.Bridge)
	if err != nil {
		return step.Absent, "", err
	}
	if state, found, err := p.foreignLive(env, nic, bridge); err != nil || state == step.Foreign {
		return state, found, err
	}
	absent := func(format string, args ...any) (step.State, string, error) {
		return step.Absent, fmt.Sprintf(format, args...), nil
	}
	if interrupted, err := loadFormer(env, p.Bridge); err != nil {
		return step.Absent, "", err
	} else if interrupted != nil {
		return absent("an earlier run was interrupted in the middle of the move")
	}
	switch {
	case bridge == nil:
		return absent("there is no %s", p.Bridge)
	case nic.Attrs().MasterIndex != bridge.Attrs().Index:
		return absent("%s is no port of %s", p.NIC, p.Bridge)
	case bridge.Attrs().RawFlags&unix.IFF_UP == 0:
		return absent("%s is down", p.Bridge)
	case nic.Attrs().RawFlags&unix.IFF_UP == 0:
		return absent("%s is down", p.NIC)
	case bridge.Attrs().HardwareAddr.String() != p.MAC:
		return absent("%s has the MAC %s", p.Bridge, bridge.Attrs().HardwareAddr)
	case p.MTU > 0 && (bridge.Attrs().MTU != p.MTU || nic.Attrs().MTU != p.MTU):
		return absent("the MTU is %d on %s and %d on %s", nic.Attrs().MTU, p.NIC, bridge.Attrs().MTU, p.Bridge)
	}
	return p.lookAddresses(nic, bridge)
}

func (p Plan) lookAddresses(nic, bridge netlink.Link) (step.State, string, error) {
	fail := func(err error) (step.State, string, error) { return step.Absent, "", err }
	absent := func(found string) (step.State, string, error) { return step.Absent, found, nil }
	if on, err := stpOn(bridge.Attrs().Index); err != nil {
		return fail(err)
	} else if on {
		return absent("STP is on")
	}
	left, err := addressesOn(nic.Attrs().Index)
	if err != nil {
		return fail(err)
	}
	for _, a := range left {
		if !a.prefix().Addr().IsLinkLocalUnicast() {
			return absent(fmt.Sprintf("%s has the address %s", p.NIC, a.prefix()))
		}
	}
	if routes, err := routesThrough(nic.Attrs().Index); err != nil {
		return fail(err)
	} else if len(routes) > 0 {
		return absent(fmt.Sprintf("a route to %s leaves by %s", routes[0].destination(), p.NIC))
	}
	if missing, err := p.missingAddresses(bridge.Attrs().Index); err != nil {
		return fail(err)
	} else if len(missing) > 0 {
		return absent(fmt.Sprintf("%s lacks %s", p.Bridge, missing[0]))
	}
	if carrier(nic) {
		if missing, err := p.missingGateways(bridge.Attrs().Index); err != nil {
			return fail(err)
		} else if len(missing) > 0 {
			return absent(fmt.Sprintf("there is no default route by %s", missing[0]))
		}
	}
	have, err := globalAddresses(bridge.Attrs().Index)
	if err != nil {
		return fail(err)
	}
	if p.DHCP && len(have) == 0 && carrier(nic) {
		return absent(p.Bridge + " has no address yet")
	}
	return step.Done, fmt.Sprintf("%s has %s", p.Bridge, strings.Join(append(have, "port "+p.NIC), ", ")), nil
}

// foreignLive finds what must not be touched.
func (p Plan) foreignLive(env Env, nic, bridge netlink.Link) (step.State, string, error) {
	foreign := func(format string, args ...any) (step.State, string, error) {
		return step.Foreign, fmt.Sprintf(format, args...), nil
	}
	if bridge != nil && bridge.Type() != "bridge" {
		return foreign("%s is no bridge (%s)", p.Bridge, bridge.Type())
	}
	master := nic.Attrs().MasterIndex
	if master != 0 && (bridge == nil || master != bridge.Attrs().Index) {
		name := fmt.Sprintf("interface %d", master)
		if link, err := netlink.LinkByIndex(master); err == nil {
			name = link.Attrs().Name
		}
		return foreign("%s is a port of %s already", p.NIC, name)
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return step.Absent, "", fmt.Errorf("listing interfaces: %w", err)
	}
	for _, link := range links {
		if link.Attrs().ParentIndex == nic.Attrs().Index && slices.Contains([]string{"macvlan", "macvtap", "ipvlan", "ipvtap"}, link.Type()) {
			return foreign("%s is used by the %s %s; delete that first", p.NIC, link.Type(), link.Attrs().Name)
		}
	}
	if managed(nic.Attrs().Index) {
		return foreign("NetworkManager manages %s and would undo the move; run 'nmcli device set %s managed no' first", p.NIC, p.NIC)
	}
	if bridge == nil || master != 0 {
		return step.Absent, "", nil
	}
	// A bridge without the NIC that has addresses is somebody's own network,
	// unless an interrupted move left it.
	interrupted, err := loadFormer(env, p.Bridge)
	if err != nil || interrupted != nil {
		return step.Absent, "", err
	}
	own, err := globalAddresses(bridge.Attrs().Index)
	if err == nil && len(own) > 0 {
		return foreign("%s exists without %s and has %s: another network; choose another name for network.bridge", p.Bridge, p.NIC, strings.Join(own, ", "))
	}
	return step.Absent, "", err
}

// managed reports whether NetworkManager configures the interface, see its
// run-time state files.
func managed(index int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/run/NetworkManager/devices/%d", index))
	return err == nil && strings.Contains(string(state), "managed=true") && running("NetworkManager")
}

func globalAddresses(index int) ([]string, error) {
	addresses, err := addressesOn(index)
	if err != nil {
		return nil, err
	}
	var global []string
	for _, a := range addresses {
		if !a.prefix().Addr().IsLinkLocalUnicast() {
			global = append(global, a.prefix().String())
		}
	}
	return global, nil
}

func carrier(link netlink.Link) bool { return link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 }
