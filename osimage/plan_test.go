package osimage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hvinstall/configs"
	"hvinstall/step"
)

func values() Values {
	return Values{
		Hostname: "hypervisor",
		Image:    configs.Image{URL: "file:///run/hvinstall/live/hvinstall/root.squashfs", SHA256: strings.Repeat("AB", 32)},
		Locale:   configs.Locale{Lang: "en_GB.UTF-8", Timezone: "Europe/Brussels", Keymap: "be"},
		Users: []configs.User{
			{Name: "snyssen", SSHAuthorizedKeys: []string{"ssh-ed25519 AAAAC3Nz snyssen@desk"}, Groups: []string{"wheel"}},
			{Name: "guest", PasswordHash: "$y$j9T$abc$def"},
		},
		LibvirtUsers: []string{"snyssen"},
		Mounts: []Mount{
			{Source: "UUID=1111", Target: "/", FSType: "btrfs", Options: []string{"subvol=root", "noatime"}, Scrub: true},
			{Source: "UUID=1111", Target: "/home", FSType: "btrfs", Options: []string{"subvol=home", "noatime"}},
			{Source: "UUID=ABCD-1234", Target: "/efi", FSType: "vfat", Options: []string{"umask=0077"}},
			{Source: "UUID=2222", Target: "/mnt/vmstore", FSType: "btrfs", Options: []string{"subvol=vmstore"}, Pool: true, Scrub: true},
		},
		ESP: "/efi", Swap: "/swap/swapfile", NFS: true, Trim: true,
		Layout: []byte("hostname: hypervisor\n"), BootConfig: []byte("{}\n"),
	}
}

func TestMakePlan(t *testing.T) {
	p, refusals := MakePlan(values(), "")
	if len(refusals) > 0 {
		t.Fatalf("refusals = %v, want none", refusals)
	}
	want := []UserPlan{
		{Name: "snyssen", Keys: []string{"ssh-ed25519 AAAAC3Nz snyssen@desk"}, Groups: []string{"kvm", "libvirt", "sudo"}, SudoNoPassword: true},
		{Name: "guest", PasswordSHA256: sum([]byte("$y$j9T$abc$def")), hash: "$y$j9T$abc$def"},
	}
	if diff := cmp.Diff(want, p.Users, cmp.AllowUnexported(UserPlan{})); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	units := []string{
		"fstrim.timer", "hvinstall-scrub@-.timer", `hvinstall-scrub@mnt-vmstore.timer`,
		"libvirt-guests.service", "libvirtd.service", "nfs-server.service", "smartmontools.service", "ssh.service",
	}
	if diff := cmp.Diff(units, p.Enable); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if p.Image.SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("sha256 = %s, want it in lower case", p.Image.SHA256)
	}
}

func TestMakePlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Values)
		want   []string
	}{
		{"no sum", func(v *Values) { v.Image.SHA256 = "" }, []string{"image-sum"}},
		{"ftp", func(v *Values) { v.Image.URL = "ftp://server/image" }, []string{"image-url"}},
		{"nobody", func(v *Values) { v.Users, v.LibvirtUsers = nil, nil }, []string{"no-login"}},
		{"user without key or password", func(v *Values) { v.Users = []configs.User{{Name: "snyssen"}} }, []string{"no-login"}},
		{"unknown libvirt user", func(v *Values) { v.LibvirtUsers = []string{"nobody-here"} }, []string{"unknown-user"}},
		{"no root", func(v *Values) { v.Mounts = v.Mounts[1:] }, []string{"no-root"}},
		{"no ESP", func(v *Values) { v.ESP = "/boot" }, []string{"no-esp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := values()
			c.change(&v)
			_, refusals := MakePlan(v, "")
			var codes []string
			for _, r := range refusals {
				codes = append(codes, r.Code)
			}
			if !slices.Equal(codes, c.want) {
				t.Errorf("refusals = %v, want %v", codes, c.want)
			}
		})
	}
}

