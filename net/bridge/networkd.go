package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"

	"github.com/vishvananda/netlink"
)

// A running networkd (measured with systemd 252) does not react when addresses
// are taken from its link, and goes on with its DHCP client there. When it is
// told to reload, it configures the bridge by the new files, and first drops
// from it every address and route that it did not make itself, unless
// KeepConfiguration= says otherwise. So the move comes first, then the files
// with a volatile drop-in that keeps what was moved, then the reload; the
// bridge's own DHCP client gets the lease of the NIC's, having its identity.

// networkdRuns reports whether a networkd looks after this network: the
// installed host's, or the live system's.
func networkdRuns() bool { return running("systemd-network") }

// liveFolder is where the running networkd is told of the bridge. In a live
// system, whose own files are not the installed host's, that is /run.
func liveFolder(env Env) string {
	if filepath.Clean(env.Root) == "/" {
		return "/" + unitFolder
	}
	return "/run/systemd/network"
}

// running looks for a process by the kernel's name of it (15 bytes) in this
// network namespace.
func running(comm string) bool {
	mine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false
	}
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return false
	}
	for _, file := range files {
		name, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(name)) != comm {
			continue
		}
		theirs, err := os.Readlink(filepath.Join(filepath.Dir(file), "ns/net"))
		if err == nil && theirs == mine {
			return true
		}
	}
	return false
}

// keepFile lives in /run: the next boot starts without it.
func (p Plan) keepFile() string {
	return "/run/systemd/network/" + p.unitName("network") + ".d/keep.conf"
}

const keepText = `# Written by hvinstall: what was moved to the bridge stays until it ends by
# itself, for the sessions that use it. Gone at the next boot.
[Network]
KeepConfiguration=yes
`

func reload(ctx context.Context, log func(string, ...any)) error {
	_, err := host.Cmd{Argv: []string{"networkctl", "reload"}, Log: log}.Output(ctx)
	if err != nil {
		return fmt.Errorf("telling networkd of its new files: %w", err)
	}
	return nil
}

// handOver gives the bridge to the running networkd and waits until networkd
// has configured it.
func (p Plan) handOver(ctx context.Context, env Env, report step.Reporter, index int, carrier bool) error {
	nic, err := netlink.LinkByName(p.NIC)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", p.NIC, err)
	}
	who := leaseIdentity(nic.Attrs().Index)
	if who == (identity{}) {
		who = p.keptIdentity(liveFolder(env))
	}
	if err := host.WriteFile(p.keepFile(), []byte(keepText), 0o644); err != nil {
		return err
	}
	if err := p.writeUnits(liveFolder(env), who); err != nil {
		return err
	}
	if err := reload(ctx, report.Log); err != nil {
		return err
	}
	// networkd ties its .netdev to a bridge that it did not make only at the
	// kernel's next news of that bridge; until then its port stays
	// "configuring". A new alias is news, and harmless.
	bridge, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", p.Bridge, err)
	}
	if err := netlink.LinkSetAlias(bridge, "the LAN by "+p.NIC+", made by hvinstall"); err != nil {
		return fmt.Errorf("naming what %s is for: %w", p.Bridge, err)
	}
	links := []netlink.Link{nic}
	if carrier {
		links = append(links, bridge) // without, its DHCP client has to wait
	}
	for _, link := range links {
		if err := awaitConfigured(ctx, link, p.isOurs, env.Timeout); err != nil {
			return err
		}
	}
	report.Log("networkd has configured %s and %s", p.Bridge, p.NIC)
	return nil
}

// awaitConfigured waits until networkd has brought a link into the state that
// a wanted one of its present files asks for.
func awaitConfigured(ctx context.Context, link netlink.Link, wanted func(name string) bool, timeout time.Duration) error {
	name := link.Attrs().Name
	for deadline := time.Now().Add(timeout); ; {
		state, file, err := linkState(link.Attrs().Index)
		if err != nil {
			return err
		}
		// A file that is gone is news that networkd has not heard yet.
		if _, gone := os.Stat(file); state == "configured" && gone == nil && wanted(filepath.Base(file)) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("networkd did not configure %s within %s (it is %q by %s); see 'networkctl status %s'", name, timeout, state, file, name)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// linkState is what networkd writes of a link: configuring, configured, … and
// the .network file that it goes by.
func linkState(index int) (state, file string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/run/systemd/netif/links/%d", index))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("reading networkd's state: %w", err)
	}
	state = "unknown"
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ADMIN_STATE":
			state = value
		case "NETWORK_FILE":
			file = value
		}
	}
	return state, file, nil
}
