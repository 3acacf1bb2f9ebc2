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

// noLogin is the shell of an account that the layout no longer has.
const noLogin = "/usr/sbin/nologin"

// editing is the files while they are changed.
type editing struct {
	passwd, shadow, group, gshadow [][]string
	days                           string // today, as shadow(5) counts
}

// with returns the accounts with the users in them, and what they then have of
// the layout: missing users are added, those that are there get what they lack,
// and what was given and is no longer asked for goes. What nobody gave stays,
// but a root without a password is locked.
func (a accounts) with(users []UserPlan, given Given, now time.Time) (accounts, Given, error) {
	e := editing{records(a.passwd), records(a.shadow), records(a.group), records(a.gshadow), strconv.FormatInt(now.Unix()/86400, 10)}
	// An image's root without a password would let anybody at the console in.
	if root := find(e.shadow, "root"); root != nil && field(root, 1) == "" {
		root[1] = "*"
	}
	next := Given{}
	for _, u := range users {
		g, err := e.give(u, given)
		if err != nil {
			return a, nil, err
		}
		next[u.Name] = g
	}
	for name, old := range given {
		if _, wanted := next[name]; !wanted && find(e.passwd, name) != nil {
			next[name] = e.takeBack(name, old)
		}
	}
	return accounts{text(e.passwd), text(e.shadow), text(e.group), text(e.gshadow)}, next, nil
}

// give makes an account what the plan says, and takes back from it what the
// plan no longer says.
func (e *editing) give(u UserPlan, given Given) (GivenUser, error) {
	old := given[u.Name]
	g := GivenUser{Made: old.Made || given == nil, Groups: u.Groups, PasswordSHA256: u.PasswordSHA256}
	p := find(e.passwd, u.Name)
	if id, err := strconv.Atoi(field(p, 2)); p != nil && (err != nil || id < firstID || id > lastID) {
		return g, fmt.Errorf("%s has the number %s in this system: it is an account of the system's own, and gets no keys, groups or password; give the person another name in users",
			u.Name, field(p, 2))
	}
	if p == nil {
		g.Made = true
		if err := e.add(u.Name); err != nil {
			return g, err
		}
	}
	s := find(e.shadow, u.Name)
	if s == nil {
		s = []string{u.Name, "!", e.days, "0", "99999", "7", "", "", ""}
		e.shadow = append(e.shadow, s)
	}
	if old.Locked {
		e.unlock(u.Name)
	}
	if len(s) > 2 {
		switch {
		case u.hash != "" && s[1] != u.hash:
			s[1], s[2] = u.hash, e.days
		case u.hash == "" && old.PasswordSHA256 != "" && sum([]byte(s[1])) == old.PasswordSHA256:
			s[1], s[2] = "!", e.days
		}
	}
	for _, name := range old.Groups {
		if !slices.Contains(u.Groups, name) {
			e.leave(u.Name, name)
		}
	}
	for _, name := range u.Groups {
		if err := e.join(u.Name, name); err != nil {
			return g, err
		}
	}
	return g, nil
}

// takeBack ends what a layout gave to an account that it no longer names. One
// that hvinstall made is locked and not deleted: its files stay its own, and
// nobody gets its number.
func (e *editing) takeBack(name string, old GivenUser) GivenUser {
	for _, group := range old.Groups {
		e.leave(name, group)
	}
	s, p := find(e.shadow, name), find(e.passwd, name)
	if old.PasswordSHA256 != "" && len(s) > 2 && sum([]byte(s[1])) == old.PasswordSHA256 {
		s[1], s[2] = "!", e.days
	}
	if !old.Made || old.Locked {
		return GivenUser{Made: old.Made, Locked: old.Locked}
	}
	if len(s) > 7 {
		s[7] = "1" // expired since 1970: sshd, login and cron turn it away, whatever key it has
		if !strings.HasPrefix(s[1], "!") {
			s[1] = "!" + s[1]
		}
	}
	if len(p) > 6 {
		p[6] = noLogin
	}
	return GivenUser{Made: true, Locked: true}
}

// unlock undoes takeBack, for an account that the layout names again.
func (e *editing) unlock(name string) {
	s, p := find(e.shadow, name), find(e.passwd, name)
	if len(s) > 7 && s[7] == "1" {
		s[7] = ""
	}
	if len(s) > 1 && len(s[1]) > 1 {
		s[1] = strings.TrimPrefix(s[1], "!")
	}
	if len(p) > 6 && p[6] == noLogin {
		p[6] = "/bin/bash"
	}
}

// add makes an account with a group of its own.
func (e *editing) add(name string) error {
	id := freeID(e.passwd, e.group)
	if id < 0 {
		return fmt.Errorf("no free user ID for %s between %d and %d", name, firstID, lastID)
	}
	gid := id
	if g := find(e.group, name); g != nil {
		var err error
		if gid, err = strconv.Atoi(field(g, 2)); err != nil || gid < firstID || gid > lastID {
			return fmt.Errorf("there is a group %s of the number %s, which is the system's own: an account of that name would have its files; give the person another name in users",
				name, field(g, 2))
		}
	} else {
		e.addGroup(name, id)
	}
	e.passwd = append(e.passwd, []string{name, "x", strconv.Itoa(id), strconv.Itoa(gid), "", "/home/" + name, "/bin/bash"})
	return nil
}

func (e *editing) addGroup(name string, id int) {
	e.group = append(e.group, []string{name, "x", strconv.Itoa(id), ""})
	e.gshadow = append(e.gshadow, []string{name, "!", "", ""})
}

// join makes the user a member. A group that nobody made is one of the plan's
// own.
func (e *editing) join(user, name string) error {
	g := find(e.group, name)
	if g == nil {
		id := freeID(e.passwd, e.group)
		if id < 0 {
			return fmt.Errorf("no free group ID for %s", name)
		}
		e.addGroup(name, id)
		g = find(e.group, name)
	}
	addMember(g, user)
	if gs := find(e.gshadow, name); gs != nil {
		addMember(gs, user)
	}
	return nil
}

func (e *editing) leave(user, name string) {
	for _, file := range [][][]string{e.group, e.gshadow} {
		if r := find(file, name); len(r) == 4 {
			r[3] = strings.Join(slices.DeleteFunc(members(r), func(m string) bool { return m == user }), ",")
		}
	}
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
	if m := members(r); !slices.Contains(m, name) {
		r[3] = strings.Join(append(m, name), ",")
	}
}

func members(r []string) []string {
	return strings.FieldsFunc(field(r, 3), func(c rune) bool { return c == ',' })
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
