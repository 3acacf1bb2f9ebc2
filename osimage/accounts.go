package osimage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// accounts is the text of the files that name users and groups, see passwd(5),
// shadow(5), group(5) and gshadow(5). They are edited as text and not by
// useradd, whose argument list would show the password's hash.
type accounts struct{ passwd, shadow, group, gshadow string }

// The range that Debian gives to people, see adduser.conf(5).
const firstID, lastID = 1000, 59999

// with returns the accounts with the users in them: missing ones are added, and
// those that are there get what they lack. Nothing is taken away, but a root
// without a password is locked.
func (a accounts) with(users []UserPlan, now time.Time) (accounts, error) {
	passwd, shadow := records(a.passwd), records(a.shadow)
	group, gshadow := records(a.group), records(a.gshadow)
	days := strconv.FormatInt(now.Unix()/86400, 10)

	addGroup := func(name string, id int) {
		group = append(group, []string{name, "x", strconv.Itoa(id), ""})
		gshadow = append(gshadow, []string{name, "!", "", ""})
	}
	// An image's root without a password would let anybody at the console in.
	if root := find(shadow, "root"); root != nil && field(root, 1) == "" {
		root[1] = "*"
	}
	for _, u := range users {
		if find(passwd, u.Name) == nil {
			id := freeID(passwd, group)
			if id < 0 {
				return a, fmt.Errorf("no free user ID for %s between %d and %d", u.Name, firstID, lastID)
			}
			gid := id
			if g := find(group, u.Name); g != nil {
				gid, _ = strconv.Atoi(field(g, 2))
			} else {
				addGroup(u.Name, id)
			}
			passwd = append(passwd, []string{u.Name, "x", strconv.Itoa(id), strconv.Itoa(gid), "", "/home/" + u.Name, "/bin/bash"})
		}
		s := find(shadow, u.Name)
		if s == nil {
			s = []string{u.Name, "!", days, "0", "99999", "7", "", "", ""}
			shadow = append(shadow, s)
		}
		if u.hash != "" && len(s) > 2 && s[1] != u.hash {
			s[1], s[2] = u.hash, days
		}
		for _, name := range u.Groups {
			g := find(group, name)
			if g == nil {
				// A group that nobody made: one of the plan's own.
				id := freeID(passwd, group)
				if id < 0 {
					return a, fmt.Errorf("no free group ID for %s", name)
				}
				addGroup(name, id)
				g = find(group, name)
			}
			addMember(g, u.Name)
			if gs := find(gshadow, name); gs != nil {
				addMember(gs, u.Name)
			}
		}
	}
	return accounts{text(passwd), text(shadow), text(group), text(gshadow)}, nil
}

// records splits a file into lines and those into fields.
func records(file string) [][]string {
	var all [][]string
	for line := range strings.Lines(file) {
		all = append(all, strings.Split(strings.TrimSuffix(line, "\n"), ":"))
	}
	return all
}

func text(all [][]string) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(strings.Join(r, ":") + "\n")
	}
	return b.String()
}

func find(all [][]string, name string) []string {
	for _, r := range all {
		if r[0] == name {
			return r
		}
	}
	return nil
}

func field(r []string, i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

// addMember adds a name to the last field of a group's line.
func addMember(r []string, name string) {
	if len(r) != 4 {
		return
	}
	members := strings.FieldsFunc(r[3], func(c rune) bool { return c == ',' })
	if !slices.Contains(members, name) {
		r[3] = strings.Join(append(members, name), ",")
	}
}

// freeID is a number that is free both as user and as group.
func freeID(passwd, group [][]string) int {
	taken := map[string]bool{}
	for _, r := range append(slices.Clone(passwd), group...) {
		taken[field(r, 2)] = true
	}
	for id := firstID; id <= lastID; id++ {
		if !taken[strconv.Itoa(id)] {
			return id
		}
	}
	return -1
}

// homeOf reads a user's IDs and home from passwd's text.
func homeOf(passwd, name string) (uid, gid int, home string, err error) {
	r := find(records(passwd), name)
	if len(r) < 7 {
		return 0, 0, "", fmt.Errorf("user %s is not in /etc/passwd", name)
	}
	if uid, err = strconv.Atoi(r[2]); err != nil {
		return 0, 0, "", fmt.Errorf("user %s: ID %q is not a number", name, r[2])
	}
	if gid, err = strconv.Atoi(r[3]); err != nil {
		return 0, 0, "", fmt.Errorf("user %s: group ID %q is not a number", name, r[3])
	}
	return uid, gid, r[5], nil
}

// authorizedKeys puts the layout's lines in. A key that is there stays as it
// is, but for a layout's line with options: these restrict what the key may do,
// and a plain line of the same key would lift them.
func authorizedKeys(old string, keys []string) string {
	lines := strings.Split(old, "\n")
	for _, line := range keys {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, options := keyOf(line)
		there := key == "" && slices.Contains(lines, line)
		for i, have := range lines {
			haveKey, haveOptions := keyOf(have)
			if key == "" || haveKey != key {
				continue
			}
			there = true
			if options != "" && haveOptions != options {
				lines[i] = line
			}
		}
		if there {
			continue
		}
		if last := len(lines) - 1; lines[last] == "" {
			lines[last] = line
		} else {
			lines = append(lines, line)
		}
		lines = append(lines, "")
	}
	return strings.Join(lines, "\n")
}

// keyOf is the key in a line of authorized_keys, and the options before it, see
// sshd(8), "AUTHORIZED_KEYS FILE FORMAT". A comment holds no key.
func keyOf(line string) (key, options string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	if !isKeyType(line) {
		end, quoted := len(line), false
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == '\\' && i+1 < len(line) && line[i+1] == '"':
				i++
			case c == '"':
				quoted = !quoted
			case (c == ' ' || c == '\t') && !quoted:
				end = i
			}
			if end < len(line) {
				break
			}
		}
		options, line = line[:end], strings.TrimSpace(line[end:])
	}
	words := strings.Fields(line)
	if len(words) < 2 || !isKeyType(line) {
		return "", ""
	}
	return words[0] + " " + words[1], options
}

func isKeyType(line string) bool {
	return strings.HasPrefix(line, "ssh-") || strings.HasPrefix(line, "ecdsa-") || strings.HasPrefix(line, "sk-")
}
