package osimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hvinstall/host"
)

// givenPath is on the installed host, for root alone.
const givenPath = "/var/lib/hvinstall/accounts.json"

// Given is what hvinstall gave to the accounts, by their names: what of it the
// layout no longer has is taken back, and what is not in it is a person's own.
type Given map[string]GivenUser

// GivenUser is what one account has from a layout. Its SSH keys are in a block
// of its authorized_keys.
type GivenUser struct {
	Made           bool     `json:"made,omitempty"` // the account itself
	Groups         []string `json:"groups,omitempty"`
	PasswordSHA256 string   `json:"password_sha256,omitempty"` // of the hash
	// Locked: the layout no longer had it. Whoever unlocks it by hand is not
	// contradicted.
	Locked bool `json:"locked,omitempty"`
}

// readGiven reads the host's own. A host of an earlier version has none, and
// made all accounts that its layout names: nil.
func readGiven(root string) (Given, error) {
	data, err := os.ReadFile(filepath.Join(root, givenPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := Given{}
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, fmt.Errorf("%s: %w; move it away, and what was given before stays with the accounts", givenPath, err)
	}
	return g, nil
}

func (g Given) write(root string) error {
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(filepath.Join(root, givenPath), append(text, '\n'), 0o600)
}

// and is what either of them has: it is written before the accounts are, so
// that a run which ends in between has forgotten nothing.
func (g Given) and(next Given) Given {
	all := Given{}
	for name, u := range next {
		all[name] = u
	}
	for name, old := range g {
		u, found := all[name]
		if !found {
			all[name] = old
			continue
		}
		u.Made = u.Made || old.Made
		for _, group := range old.Groups {
			if !slices.Contains(u.Groups, group) {
				u.Groups = append(slices.Clone(u.Groups), group)
			}
		}
		if u.PasswordSHA256 == "" {
			u.PasswordSHA256 = old.PasswordSHA256
		}
		u.Locked = u.Locked && old.Locked
		all[name] = u
	}
	return all
}

// equal tells the two apart as their files do.
func (g Given) equal(other Given) bool {
	a, err := json.Marshal(g)
	b, err2 := json.Marshal(other)
	return err == nil && err2 == nil && string(a) == string(b)
}
