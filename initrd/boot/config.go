// Package boot is what the initramfs is told and what it tells: the boot's
// plan (boot.json), its report, and the list of kernel modules.
//
// It is plain types and their text forms. It touches nothing, but for Microcode,
// which asks /proc/cpuinfo what processors there are.
package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// ConfigPath is where boot.json lies, on the installed system and in the
// initramfs. It holds no secret, and nobody but root needs it.
const ConfigPath = "/etc/hvinstall/boot.json"

// Config is boot.json: everything that the init has to know of this host.
type Config struct {
	// Hostname is shown above the passphrase prompt.
	Hostname string `json:"hostname"`

	// Volumes are the LUKS volumes to open, in the layout's order.
	Volumes []Volume `json:"volumes"`
	// Keys are the sticks that may hold the key, any of which opens them all.
	Keys []Key `json:"keys,omitempty"`

	// KeyWait is how long to wait for a stick before asking for a passphrase;
	// 0 means 10 s.
	KeyWait Duration `json:"key_wait,omitempty"`
	// FallbackToPassword asks for a passphrase when no stick opens the volumes.
	FallbackToPassword bool `json:"fallback_to_password"`

	Root  Root   `json:"root"`
	Pools []Pool `json:"pools,omitempty"`
	// PoolWait is how long the boot waits for a missing member of a pool, counted
	// from the last disk that appeared; 0 means 10 s.
	PoolWait Duration `json:"pool_wait,omitempty"`
	// PatientWait is how long it waits for a pool whose policy is "wait"; 0 means
	// 10 min. A person at a console can end it with Enter.
	PatientWait Duration `json:"patient_wait,omitempty"`

	// Keymap is the console keymap by name, as loadkeys(1) knows it; empty or
	// "us" needs none.
	Keymap string `json:"keymap,omitempty"`
}

// Volume is one LUKS volume.
type Volume struct {
	UUID    string `json:"uuid"`             // in the LUKS header: what the volume is known by
	Mapping string `json:"mapping"`          // cryptroot or crypt-<pool>-<n>: /dev/mapper/<Mapping>
	DiskID  string `json:"disk_id"`          // by-id name of its disk, for people and between clones
	Pool    string `json:"pool,omitempty"`   // empty: the OS
	Device  string `json:"device,omitempty"` // /dev/disk/by-partuuid/…, for people
	USB     bool   `json:"usb,omitempty"`    // the disk is behind USB, whatever its by-id name says
	// KeyDigest tells the volume's key by its header (crypt.Header.KeyDigest); a
	// volume with another is not opened. The build of the initramfs adds it.
	KeyDigest string `json:"key_digest,omitempty"`
	// Adopted volumes were not formatted by hvinstall; their passphrase may be
	// their own, so that one which fails elsewhere is tried on them, too.
	Adopted bool `json:"adopted,omitempty"`
}

// Key is a stick with a key file.
type Key struct {
	FSUUID   string `json:"fs_uuid"`           // VFAT volume serial, as 8B34-7D3C
	Filename string `json:"filename"`          // in the stick's root
	DiskID   string `json:"disk_id,omitempty"` // by-id name, for people
}

// Root is the file system that becomes /.
type Root struct {
	FSUUID    string  `json:"fs_uuid"`
	Subvolume string  `json:"subvolume"` // "root"; empty: the default subvolume
	Options   Options `json:"options,omitempty"`
	// Proof is what the root's own secret has to fit (RootProof); empty: nothing
	// was left in it. The build of the initramfs adds it.
	Proof string `json:"proof,omitempty"`
	// Early are further subvolumes of it that the system's init itself lies on:
	// NixOS has /nix.
	Early []Mount `json:"early,omitempty"`
}

// Mount is a subvolume and where it goes, below the new root.
type Mount struct {
	Subvolume  string  `json:"subvolume"`
	Mountpoint string  `json:"mountpoint"`
	Options    Options `json:"options,omitempty"`
}

// Pool is a btrfs over several volumes.
type Pool struct {
	Name       string   `json:"name"`
	FSUUID     string   `json:"fs_uuid"`
	Members    int      `json:"members"` // devices of the whole file system
	Subvolume  string   `json:"subvolume"`
	Mountpoint string   `json:"mountpoint"`
	Options    Options  `json:"options,omitempty"` // as in fstab, without subvol=
	Degraded   Degraded `json:"degraded,omitempty"`
}

// Options are mount options as in fstab(5).
type Options []string

