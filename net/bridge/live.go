package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"hvinstall/step"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// moveStep makes the bridge now.
func (p Plan) moveStep(env Env) step.Step {
	return step.Step{
		ID:     "net/bridge",
		Title:  fmt.Sprintf("move the LAN from %s to %s", p.NIC, p.Bridge),
		Detail: append(p.Lines(), fmt.Sprintf("if the LAN does not answer from %s within %s, everything is put back", p.Bridge, env.Timeout)),
		Check:  func(context.Context) (step.State, string, error) { return p.lookLive(env) },
		Do:     func(ctx context.Context, report step.Reporter) error { return p.doMove(ctx, env, report) },
	}
}

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

// doMove is all or nothing: when it returns an error, everything is as it was.
func (p Plan) doMove(ctx context.Context, env Env, report step.Reporter) (err error) {
	if err := p.checkValues(); err != nil {
		return err
	}
	// The session that started this run may go through the NIC; it must not
	// end the run half way.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	was, err := loadFormer(env, p.Bridge)
	if err != nil {
		return err
	}
	if was != nil && was.NIC == p.NIC {
		report.Log("finishing the move that was interrupted at %s", was.Time.Format(time.RFC3339))
	} else if was, err = p.look(); err != nil {
		return err
	}
	networkd := networkdRuns()
	if networkd {
		if errors, _, err := p.conflicts("/"); err != nil {
			return err
		} else if len(errors) > 0 {
			return fmt.Errorf("%s", strings.Join(errors, "; "))
		}
		if err := was.rememberFiles(p, env); err != nil {
			return err
		}
	}
	if err := was.save(env); err != nil {
		return err
	}
	watcher, err := startGuard(env, was, 4*env.Timeout+30*time.Second)
	if err != nil {
		return err
	}
	if err := p.tryMove(ctx, env, report, was, networkd); err != nil {
		report.Warn("putting everything back: %v", err)
		back := rollback(was, env)
		if back == nil {
			err = fmt.Errorf("%w; everything was put back as it was", err)
		}
		return errors.Join(err, back, watcher.dismiss())
	}
	if err := watcher.dismiss(); err != nil {
		return err
	}
	if err := os.Remove(formerFile(env, p.Bridge)); err != nil {
		return fmt.Errorf("ending the move: %w", err)
	}
	return nil
}

// rollback restores the network, then the files, and forgets.
func rollback(was *former, env Env) error {
	err := was.restore()
	if err == nil {
		err = was.restoreFiles()
	}
	if err == nil {
		err = os.Remove(formerFile(env, was.Bridge))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("putting the network back: %w; how it was is in %s", err, formerFile(env, was.Bridge))
	}
	return nil
}

func (p Plan) tryMove(ctx context.Context, env Env, report step.Reporter, was *former, networkd bool) error {
	report.Log("ip link add %s address %s type bridge stp_state 0; ip link set %s master %s; addresses and routes follow", p.Bridge, p.MAC, p.NIC, p.Bridge)
	servers := linkDNS(ctx, p.NIC, p.DNS)
	if err := p.move(); err != nil {
		return err
	}
	nic, err := linkByName(p.NIC)
	if err != nil {
		return err
	}
	bridge, err := linkByName(p.Bridge)
	if err != nil {
		return err
	}
	if nic == nil || bridge == nil {
		return fmt.Errorf("%s or %s vanished during the move", p.NIC, p.Bridge)
	}
	index := bridge.Attrs().Index
	if !was.NICUp {
		// A card that was down negotiates its link for some seconds.
		if nic, err = awaitCarrier(ctx, nic, min(env.Timeout, 10*time.Second)); err != nil {
			return err
		}
	}
	if !carrier(nic) {
		report.Warn("%s has no carrier: whether the LAN answers from %s cannot be checked", p.NIC, p.Bridge)
	} else if err := p.verify(ctx, env, report, index, was); err != nil {
		return err
	}
	if carrier(nic) {
		if err := p.awaitUnique(ctx, index); err != nil {
			return err
		}
	}
	if networkd {
		if err := p.handOver(ctx, env, report, index, carrier(nic)); err != nil {
			return err
		}
		if carrier(nic) {
			return p.verify(ctx, env, report, index, was)
		}
		return nil
	}
	if p.DHCP && carrier(nic) {
		lease, err := p.lease(ctx, env, report, index)
		if err != nil {
			return err
		}
		servers = append(lease, servers...)
	}
	return setLinkDNS(ctx, report, p.Bridge, servers, p.Domains)
}

// verify waits until the LAN answers from the bridge.
func (p Plan) verify(ctx context.Context, env Env, report step.Reporter, index int, was *former) error {
	peers := was.Peers
	if len(p.Gateways) > 0 {
		peers = p.Gateways
	}
	if len(peers) == 0 {
		if have, err := globalAddresses(index); err != nil {
			return err
		} else if len(have) > 0 {
			report.Warn("no gateway and no neighbour is known: whether the LAN answers from %s cannot be checked", p.Bridge)
		}
		return nil
	}
	who, err := awaitAnswer(ctx, p.Bridge, index, peers, env.Timeout)
	if err != nil {
		return err
	}
	report.Log("%s answers from %s", who, p.Bridge)
	return nil
}

// awaitCarrier waits for the link to come up; one that does not is no error.
func awaitCarrier(ctx context.Context, nic netlink.Link, timeout time.Duration) (netlink.Link, error) {
	deadline := time.Now().Add(timeout)
	for !carrier(nic) && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
		var err error
		if nic, err = netlink.LinkByIndex(nic.Attrs().Index); err != nil {
			return nil, fmt.Errorf("looking at the NIC: %w", err)
		}
	}
	return nic, nil
}
