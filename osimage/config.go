package osimage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/configs/keymap"
)

// hostnameEdits name the host.
func (p Plan) hostnameEdits() []edit {
	return []edit{
		whole("/etc/hostname", 0o644, p.Hostname+"\n"),
		{"/etc/hosts", 0o644, func(old []byte) []byte { return hosts(old, p.Hostname) }},
	}
}

// hosts makes 127.0.1.1 the host's name, as Debian does, and keeps other lines.
func hosts(old []byte, name string) []byte {
	if len(old) == 0 {
		old = []byte("127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n")
	}
	want := "127.0.1.1\t" + name
	var lines []string
	seen := false
	for line := range strings.SplitSeq(strings.TrimRight(string(old), "\n"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "127.0.1.1" {
			if slices.Contains(fields[1:], name) {
				want = line
			}
			if seen {
				continue
			}
			line, seen = want, true
		}
		lines = append(lines, line)
	}
	if !seen {
		lines = append(lines, want)
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// localeEdits are the language and the keyboard. The console's keyboard is
// Debian's console-setup, which takes X layouts: be, de(nodeadkeys). Since
// Debian 13 each is one file with a link to it: /etc/default/locale leads to
// /etc/locale.conf, and /etc/vconsole.conf to /etc/default/keyboard.
func (p Plan) localeEdits(root string) []edit {
	keyboard, _ := keymap.Find(p.Locale.Keymap) // configs has refused what is not found
	edits := []edit{
		whole("/etc/default/keyboard", 0o644, fmt.Sprintf(
			"# written by hvinstall from layout.yaml; see keyboard(5)\nXKBMODEL=\"pc105\"\nXKBLAYOUT=%q\nXKBVARIANT=%q\nXKBOPTIONS=%q\nBACKSPACE=\"guess\"\n",
			keyboard.Layout, keyboard.Variant, keyboard.Options)),
		{"/etc/locale.gen", 0o644, func(old []byte) []byte { return localeGen(old, p.Locale.Lang) }},
	}
	language := "/etc/default/locale"
	if linked(root, language, "/etc/locale.conf") {
		language = "/etc/locale.conf"
	}
	if !linked(root, "/etc/vconsole.conf", "/etc/default/keyboard") {
		edits = append(edits, whole("/etc/vconsole.conf", 0o644, "KEYMAP="+p.Locale.Keymap+"\n"))
	}
	return append(edits, whole(language, 0o644, "LANG="+p.Locale.Lang+"\n"))
}

// linked reports whether a path of the system is a symbolic link to the other.
func linked(root, path, target string) bool {
	link, err := os.Readlink(filepath.Join(root, path))
	if err != nil {
		return false
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(path), link)
	}
	return link == target
}

// localeGen keeps the language when the locales package is upgraded: its
// locale-gen makes again what this file names.
func localeGen(old []byte, lang string) []byte {
	if !needsLocaledef(lang) {
		return old
	}
	line := lang + " " + charset(lang)
	for have := range strings.SplitSeq(string(old), "\n") {
		if strings.TrimSpace(have) == line {
			return old
		}
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(text + line + "\n")
}

// needsLocaledef: glibc has C, POSIX and C.UTF-8 without any files.
func needsLocaledef(lang string) bool {
	return !slices.Contains([]string{"C", "POSIX", "C.UTF-8", "C.utf8"}, lang)
}

func charset(lang string) string {
	_, set, found := strings.Cut(lang, ".")
	set, _, _ = strings.Cut(set, "@")
	if !found || set == "" {
		return "ISO-8859-1"
	}
	if strings.EqualFold(set, "utf8") {
		return "UTF-8"
	}
	return set
}

// fstab is our block of it. /etc/crypttab stays empty: the init has opened
// every volume before systemd starts.
func (p Plan) fstab() string {
	rows := [][]string{}
	for _, m := range p.Mounts {
		check := "0 0"
		if m.FSType == "vfat" {
			check = "0 2" // a power cut leaves it marked as dirty
		}
		rows = append(rows, []string{m.Source, m.Target, m.FSType, strings.Join(m.fstabOptions(), ","), check})
	}
	if p.Swap != "" {
		rows = append(rows, []string{p.Swap, "none", "swap", "defaults", "0 0"})
	}
	return table(rows)
}

// bootPatience is how long systemd waits until udev knows of the file systems
// that a host cannot be without. The init has opened their volumes, so they are
// there; after the 90 s that systemd gives a device, a slow machine would be in
// emergency mode. See x-systemd.device-timeout in systemd.mount(5).
const bootPatience = "x-systemd.device-timeout=15min"

// fstabOptions adds what keeps a boot from waiting: the init mounts a pool, or
// leaves it out when disks are missing, and systemd is to do neither by itself
// (docs/boot.md); and a host without its ESP runs all the same.
func (m Mount) fstabOptions() []string {
	options := slices.Clone(m.Options)
	switch {
	case m.Pool:
		return append(options, "noauto", "nofail", "x-systemd.device-timeout=5s")
	case m.FSType == "vfat":
		// With nofail nothing waits for it, so that a slow disk may have its time.
		return append(options, "nofail", bootPatience)
	}
	return append(options, bootPatience)
}

// table aligns columns, for people.
func table(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", width[i], cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func (p Plan) fstabEdit() edit {
	return edit{"/etc/fstab", 0o644, func(old []byte) []byte { return block(old, p.fstab()) }}
}

// sudoersEdit lets members of wheel who have no password become root: they got
// in by their SSH key, and root itself is locked.
func (p Plan) sudoersEdit() edit {
	var b strings.Builder
	b.WriteString("# written by hvinstall: members of wheel who have no password to type\n")
	for _, u := range p.Users {
		if u.SudoNoPassword {
			fmt.Fprintf(&b, "%s ALL=(ALL:ALL) NOPASSWD: ALL\n", u.Name)
		}
	}
	return whole("/etc/sudoers.d/hvinstall", 0o440, b.String())
}

// PublicLayout is what everybody on the host may read of its layout.
const PublicLayout = "/etc/hvinstall/layout.public.yaml"

// ownEdits are the files by which the host knows its plan.
func (p Plan) ownEdits(keepBoot bool) []edit {
	edits := []edit{
		whole("/etc/hvinstall/layout.yaml", 0o600, string(p.layout)),
		whole(PublicLayout, 0o644, string(configs.Public(p.layout))),
	}
	if keepBoot {
		return edits
	}
	return append(edits,
		whole("/etc/hvinstall/boot.json", 0o600, string(p.bootConfig)),
		whole(bootSettingsPath, 0o644, p.bootSettings().json()),
	)
}