func TestLiveSumStandsIn(t *testing.T) {
	v := values()
	v.Image.SHA256 = ""
	p, refusals := MakePlan(v, "feed")
	if len(refusals) > 0 || p.Image.SHA256 != "feed" {
		t.Errorf("sum = %q, refusals %v; want the live medium's", p.Image.SHA256, refusals)
	}
}

func TestFstab(t *testing.T) {
	p, _ := MakePlan(values(), "")
	want := `UUID=1111       /             btrfs  subvol=root,noatime,x-systemd.device-timeout=15min        0 0
UUID=1111       /home         btrfs  subvol=home,noatime,x-systemd.device-timeout=15min        0 0
UUID=ABCD-1234  /efi          vfat   umask=0077,nofail,x-systemd.device-timeout=15min          0 2
UUID=2222       /mnt/vmstore  btrfs  subvol=vmstore,noauto,nofail,x-systemd.device-timeout=5s  0 0
/swap/swapfile  none          swap   defaults                                                  0 0
`
	if diff := cmp.Diff(want, p.fstab()); diff != "" {
		t.Errorf("fstab (-want +got):\n%s", diff)
	}
	mine := "# mine\nUUID=3333 /srv ext4 defaults 0 0\n"
	first := p.fstabEdit().want([]byte(mine))
	if !strings.HasPrefix(string(first), mine) {
		t.Errorf("fstab lost the owner's line:\n%s", first)
	}
	p.Mounts = p.Mounts[:3]
	second := string(p.fstabEdit().want(append(first, "UUID=4444 /opt ext4 defaults 0 0\n"...)))
	for _, has := range []string{mine, "UUID=4444 /opt"} {
		if !strings.Contains(second, has) {
			t.Errorf("fstab lost %q:\n%s", has, second)
		}
	}
	if strings.Contains(second, "/mnt/vmstore") {
		t.Errorf("fstab kept a line that is no longer planned:\n%s", second)
	}
}

