package bridge

import (
	"time"

	"hvinstall/step"
)

// Env is where and how a plan is carried out.
type Env struct {
	// Root is the system that later boots run: /mnt/target in a live system,
	// / on the installed host.
	Root string
	// Live makes the bridge now, by netlink, besides the files.
	Live bool
	// Timeout is --net-timeout: how long the gateway may take to answer from
	// the bridge before everything is put back. 0 means 30 s.
	Timeout time.Duration
	// Guard is the command that puts everything back when this process dies in
	// the middle of the move; it calls the function Guard. Empty: none.
	Guard []string
	// State is the folder that remembers how things were while the move is
	// under way. Empty: /run/hvinstall.
	State string
}

const defaultTimeout = 30 * time.Second

// Steps makes the bridge: the one that works now first, so that a host whose
// LAN does not answer from the bridge does not boot into it either.
func (p Plan) Steps(env Env) []step.Step {
	if env.Timeout <= 0 {
		env.Timeout = defaultTimeout
	}
	if env.State == "" {
		env.State = "/run/hvinstall"
	}
	var steps []step.Step
	var after []string
	add := func(s step.Step) {
		s.After = after
		after = []string{s.ID}
		steps = append(steps, s)
	}
	if env.Live {
		add(p.moveStep(env))
	}
	add(p.unitsStep(env))
	add(p.networkdStep(env))
	add(p.netfilterStep(env))
	add(p.qemuStep(env))
	return steps
}
