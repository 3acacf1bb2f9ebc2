package bridge

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// conflicts names what else in the system below root would configure the NIC
// or the bridge at boot. Errors stand in the way; notes a person should read.
func (p Plan) conflicts(root string) (errors, notes []string, err error) {
	if e, err := p.ifupdown(root); err != nil {
		return nil, nil, err
	} else if e != "" {
		errors = append(errors, e)
	}
	if networkManagerEnabled(root) {
		errors = append(errors, "NetworkManager is enabled and would configure "+p.NIC+" as well; run 'systemctl disable NetworkManager' in that system")
	}
	e, n, err := p.otherUnits(root)
	return append(errors, e...), append(notes, n...), err
}

// ifupdown looks for a stanza of the NIC or the bridge, see interfaces(5).
func (p Plan) ifupdown(root string) (string, error) {
	files := []string{filepath.Join(root, "etc/network/interfaces")}
	more, err := filepath.Glob(filepath.Join(root, "etc/network/interfaces.d/*"))
	if err != nil {
		return "", err
	}
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading ifupdown's configuration: %w", err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for number := 1; lines.Scan(); number++ {
			words := strings.Fields(lines.Text())
			if len(words) < 4 || words[0] != "iface" || (words[1] != p.NIC && words[1] != p.Bridge) {
				continue
			}
			// "inet manual" leaves the interface without an address.
			if words[1] == p.NIC && words[3] == "manual" {
				continue
			}
			return fmt.Sprintf("%s:%d configures %s by ifupdown at boot; remove that stanza (and its auto or allow-hotplug line)",
				inRoot(root, file), number, words[1]), nil
		}
	}
	return "", nil
}

func networkManagerEnabled(root string) bool {
	_, err := os.Lstat(filepath.Join(root, "etc/systemd/system/multi-user.target.wants/NetworkManager.service"))
	return err == nil
}

// otherUnits looks for .network files that networkd would take before ours,
// see systemd.network(5): files of all folders together sort by name, and the
// first that matches wins.
func (p Plan) otherUnits(root string) (errors, notes []string, err error) {
	seen := map[string]bool{}
	// etc hides a file of the same name in run, and that one in lib.
	for _, folder := range []string{unitFolder, "run/systemd/network", "usr/local/lib/systemd/network", "usr/lib/systemd/network"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.network"))
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			name := filepath.Base(file)
			if seen[name] {
				continue
			}
			seen[name] = true
			if name >= p.unitName("network") || p.isOurs(name) {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, nil, fmt.Errorf("reading another .network file: %w", err)
			}
			match := parseMatch(text)
			for _, link := range []matched{{name: p.NIC, mac: p.NICMAC, permanent: p.PermanentMAC, kind: "ether"}, {name: p.Bridge, mac: p.MAC, kind: "bridge"}} {
				switch match.of(link) {
				case yes:
					errors = append(errors, fmt.Sprintf("%s matches %s and sorts before hvinstall's files, so networkd would take it instead; remove it or rename it to sort after %s",
						inRoot(root, file), link.name, p.unitName("network")))
				case maybe:
					notes = append(notes, fmt.Sprintf("%s may match %s and sorts before hvinstall's files; see that it does not", inRoot(root, file), link.name))
				case no:
				}
			}
		}
	}
	return errors, notes, nil
}

func (p Plan) isOurs(name string) bool {
	return slices.ContainsFunc(p.Units(), func(u Unit) bool { return u.Name == name })
}

func inRoot(root, file string) string {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return file
	}
	return "/" + rel
}

// matched is a link as a [Match] section sees it.
type matched struct {
	name, mac, kind string
	permanent       bool
}

type answer int

const (
	no answer = iota
	yes
	maybe // it depends on what cannot be known here: a path, a driver, a kernel version
)

// match is a [Match] section: every key must match, any of its values.
type match map[string][]string

func parseMatch(text []byte) match {
	m := match{}
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if section != "Match" || !found {
			continue
		}
		key = strings.TrimSpace(key)
		m[key] = append(m[key], strings.Fields(value)...)
	}
	return m
}

func (m match) of(link matched) answer {
	if len(m) == 0 {
		return no // networkd ignores a file without [Match]
	}
	result := yes
	for key, values := range m {
		var a answer
		switch key {
		case "Name":
			a = globs(values, link.name)
		case "Type":
			a = globs(values, link.kind)
		case "Kind":
			if link.kind == "bridge" {
				a = globs(values, "bridge")
			} else {
				a = maybe
			}
		case "MACAddress":
			a = oneMAC(values, link.mac)
		case "PermanentMACAddress":
			if link.kind != "bridge" && link.permanent {
				a = oneMAC(values, link.mac)
			}
		default:
			a = maybe
		}
		if a == no {
			return no
		}
		if a == maybe {
			result = maybe
		}
	}
	return result
}

// globs matches shell patterns; a leading ! before the first inverts the list.
func globs(patterns []string, name string) answer {
	if len(patterns) == 0 {
		return maybe
	}
	hit, miss := yes, no
	if strings.HasPrefix(patterns[0], "!") {
		patterns = append([]string{patterns[0][1:]}, patterns[1:]...)
		hit, miss = no, yes
	}
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return hit
		}
	}
	return miss
}

func oneMAC(values []string, mac string) answer {
	for _, v := range values {
		if strings.EqualFold(strings.ReplaceAll(v, "-", ":"), mac) {
			return yes
		}
	}
	return no
}
