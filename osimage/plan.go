// Package osimage is the installed system: the image that is unpacked, what
// makes it this host's (names, accounts, language, mounts, services), and how
// it boots.
//
// It writes below the root that it is given, on that root's ESP, and one boot
// entry of the firmware; it never touches a disk's partitions, LUKS or file
// systems. On an installed host (root /) it changes what differs from the plan
// and leaves the rest of the system to its owner.
package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/initrd/boot"
	"hvinstall/step"
)

// Values is what the plan of a system is made of: parts of the layout, and
// what the plan of the disks says.
type Values struct {
	Hostname     string
	Image        configs.Image
	Locale       configs.Locale
	Users        []configs.User
	LibvirtUsers []string
	KernelArgs   []string

	Mounts []Mount // in the order of fstab, / first
	ESP    string  // where the ESP is mounted: one of Mounts
	Swap   string  // the swapfile's path; empty: none

	NFS  bool // something is exported
	Trim bool // some file system lies on an ssd

	// Layout is layout.yaml as it was read, and BootConfig what the initramfs
	// is told (boot.json); both are kept on the host, for root alone.
	Layout     []byte
	BootConfig []byte
}

// Mount is a line of fstab.
type Mount struct {
	Source  string   `json:"source"` // UUID=…
	Target  string   `json:"target"`
	FSType  string   `json:"fstype"`
	Options []string `json:"options"`
	// Pool says that the init mounts it, or leaves it out when disks are
	// missing: nothing may be written to its mount point then.
	Pool bool `json:"pool,omitempty"`
	// Scrub says that it stands for its file system in the monthly scrub.
	Scrub bool `json:"scrub,omitempty"`
}

// Plan is everything that becomes of the system.
type Plan struct {
	Hostname   string         `json:"hostname"`
	Image      ImagePlan      `json:"image"`
	Locale     configs.Locale `json:"locale"`
	Users      []UserPlan     `json:"users"`
	KernelArgs []string       `json:"kernel_args,omitempty"`
	Mounts     []Mount        `json:"mounts"`
	ESP        string         `json:"esp"`
	Swap       string         `json:"swap,omitempty"`
	Enable     []string       `json:"enable"` // units
	// Taken is what accounts of the running host have of an earlier layout and
	// lose, and Kept what people gave them and stays.
	Taken []string `json:"taken,omitempty"`
	Kept  []string `json:"kept,omitempty"`

	// Sums of the files that are kept whole stand for them in the plan's
	// digest: the layout may hold password hashes.
	LayoutSHA256     string `json:"layout_sha256"`
	BootConfigSHA256 string `json:"boot_config_sha256"`

	layout, bootConfig []byte
}

// ImagePlan is the image and the sum that it must have.
type ImagePlan struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
}

// UserPlan is one account.
type UserPlan struct {
	Name   string   `json:"name"`
	Keys   []string `json:"ssh_authorized_keys,omitempty"`
	Groups []string `json:"groups,omitempty"` // Debian's names
	// Sudo without a password: for members of wheel who have none to type.
	SudoNoPassword bool   `json:"sudo_no_password,omitempty"`
	PasswordSHA256 string `json:"password_sha256,omitempty"` // of the hash; the hash itself is not shown

	hash string
}

// BootStep is the ID of the step that makes the system bootable. It is the last
// one of an installation.
const BootStep = "os/boot"

