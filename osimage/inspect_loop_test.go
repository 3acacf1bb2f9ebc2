//go:build loop

package osimage

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the tests compare with")

// squash is the real image, as unsquashfs lists it.
type squash struct {
	t     *testing.T
	file  string
	files map[string]squashFile
}

type squashFile struct{ mode, size, link string }

func openImage(t *testing.T) squash {
	t.Helper()
	s := squash{t, realImage(t), map[string]squashFile{}}
	for line := range strings.Lines(run(t, "unsquashfs", "-lln", "-dest", "", s.file)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		if f[0][0] == 'b' || f[0][0] == 'c' { // two numbers and no size
			s.files[strings.TrimPrefix(f[len(f)-1], "/")] = squashFile{mode: f[0]}
			continue
		}
		_, name, _ := strings.Cut(line, f[3]+" "+f[4]+" ")
		name, link, _ := strings.Cut(strings.TrimSpace(name), " -> ")
		s.files[strings.TrimPrefix(name, "/")] = squashFile{mode: f[0], size: f[2], link: link}
	}
	if len(s.files) < 10000 {
		t.Fatalf("unsquashfs lists %d files", len(s.files))
	}
	return s
}

func (s squash) cat(name string) string {
	s.t.Helper()
	out, err := exec.Command("unsquashfs", "-cat", s.file, name).Output()
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// below are the names in a folder and its folders, without the folders.
func (s squash) below(folder string) []string {
	var names []string
	for name, f := range s.files {
		if f.mode[0] != 'd' && strings.HasPrefix(name, folder+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// release are the values of osimage/debian/release.
func release(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("debian/release")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)="?([^"\n]*)"?$`).FindAllStringSubmatch(string(data), -1) {
		values[m[1]] = m[2]
	}
	return values
}

func TestImagePackages(t *testing.T) {
	s, r := openImage(t), release(t)
	if got := s.cat("usr/lib/os-release"); !strings.Contains(got, "VERSION_CODENAME="+r["suite"]+"\n") {
		t.Errorf("the image is not of Debian %s:\n%s", r["suite"], got)
	}
	installed := map[string]bool{}
	for _, p := range strings.Split(s.cat("var/lib/dpkg/status"), "\n\n") {
		name := regexp.MustCompile(`(?m)^Package: (\S+)$`).FindStringSubmatch(p)
		if name == nil {
			continue
		}
		if !strings.Contains(p, "\nStatus: install ok installed\n") {
			t.Errorf("%s is not wholly installed", name[1])
		}
		installed[name[1]] = true
	}
	list, err := os.ReadFile("debian/packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name != "" && !installed[name] {
			t.Errorf("%s is not in the image", name)
		}
	}
	for name := range installed {
		if regexp.MustCompile(`^(initramfs-tools|dracut|grub-|exim|postfix|avahi|gcc-\d+$|libvirt-daemon-driver-lxc)`).MatchString(name) && !strings.HasSuffix(name, "-base") {
			t.Errorf("%s is in the image", name)
		}
	}
	var sources []string
	for _, name := range slices.Concat(s.below("etc/apt/sources.list.d"), []string{"etc/apt/sources.list"}) {
		if _, found := s.files[name]; found {
			sources = append(sources, name)
		}
	}
	if diff := cmp.Diff([]string{"etc/apt/sources.list.d/debian.sources"}, sources); diff != "" {
		t.Errorf("sources of packages (-want +got):\n%s", diff)
	}
	const keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	want := "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: SUITE SUITE-updates\nComponents: COMPONENTS\nSigned-By: " + keys + "\n\n" +
		"Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: SUITE-security\nComponents: COMPONENTS\nSigned-By: " + keys + "\n"
	want = strings.NewReplacer("SUITE", r["suite"], "COMPONENTS", r["components"]).Replace(want)
	if diff := cmp.Diff(want, s.cat("etc/apt/sources.list.d/debian.sources")); diff != "" {
		t.Errorf("debian.sources (-want +got):\n%s", diff)
	}
	if _, found := s.files[keys[1:]]; !found {
		t.Errorf("%s is not there", keys)
	}
	for _, folder := range []string{"var/lib/apt/lists", "var/cache/apt/archives", "tmp", "var/tmp", "var/log/apt", "root"} {
		for _, name := range s.below(folder) {
			if !slices.Contains([]string{".bashrc", ".profile", "lock"}, path.Base(name)) {
				t.Errorf("left over: %s", name)
			}
		}
	}
}