// Degraded is what the boot does about a pool with a member missing.
type Degraded string

// The policies. The zero value is Skip.
const (
	DegradedMount Degraded = "mount" // mounted without the member
	DegradedWait  Degraded = "wait"  // waited for, up to Config.PatientWait, then skipped
	DegradedSkip  Degraded = "skip"  // not mounted
)

// Defaults of the times that a Config leaves out.
const (
	DefaultKeyWait     = 10 * time.Second
	DefaultPoolWait    = 10 * time.Second
	DefaultPatientWait = 10 * time.Minute
)

// Parse reads boot.json strictly: a field that this binary does not know means
// that the file is newer than the initramfs, and guessing is no way to boot.
func Parse(data []byte) (Config, error) {
	var c Config
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", ConfigPath, err)
	}
	c.fill()
	return c, c.Validate()
}

// JSON is the text of boot.json.
func (c Config) JSON() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", ConfigPath, err)
	}
	return append(data, '\n'), nil
}

func (c *Config) fill() {
	if c.KeyWait == 0 {
		c.KeyWait = Duration(DefaultKeyWait)
	}
	if c.PoolWait == 0 {
		c.PoolWait = Duration(DefaultPoolWait)
	}
	if c.PatientWait == 0 {
		c.PatientWait = Duration(DefaultPatientWait)
	}
	for i := range c.Pools {
		if c.Pools[i].Degraded == "" {
			c.Pools[i].Degraded = DegradedSkip
		}
	}
}

// Validate finds what would keep the host from booting, all of it at once.
func (c Config) Validate() error {
	var bad []error
	wrong := func(format string, args ...any) { bad = append(bad, fmt.Errorf("boot.json: "+format, args...)) }

	seen := map[string]bool{}
	roots := 0
	for _, v := range c.Volumes {
		if v.UUID == "" || v.Mapping == "" {
			wrong("volume %q (%s) needs a uuid and a mapping", v.Mapping, v.DiskID)
		}
		if strings.Contains(v.Mapping, "/") {
			wrong("mapping %q has a slash", v.Mapping)
		}
		for _, name := range []string{"uuid " + strings.ToLower(v.UUID), "mapping " + v.Mapping} {
			if seen[name] {
				wrong("%s is used by two volumes", name)
			}
			seen[name] = true
		}
		if v.Pool == "" {
			roots++
			continue
		}
		if !slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Name == v.Pool }) {
			wrong("volume %s belongs to pool %q, which is not there", v.Mapping, v.Pool)
		}
	}
	if roots == 0 {
		wrong("no volume holds the OS")
	}
	if c.Root.FSUUID == "" {
		wrong("the root file system has no fs_uuid")
	}
	if c.Root.Proof != "" && !rootProof.MatchString(c.Root.Proof) {
		wrong("the root's proof is damaged")
	}
	for _, k := range c.Keys {
		if k.FSUUID == "" || k.Filename == "" {
			wrong("key stick %q needs fs_uuid and filename", k.FSUUID)
		}
		if k.Filename != path.Base(k.Filename) {
			wrong("key file %q is not in the stick's root", k.Filename)
		}
	}
	if len(c.Keys) == 0 && !c.FallbackToPassword {
		wrong("neither a key stick nor a passphrase can open the volumes")
	}
	for _, m := range c.Root.Early {
		if !path.IsAbs(m.Mountpoint) {
			wrong("mount point %q is not absolute", m.Mountpoint)
		}
	}
	for _, p := range c.Pools {
		if p.Name == "" || p.FSUUID == "" || p.Members < 1 || !path.IsAbs(p.Mountpoint) {
			wrong("pool %q needs a name, fs_uuid, members and an absolute mountpoint", p.Name)
		}
		if !slices.Contains([]Degraded{"", DegradedMount, DegradedWait, DegradedSkip}, p.Degraded) {
			wrong("pool %s: degraded is %q, not mount, wait or skip", p.Name, p.Degraded)
		}
	}
	return errors.Join(bad...)
}

// VolumesOf are the volumes of a pool, or of the OS for the empty name.
func (c Config) VolumesOf(pool string) []Volume {
	var found []Volume
	for _, v := range c.Volumes {
		if v.Pool == pool {
			found = append(found, v)
		}
	}
	return found
}

// Duration is a time.Duration that is written as "10s".
type Duration time.Duration

// Std is the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is 10s, 1m30s or 10m; time.Duration says 10m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes 10s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
