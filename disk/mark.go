package disk

import (
	"encoding/json"
	"fmt"
)

// MarkToken is the type of the LUKS2 token that says whose a volume is. It is
// read without a key, and goes wherever the header goes: into its backup, back
// from there, and with a byte copy.
const MarkToken = "hvinstall-host"

// markVersion is the form of the mark that this hvinstall writes and acts on.
const markVersion = 1

// Mark is whose a volume is. Anybody can write one: it is reason enough never
// to call what is on the disk foreign data, and never reason to format
// anything.
type Mark struct {
	Version    int    `json:"version"` // 0: a mark that cannot be read
	Host       string `json:"host"`    // the host's seed
	Role       Role   `json:"role"`
	Pool       string `json:"pool,omitempty"`
	Number     int    `json:"number,omitempty"`     // the <n> of crypt-<pool>-<n>
	Of         int    `json:"of,omitempty"`         // members of the pool as of the last run
	Filesystem string `json:"filesystem,omitempty"` // UUID of the btrfs on it
}

// Token is the mark as LUKS2 keeps it.
func (m Mark) Token() json.RawMessage {
	text, err := json.Marshal(struct {
		Type     string   `json:"type"`
		Keyslots []string `json:"keyslots"`
		Mark
	}{MarkToken, []string{}, m})
	if err != nil {
		panic(fmt.Sprintf("a mark holds text and numbers only: %v", err))
	}
	return text
}

// parseMark reads a token of MarkToken's type. One that cannot be read is a
// mark of version 0, and one of a newer version has nothing but that.
func parseMark(token json.RawMessage) *Mark {
	var version struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(token, &version) != nil || version.Version < 1 {
		return &Mark{}
	}
	if version.Version > markVersion {
		return &Mark{Version: version.Version}
	}
	var m Mark
	if json.Unmarshal(token, &m) != nil || m.Host == "" || len(m.Host) > 256 || m.Role != RoleOS && m.Role != RolePool ||
		(m.Role == RolePool) != (m.Pool != "") || m.Number < 0 || m.Number > 999 {
		return &Mark{}
	}
	m.Host, m.Pool, m.Filesystem = printable(m.Host), printable(m.Pool), printable(m.Filesystem)
	return &m
}