// MakePlan decides what the system becomes. liveSum is the sum that the live
// medium states for its own image, empty elsewhere.
func MakePlan(v Values, liveSum string) (Plan, []step.Refusal) {
	var refusals []step.Refusal
	refuse := func(code, where, what, hint string) {
		refusals = append(refusals, step.Refusal{Code: code, Where: where, What: what, Hint: hint})
	}
	p := Plan{
		Hostname: v.Hostname, Locale: defaultLocale(v.Locale), KernelArgs: v.KernelArgs,
		Image:  ImagePlan{URL: v.Image.URL, SHA256: strings.ToLower(v.Image.SHA256)},
		Mounts: v.Mounts, ESP: v.ESP, Swap: v.Swap,
		layout: v.Layout, bootConfig: v.BootConfig,
		LayoutSHA256: sum(v.Layout), BootConfigSHA256: sum(v.BootConfig),
	}
	if p.Image.SHA256 == "" {
		p.Image.SHA256 = liveSum
	}
	if u, err := url.Parse(p.Image.URL); err != nil || !slices.Contains([]string{"file", "http", "https"}, u.Scheme) {
		refuse("image-url", p.Image.URL, "is not a file, http or https URL", "write os.image.url like file:///run/hvinstall/live/hvinstall/root.squashfs")
	}
	if p.Image.SHA256 == "" {
		refuse("image-sum", p.Image.URL, "has no sha256 to check it against", "add os.image.sha256: the first word that sha256sum prints")
	}
	if len(v.Mounts) == 0 || v.Mounts[0].Target != "/" {
		refuse("no-root", "os.subvolumes", "no subvolume is mounted at /", "add root: / to os.subvolumes")
	}
	if !slices.ContainsFunc(v.Mounts, func(m Mount) bool { return m.Target == v.ESP }) {
		refuse("no-esp", v.ESP, "the EFI system partition is mounted nowhere", "")
	}
	for _, arg := range v.KernelArgs {
		key, value, _ := strings.Cut(arg, "=")
		if why := boot.Opens(key, value); why != "" {
			refuse("kernel-arg", arg, "in os.kernel_args "+why+"; with it on the command line the host would open no volume", "take it out of os.kernel_args")
		}
	}
	p.Users = planUsers(v)
	if !slices.ContainsFunc(p.Users, func(u UserPlan) bool { return u.hash != "" || len(u.Keys) > 0 }) {
		refuse("no-login", "users", "nobody could log in to the installed host: root is locked, and no user has a key or a password",
			"add a user with ssh_authorized_keys or password_hash")
	}
	for _, name := range v.LibvirtUsers {
		if !slices.ContainsFunc(p.Users, func(u UserPlan) bool { return u.Name == name }) {
			refuse("unknown-user", name, "is in libvirtd.users and not in users", "add it to users, or take it out of libvirtd.users")
		}
	}
	p.Enable = units(v)
	return p, refusals
}

// planUsers gives every user the groups by Debian's names.
func planUsers(v Values) []UserPlan {
	var users []UserPlan
	for _, u := range v.Users {
		plan := UserPlan{Name: u.Name, Keys: u.SSHAuthorizedKeys, hash: u.PasswordHash}
		if u.PasswordHash != "" {
			plan.PasswordSHA256 = sum([]byte(u.PasswordHash))
		}
		for _, g := range u.Groups {
			switch g {
			case "wheel":
				g = "sudo"
			case "libvirtd":
				g = "libvirt"
			}
			plan.Groups = append(plan.Groups, g)
		}
		if slices.Contains(v.LibvirtUsers, u.Name) {
			plan.Groups = append(plan.Groups, "libvirt", "kvm")
		}
		slices.Sort(plan.Groups)
		plan.Groups = slices.Compact(plan.Groups)
		plan.SudoNoPassword = slices.Contains(plan.Groups, "sudo") && u.PasswordHash == ""
		users = append(users, plan)
	}
	return users
}

// units are those that the image leaves disabled and this host wants.
func units(v Values) []string {
	enable := []string{"ssh.service", "libvirtd.service", "libvirt-guests.service", "smartmontools.service"}
	if v.NFS {
		enable = append(enable, "nfs-server.service")
	}
	if v.Trim {
		enable = append(enable, "fstrim.timer")
	}
	for _, m := range v.Mounts {
		if m.Scrub {
			enable = append(enable, scrubTimer(m.Target))
		}
	}
	slices.Sort(enable)
	return enable
}

// scrubTimer is the timer's instance for a mount point: systemd's escaping of
// a path, see systemd-escape(1).
func scrubTimer(mountpoint string) string {
	return "hvinstall-scrub@" + escapePath(mountpoint) + ".timer"
}

func escapePath(p string) string {
	p = strings.Trim(path.Clean(p), "/")
	if p == "" {
		return "-"
	}
	var b strings.Builder
	for i, c := range []byte(p) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c == '.' && i == 0, !isPlain(c):
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == ':'
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func defaultLocale(l configs.Locale) configs.Locale {
	if l.Lang == "" {
		l.Lang = "C.UTF-8"
	}
	if l.Timezone == "" {
		l.Timezone = "UTC"
	}
	if l.Keymap == "" {
		l.Keymap = "us"
	}
	return l
}