// TestImageStarts: what is enabled, what listens, and what runs with another's
// rights is a list that a person has read.
func TestImageStarts(t *testing.T) {
	s := openImage(t)
	var have []string
	for name, f := range s.files {
		folder := path.Base(path.Dir(name))
		switch {
		case f.mode[0] == '-' && (f.mode[3] == 's' || f.mode[6] == 's'):
			have = append(have, "setid "+f.mode+" /"+name)
		case f.mode[0] == '-' && f.mode[8] == 'w':
			t.Errorf("everybody may write to /%s", name)
		case strings.HasPrefix(name, "usr/lib/systemd/system/sockets.target.wants/"):
			have = append(have, "socket "+path.Base(name))
		case !strings.HasPrefix(name, "etc/systemd/") || f.mode[0] == 'd':
		case f.link == "/dev/null":
			have = append(have, "masked "+path.Base(name))
		case strings.HasSuffix(folder, ".wants") || strings.HasSuffix(folder, ".requires"):
			have = append(have, "enabled "+strings.Split(name, "/")[2]+" "+path.Base(name)+" by "+strings.TrimSuffix(folder, path.Ext(folder)))
		case f.link != "":
			have = append(have, "alias "+path.Base(name)+" of "+path.Base(f.link))
		case strings.HasPrefix(name, "etc/systemd/system/"):
			have = append(have, "own /"+name)
		}
	}
	slices.Sort(have)
	const golden = "testdata/image-starts.txt"
	got := strings.Join(have, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what the image starts (-want +got), to be read and taken over by -update:\n%s", diff)
	}
}

// TestImageIsNobodys: two hosts of one image share no identity, and nobody can
// log in.
func TestImageIsNobodys(t *testing.T) {
	s := openImage(t)
	if f := s.files["etc/machine-id"]; f.size != "0" {
		t.Errorf("/etc/machine-id has %s bytes, want none", f.size)
	}
	secret := regexp.MustCompile(`^(etc|var|root|home|srv)/(.*/)?(ssh_host_.*|random-seed|credential\.secret|machine-id|hostid|hostnqn|authorized_keys|secrets-encryption-key|.*\.key|\.bash_history|dhcp6?-duid.*)$`)
	for name, f := range s.files {
		if f.mode[0] == '-' && f.size != "0" && secret.MatchString(name) {
			t.Errorf("the image has /%s", name)
		}
		if f.mode[0] == 'b' || f.mode[0] == 'c' {
			if !strings.HasPrefix(name, "dev/") {
				t.Errorf("/%s is a device", name)
			}
		}
	}
	for _, folder := range []string{"etc/hvinstall", "var/lib/hvinstall", "etc/ssl/private", "var/lib/swtpm-localca", "var/lib/libvirt/secrets", "home", "run"} {
		for _, name := range s.below(folder) {
			t.Errorf("the image has /%s", name)
		}
	}
	for line := range strings.Lines(s.cat("etc/shadow")) {
		if f := strings.Split(line, ":"); !slices.Contains([]string{"*", "!", "!*"}, f[1]) {
			t.Errorf("%s has a password, or needs none", f[0])
		}
	}
	var login []string
	for line := range strings.Lines(s.cat("etc/passwd")) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if f[1] != "x" {
			t.Errorf("%s has %q where shadow is meant", f[0], f[1])
		}
		if shell := path.Base(f[6]); shell != "nologin" && shell != "false" && shell != "sync" {
			login = append(login, f[0])
		}
	}
	if !slices.Equal(login, []string{"root"}) {
		t.Errorf("%v have a shell, want root alone", login)
	}
	if got := s.below("etc/sudoers.d"); !slices.Equal(got, []string{"etc/sudoers.d/README"}) {
		t.Errorf("sudoers.d has %v", got)
	}
}

// TestImageFirmware: the drivers of wired network cards and of disks that ask
// for firmware find all of it.
func TestImageFirmware(t *testing.T) {
	s := openImage(t)
	dir := t.TempDir()
	modules := map[string]string{}
	for name := range s.files {
		for _, driver := range []string{"r8169", "r8152", "bnx2", "bnx2x", "tg3", "e100", "ice", "qed", "netxen_nic", "cxgb4", "bna", "qla1280", "advansys"} {
			if base := path.Base(name); strings.HasPrefix(name, "usr/lib/modules/") && strings.HasPrefix(base, driver+".ko") {
				modules[driver] = name
			}
		}
	}
	// qla1280 and advansys are disk drivers: the initramfs takes theirs.
	if len(modules) != 13 {
		t.Errorf("the kernel has %v", slices.Sorted(maps.Keys(modules)))
	}
	run(t, append([]string{"unsquashfs", "-quiet", "-no-progress", "-dest", filepath.Join(dir, "root"), s.file}, slices.Sorted(maps.Values(modules))...)...)
	for driver, module := range modules {
		var missing, found []string
		for name := range strings.FieldsSeq(run(t, "modinfo", "-F", "firmware", filepath.Join(dir, "root", module))) {
			if _, there := s.files["usr/lib/firmware/"+name]; there {
				found = append(found, name)
			} else {
				missing = append(missing, name)
			}
		}
		if len(found) == 0 || len(missing) > 0 {
			t.Errorf("%s finds %v, and not %v", driver, found, missing)
		}
	}
	for _, name := range []string{"amd-ucode/microcode_amd_fam17h.bin", "intel-ucode/06-9e-0a", "amd/amd_sev_fam17h_model0xh.sbin"} {
		if _, found := s.files["usr/lib/firmware/"+name]; !found {
			if _, early := s.files["usr/lib/firmware/"+name+".initramfs"]; !early {
				t.Errorf("there is no %s", name)
			}
		}
	}
}
