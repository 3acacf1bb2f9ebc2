package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// DNS servers belong to a link only where systemd-resolved runs; networkd tells
// it of the bridge's. Without networkd they are moved here. A resolv.conf that
// names servers keeps working through the bridge and is left alone.

// linkDNS returns the servers of the NIC as resolved knows them, or the plan's.
func linkDNS(ctx context.Context, nic string, planned []string) []string {
	if len(planned) > 0 || !running("systemd-resolve") {
		return planned
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	out, err := host.Cmd{Argv: []string{"resolvectl", "dns", nic}}.Output(ctx)
	if err != nil {
		return nil
	}
	// "Link 2 (enp5s0): 192.168.1.1 fe80::1%2"
	_, list, _ := strings.Cut(string(out), "):")
	return strings.Fields(list)
}

// setLinkDNS gives the bridge its servers.
func setLinkDNS(ctx context.Context, report step.Reporter, bridge string, servers, domains []string) error {
	var known []string
	for _, s := range servers {
		s, _, _ = strings.Cut(s, "%") // a zone is the old interface's
		if _, err := netip.ParseAddr(s); err == nil && !slices.Contains(known, s) {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		return nil
	}
	if running("systemd-resolve") {
		commands := [][]string{append([]string{"resolvectl", "dns", bridge}, known...)}
		if len(domains) > 0 {
			commands = append(commands, append([]string{"resolvectl", "domain", bridge}, domains...))
		}
		for _, argv := range commands {
			if _, err := (host.Cmd{Argv: argv, Log: report.Log}).Output(ctx); err != nil {
				return fmt.Errorf("moving DNS to %s: %w", bridge, err)
			}
		}
		return nil
	}
	return addToResolvConf(report, known, domains)
}

// addToResolvConf adds servers only where none is named.
func addToResolvConf(report step.Reporter, servers, domains []string) error {
	const file = "/etc/resolv.conf"
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the DNS servers: %w", err)
	}
	if strings.Contains("\n"+string(text), "\nnameserver") {
		return nil
	}
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		report.Warn("%s is a link to a file that names no DNS server; it is left alone", file)
		return nil
	}
	var b strings.Builder
	b.Write(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		b.WriteByte('\n')
	}
	b.WriteString("# Added by hvinstall: there was no DNS server.\n")
	if len(domains) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(domains, " "))
	}
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return host.WriteFile(file, []byte(b.String()), 0o644)
}
