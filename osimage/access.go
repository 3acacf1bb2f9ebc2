package osimage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// AccountFacts is what the accounts of the running host have: those that
// hvinstall gave something to, and those of people.
type AccountFacts struct {
	Given Given         `json:"given,omitempty"`
	Users []AccountFact `json:"users,omitempty"`
	// RootByKey: root has SSH keys, and sshd is not yet told to refuse root.
	RootByKey bool `json:"root_by_key,omitempty"`
}

// AccountFact is one account. Keys are named as ssh-keygen -l does.
type AccountFact struct {
	Name          string   `json:"name"`
	Home          string   `json:"home"`
	Groups        []string `json:"groups,omitempty"`
	GivenPassword bool     `json:"given_password,omitempty"` // it has the password that hvinstall gave it
	GivenKeys     []string `json:"given_keys,omitempty"`
	OwnKeys       []string `json:"own_keys,omitempty"`
}

// ProbeAccounts reads the accounts of the system at root. Without root nothing
// is seen of what they have.
func ProbeAccounts(root string) AccountFacts {
	have, err := readAccounts(root)
	if err != nil {
		return AccountFacts{}
	}
	given, err := readGiven(root)
	if err != nil {
		return AccountFacts{} // the step that reads it says why
	}
	var f AccountFacts
	if _, err := os.Lstat(filepath.Join(root, sshdConfPath)); err != nil {
		text, err := readKeys(root, "/root")
		f.RootByKey = err == nil && len(keyNames(strings.Split(text, "\n"))) > 0
	}
	for _, r := range records(have.passwd) {
		uid, _, home, err := homeOf(have.passwd, r[0])
		if _, known := given[r[0]]; err != nil || !known && (uid < firstID || uid > lastID) {
			continue
		}
		a := AccountFact{Name: r[0], Home: home}
		for _, g := range records(have.group) {
			if slices.Contains(members(g), r[0]) {
				a.Groups = append(a.Groups, g[0])
			}
		}
		hash := field(find(records(have.shadow), r[0]), 1)
		a.GivenPassword = given[r[0]].PasswordSHA256 != "" && sum([]byte(hash)) == given[r[0]].PasswordSHA256
		if text, err := readKeys(root, home); err == nil {
			ours, own := keyBlock(text)
			a.GivenKeys, a.OwnKeys = keyNames(ours), keyNames(own)
		}
		f.Users = append(f.Users, a)
	}
	// Facts leave the host, in a bug report say: nothing of a password does.
	f.Given = make(Given, len(given))
	for name, g := range given {
		g.PasswordSHA256 = ""
		f.Given[name] = g
	}
	return f
}

func keyNames(lines []string) []string {
	var names []string
	for _, line := range lines {
		if name := keyName(line); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// readKeys reads the authorized_keys below a home, which its owner may have made
// anything.
func readKeys(root, home string) (string, error) {
	dir, err := os.OpenRoot(filepath.Join(root, home))
	if err != nil {
		return "", err
	}
	defer func() { _ = dir.Close() }()
	data, err := readOwned(dir, ".ssh/authorized_keys")
	return string(data), err
}

// Access is how who may do what changes: what is taken back, and what people
// have beside the layout and keep.
func (p Plan) Access(f AccountFacts) (taken, kept []string) {
	for _, a := range f.Users {
		old := f.Given[a.Name]
		at := slices.IndexFunc(p.Users, func(u UserPlan) bool { return u.Name == a.Name })
		switch {
		case at >= 0:
			t, k := p.Users[at].access(a, old)
			taken, kept = append(taken, t...), append(kept, k...)
		case old.Made && !old.Locked:
			taken = append(taken, fmt.Sprintf("%s is no longer in the layout: locked, with all its keys%s; its files in %s stay, and 'userdel %s' deletes the account",
				a.Name, list(", and out of ", old.Groups), a.Home, a.Name))
		case len(old.Groups) > 0 || a.GivenPassword || len(a.GivenKeys) > 0:
			taken = append(taken, fmt.Sprintf("%s is no longer in the layout: what it had of it goes%s; the account is not hvinstall's and stays", a.Name, list(", and it is out of ", old.Groups)))
		case !old.Locked:
			kept = append(kept, a.Name+" is an account that is not the layout's"+list(", in ", a.Groups))
		}
	}
	return taken, kept
}

// access is what becomes of what one account has.
func (u UserPlan) access(a AccountFact, old GivenUser) (taken, kept []string) {
	names := keyNames(u.Keys)
	short := func(name string) string { key, _, _ := strings.Cut(name, " "); return key }
	wanted := func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return short(n) == short(name) })
	}
	for _, name := range a.GivenKeys {
		if !wanted(name) {
			taken = append(taken, fmt.Sprintf("%s: the SSH key %s goes", u.Name, name))
		}
	}
	for _, group := range a.Groups {
		switch {
		case slices.Contains(u.Groups, group):
		case slices.Contains(old.Groups, group):
			taken = append(taken, fmt.Sprintf("%s: goes out of group %s", u.Name, group))
		default:
			kept = append(kept, fmt.Sprintf("%s: in group %s", u.Name, group))
		}
	}
	if a.GivenPassword && u.hash == "" {
		taken = append(taken, u.Name+": the password goes")
	}
	for _, name := range a.OwnKeys {
		if !wanted(name) {
			kept = append(kept, fmt.Sprintf("%s: the SSH key %s", u.Name, name))
		}
	}
	return taken, kept
}

func list(before string, words []string) string {
	if len(words) == 0 {
		return ""
	}
	return before + strings.Join(words, " ")
}