// Every edit, applied to its own result, must change nothing: that is how a
// second run finds nothing to do.
func TestEditsSettle(t *testing.T) {
	p, _ := MakePlan(values(), "")
	edits := slices.Concat(p.hostnameEdits(), p.localeEdits(t.TempDir()), p.unitEdits(), fileEdits(), p.ownEdits(false), []edit{p.fstabEdit(), p.sudoersEdit()})
	for _, old := range []string{"", "something\nelse", "127.0.1.1 other\n127.0.1.1 again\n"} {
		for _, e := range edits {
			once := e.want([]byte(old))
			if twice := e.want(once); string(twice) != string(once) {
				t.Errorf("%s does not settle from %q:\n%s\nthen:\n%s", e.path, old, once, twice)
			}
		}
	}
	root := t.TempDir()
	for _, e := range edits {
		if why, err := e.differs(root); err != nil || why == "" {
			t.Errorf("%s: differs = %q, %v before it is written", e.path, why, err)
		}
		if err := e.apply(root); err != nil {
			t.Fatal(err)
		}
		if why, err := e.differs(root); err != nil || why != "" {
			t.Errorf("%s: differs = %q, %v after it is written", e.path, why, err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "etc/hvinstall/layout.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("layout.yaml: %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct{ name, old, want string }{
		{"new", "", "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\thypervisor\n"},
		{"replaced", "127.0.0.1 localhost\n127.0.1.1 old\n10.0.0.1 nas\n", "127.0.0.1 localhost\n127.0.1.1\thypervisor\n10.0.0.1 nas\n"},
		{"kept with its alias", "127.0.1.1 hypervisor.lan hypervisor\n", "127.0.1.1 hypervisor.lan hypervisor\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(hosts([]byte(c.old), "hypervisor")); got != c.want {
				t.Errorf("hosts = %q, want %q", got, c.want)
			}
		})
	}
}

func TestEscapePath(t *testing.T) {
	for in, want := range map[string]string{
		"/": "-", "/mnt/vmstore": "mnt-vmstore", "/mnt/my-pool": `mnt-my\x2dpool`, "/mnt/été": `mnt-\xc3\xa9t\xc3\xa9`,
	} {
		if got := escapePath(in); got != want {
			t.Errorf("escapePath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAccounts(t *testing.T) {
	before := accounts{
		passwd:  "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		shadow:  "root::20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n",
		group:   "root:x:0:\nsudo:x:27:\nkvm:x:104:other\nlibvirt:x:105:\n",
		gshadow: "root:*::\nsudo:*::\nkvm:!::other\nlibvirt:!::\n",
	}
	p, _ := MakePlan(values(), "")
	now := time.Unix(20500*86400, 0)
	got, given, err := before.with(p.Users, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	want := accounts{
		passwd:  before.passwd + "snyssen:x:1000:1000::/home/snyssen:/bin/bash\nguest:x:1001:1001::/home/guest:/bin/bash\n",
		shadow:  "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\nsnyssen:!:20500:0:99999:7:::\nguest:$y$j9T$abc$def:20500:0:99999:7:::\n",
		group:   "root:x:0:\nsudo:x:27:snyssen\nkvm:x:104:other,snyssen\nlibvirt:x:105:snyssen\nsnyssen:x:1000:\nguest:x:1001:\n",
		gshadow: "root:*::\nsudo:*::snyssen\nkvm:!::other,snyssen\nlibvirt:!::snyssen\nsnyssen:!::\nguest:!::\n",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(accounts{})); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	again, same, err := got.with(p.Users, given, now.Add(100*24*time.Hour))
	if err != nil || again != got || !same.equal(given) {
		t.Errorf("the second time accounts change:\n%s", cmp.Diff(got, again, cmp.AllowUnexported(accounts{})))
	}
}

func TestAccountsKeepWhatIsThere(t *testing.T) {
	before := accounts{
		passwd:  "snyssen:x:1234:100:S:/srv/snyssen:/bin/zsh\n",
		shadow:  "snyssen:$old:19000:0:99999:7:::\n",
		group:   "users:x:100:\nsudo:x:27:\nlibvirt:x:105:\nkvm:x:104:\nx:x:1000:\n",
		gshadow: "sudo:*::\n",
	}
	got, given, err := before.with([]UserPlan{{Name: "snyssen", Groups: []string{"sudo"}}, {Name: "new"}}, Given{}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.passwd, before.passwd) || !strings.HasPrefix(got.shadow, before.shadow) {
		t.Errorf("an account that was there changed:\n%s%s", got.passwd, got.shadow)
	}
	if !strings.Contains(got.passwd, "new:x:1001:1001:") {
		t.Errorf("passwd = %s, want new with ID 1001: 1000 is a group", got.passwd)
	}
	if given["snyssen"].Made || !given["new"].Made {
		t.Errorf("given %+v: only new was made", given)
	}
}

func TestAuthorizedKeys(t *testing.T) {
	old := "# mine\nno-pty ssh-rsa AAAAB3one me\n"
	got := authorizedKeys(old, []string{"ssh-rsa AAAAB3one another comment", "ssh-ed25519 AAAAC3two"})
	if want := old + inBlock("ssh-ed25519 AAAAC3two"); got != want {
		t.Errorf("authorized_keys = %q, want %q", got, want)
	}
}

func inBlock(lines ...string) string {
	return keysBegin + "\n" + strings.Join(lines, "\n") + "\n" + keysEnd + "\n"
}

// TestAuthorizedKeysMeanWhatTheySay: a key in a comment opens nothing, a
// restriction in the layout counts though the key is there without it, and what
// the layout no longer has goes.
func TestAuthorizedKeysMeanWhatTheySay(t *testing.T) {
	const key, other = "ssh-ed25519 AAAAC3two", "ssh-ed25519 AAAAC3one"
	const restricted = `restrict,from="192.168.1.0/24" ` + key
	for _, c := range []struct {
		old  string
		keys []string
		want string
	}{
		{"# " + key + " gone\n", []string{key}, "# " + key + " gone\n" + inBlock(key)},
		{key + " me\n", []string{restricted}, inBlock(restricted)},
		{key + " me\n" + key + " again\n", []string{restricted}, inBlock(restricted)},
		{inBlock(key), []string{restricted}, inBlock(restricted)},
		{inBlock(restricted), []string{key}, inBlock(key)},
		{"restrict " + key + "\nother\n", []string{key}, "restrict " + key + "\nother\n"},
		{`command="echo ssh-ed25519 AAAAC3two \\" x" ` + other + "\n", []string{key}, `command="echo ssh-ed25519 AAAAC3two \\" x" ` + other + "\n" + inBlock(key)},
		{"", []string{key}, inBlock(key)},
		{"other", []string{key}, "other\n" + inBlock(key)},
		{inBlock(key, other), []string{other}, inBlock(other)},
		{"mine\n" + inBlock(key) + other + " by hand\n", nil, "mine\n" + other + " by hand\n"},
		{inBlock(key), nil, ""},
		{"mine\n" + keysBegin + "\n" + other + "\n", []string{key}, "mine\n" + other + "\n" + inBlock(key)}, // its end is gone
		{inBlock(other) + inBlock(other), []string{key}, inBlock(key)},
	} {
		got := authorizedKeys(c.old, c.keys)
		if got != c.want {
			t.Errorf("%q and %q: %q, want %q", c.old, c.keys, got, c.want)
		}
		if again := authorizedKeys(got, c.keys); again != got {
			t.Errorf("a second run makes %q of %q", again, got)
		}
	}
}

// TestOwnedFiles: what a user puts in a key file's place neither hangs root nor
// leads it elsewhere.
func TestOwnedFiles(t *testing.T) {
	home := t.TempDir()
	secret := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(secret, []byte("root:hash"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(unix.Mkfifo(filepath.Join(home, "fifo"), 0o600), os.Symlink(secret, filepath.Join(home, "link")),
		os.Mkdir(filepath.Join(home, "folder"), 0o700), os.WriteFile(filepath.Join(home, "file"), []byte("key"), 0o600),
		os.WriteFile(filepath.Join(home, "huge"), make([]byte, largestOwned+1), 0o600), os.Symlink("file", filepath.Join(home, "inside")))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.OpenRoot(home)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, name := range []string{"fifo", "link", "folder", "huge"} {
		if data, err := readOwned(dir, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v; want an error", name, data, err)
		}
	}
	for _, name := range []string{"file", "inside"} { // a link within the home is the owner's own affair
		if data, err := readOwned(dir, name); err != nil || string(data) != "key" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if _, err := readOwned(dir, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	for _, name := range []string{"fifo", "link"} {
		if err := writeOwned(dir, name, []byte("new")); err != nil {
			t.Errorf("writing %s: %v", name, err)
		}
		if data, err := readOwned(dir, name); err != nil || string(data) != "new" {
			t.Errorf("%s reads %q, %v", name, data, err)
		}
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "root:hash" {
		t.Errorf("the link's target was written: %q, %v", data, err)
	}
}

func TestLocaleGen(t *testing.T) {
	old := "# en_GB.UTF-8 UTF-8\nde_DE.UTF-8 UTF-8\n"
	if got, want := string(localeGen([]byte(old), "en_GB.UTF-8")), old+"en_GB.UTF-8 UTF-8\n"; got != want {
		t.Errorf("locale.gen = %q, want %q", got, want)
	}
	if got := string(localeGen([]byte(old), "C.UTF-8")); got != old {
		t.Errorf("locale.gen = %q for C.UTF-8, want it as it was", got)
	}
	if a, b := normalLang("en_GB.UTF-8"), normalLang("en_GB.utf8"); a != b {
		t.Errorf("normalLang: %q and %q differ", a, b)
	}
}

// On a bare machine nothing is mounted, and looking must still work: it is what
// the preview does first.
func TestLookBeforeAnythingIsThere(t *testing.T) {
	p, _ := MakePlan(values(), "")
	for _, root := range []string{filepath.Join(t.TempDir(), "not-there"), t.TempDir()} {
		found, err := step.Look(context.Background(), p.Steps(Env{Root: root, Binary: "/proc/self/exe"}), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.State != step.Absent {
				t.Errorf("%s is %v (%s) on a bare machine, want absent", f.Step, f.State, f.Why)
			}
		}
	}
}
