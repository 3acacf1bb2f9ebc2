package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"hvinstall/step"

	"github.com/vishvananda/netlink"
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

	if err := awaitGuard(ctx, env, p.Bridge); err != nil {
		return err
	}
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
