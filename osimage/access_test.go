package osimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/step"
)

const (
	laptop  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 laptop"
	desk    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 desk"
	byHand  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 by-hand"
	oldHash = "$y$j9T$old$old"
	newHash = "$y$j9T$new$new"
)

// livingHost is a system whose accounts belong to who runs the test, so that
// no root is needed to give them files. Root is nobody's account: there they
// have a number of people's.
type livingHost struct {
	t    *testing.T
	root string
}

func newLivingHost(t *testing.T) livingHost {
	t.Helper()
	h := livingHost{t, t.TempDir()}
	var passwd, shadow, group, gshadow strings.Builder
	for _, name := range []string{"ann", "bob"} {
		fmt.Fprintf(&passwd, "%s:x:%d:%d::/home/%s:/bin/bash\n", name, livingID(os.Getuid()), livingID(os.Getgid()), name)
		fmt.Fprintf(&shadow, "%s:!:20000:0:99999:7:::\n", name)
	}
	for i, name := range []string{"sudo", "libvirt", "kvm", "docker", "adm"} {
		fmt.Fprintf(&group, "%s:x:%d:\n", name, 100+i)
		fmt.Fprintf(&gshadow, "%s:!::\n", name)
	}
	for name, text := range map[string]string{"passwd": passwd.String(), "shadow": shadow.String(), "group": group.String(), "gshadow": gshadow.String()} {
		h.put("etc/"+name, text)
	}
	return h
}

func livingID(id int) int {
	if id == 0 {
		return firstID
	}
	return id
}

func (h livingHost) put(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	for ; strings.HasPrefix(name, "home/") && os.Getuid() == 0; name = filepath.Dir(name) {
		if err := os.Lchown(filepath.Join(h.root, name), firstID, livingID(os.Getgid())); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h livingHost) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.root, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

func (h livingHost) plan(libvirt []string, users ...configs.User) Plan {
	h.t.Helper()
	v := values()
	v.Users, v.LibvirtUsers = users, libvirt
	p, refusals := MakePlan(v, "")
	if len(refusals) > 0 {
		h.t.Fatal(refusals)
	}
	return p
}

// converge runs the step, and again to see that it has nothing to do. It
// returns what the preview and what status had said before.
func (h livingHost) converge(p Plan) (taken, kept []string, why string) {
	h.t.Helper()
	taken, kept = p.Access(ProbeAccounts(h.root))
	s := p.usersStep(Env{Root: h.root}, nil)
	state, why, err := s.Check(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	if state == step.Done {
		return taken, kept, ""
	}
	if err := s.Do(context.Background(), &quiet{}); err != nil {
		h.t.Fatal(err)
	}
	if state, why, err := s.Check(context.Background()); state != step.Done || err != nil {
		h.t.Fatalf("after the step it is %s: %s, %v", state, why, err)
	}
	return taken, kept, why
}

// inGroups are the groups of an account, by group(5).
func (h livingHost) inGroups(name string) string {
	var in []string
	for _, file := range []string{"etc/group", "etc/gshadow"} {
		for _, r := range records(h.read(file)) {
			if slices.Contains(members(r), name) {
				in = append(in, r[0])
			}
		}
	}
	slices.Sort(in)
	return strings.Join(slices.Compact(in), " ")
}

// TestAccessIsTakenBack: what the layout gave and no longer gives goes, and what
// a person gave stays, each named beforehand.
func TestAccessIsTakenBack(t *testing.T) {
	h := newLivingHost(t)
	ann := configs.User{Name: "ann", SSHAuthorizedKeys: []string{laptop, desk}, PasswordHash: oldHash, Groups: []string{"wheel", "adm"}}
	bob := configs.User{Name: "bob", SSHAuthorizedKeys: []string{desk}, PasswordHash: newHash, Groups: []string{"wheel"}}
	h.converge(h.plan([]string{"ann", "bob"}, ann, bob))
	if got := h.inGroups("bob"); got != "kvm libvirt sudo" {
		t.Fatalf("bob is in %q", got)
	}

	// A person adds a key, a group and an account.
	h.put("home/ann/.ssh/authorized_keys", byHand+"\n"+h.read("home/ann/.ssh/authorized_keys"))
	h.put("etc/group", strings.Replace(h.read("etc/group"), "docker:x:103:", "docker:x:103:ann", 1))
	h.put("etc/passwd", h.read("etc/passwd")+"carl:x:1500:1500::/home/carl:/bin/bash\n")

	// The layout loses a key, a group, a password, the libvirt group and bob.
	ann.SSHAuthorizedKeys, ann.Groups, ann.PasswordHash = []string{laptop}, []string{"wheel"}, ""
	less := h.plan(nil, ann)
	taken, kept, why := h.converge(less)
	for _, want := range []string{"(desk) goes", "ann: goes out of group adm", "ann: goes out of group libvirt", "ann: the password goes", "bob is no longer in the layout: locked"} {
		if !strings.Contains(strings.Join(taken, "\n"), want) || !strings.Contains(why, want) {
			t.Errorf("neither preview nor status without %q:\n%s\n%s", want, strings.Join(taken, "\n"), why)
		}
	}
	for _, want := range []string{"(by-hand)", "ann: in group docker", "carl is an account"} {
		if !strings.Contains(strings.Join(kept, "\n"), want) {
			t.Errorf("the preview does not show %q as kept:\n%s", want, strings.Join(kept, "\n"))
		}
	}
	if got := h.read("home/ann/.ssh/authorized_keys"); got != byHand+"\n"+inBlock(laptop) {
		t.Errorf("ann's keys:\n%s", got)
	}
	if got := h.inGroups("ann"); got != "docker sudo" {
		t.Errorf("ann is in %q, want docker, by hand, and sudo", got)
	}
	shadow := h.read("etc/shadow")
	if !strings.Contains(shadow, "ann:!:") || strings.Contains(shadow, newHash) && !strings.Contains(shadow, "bob:!") {
		t.Errorf("passwords stay:\n%s", shadow)
	}
	if bob := find(records(shadow), "bob"); bob[1] != "!" || bob[7] != "1" || !strings.Contains(h.read("etc/passwd"), "/home/bob:"+noLogin) {
		t.Errorf("bob is not locked: %q\n%s", bob, h.read("etc/passwd"))
	}
	if got := h.inGroups("bob"); got != "" {
		t.Errorf("bob is still in %q", got)
	}
	if got := h.read("home/bob/.ssh/authorized_keys"); strings.Contains(got, "ssh-") {
		t.Errorf("bob's keys stay:\n%s", got)
	}
	if !strings.Contains(h.read("etc/passwd"), "carl:x:1500") {
		t.Error("a person's account went")
	}
	if taken, _, why := h.converge(less); len(taken) > 0 || why != "" {
		t.Errorf("a second run takes back %q, %q", taken, why)
	}

	// Whoever unlocks bob by hand is not contradicted; the layout may have him
	// back.
	h.put("etc/shadow", strings.Replace(h.read("etc/shadow"), ":7::1:", ":7:::", 1))
	if taken, _, why := h.converge(less); len(taken) > 0 || why != "" {
		t.Errorf("bob, unlocked by hand, is taken back: %q, %q", taken, why)
	}
	h.converge(h.plan([]string{"bob"}, ann, bob))
	if b := find(records(h.read("etc/shadow")), "bob"); b[1] != newHash || b[7] != "" || !strings.Contains(h.read("etc/passwd"), "/home/bob:/bin/bash") || h.inGroups("bob") != "kvm libvirt sudo" {
		t.Errorf("bob is back as %q in %q", b, h.inGroups("bob"))
	}
}

// TestAccessOfAKilledRun: a run that dies after the accounts were written, or
// before, has not forgotten what it gave.
func TestAccessOfAKilledRun(t *testing.T) {
	h := newLivingHost(t)
	ann := configs.User{Name: "ann", SSHAuthorizedKeys: []string{laptop}}
	bob := configs.User{Name: "bob", SSHAuthorizedKeys: []string{desk}, Groups: []string{"wheel"}}
	h.converge(h.plan(nil, ann))
	// It dies with bob's groups written, and the rest not.
	if _, _, err := h.plan(nil, ann, bob).writeAccounts(h.root); err != nil {
		t.Fatal(err)
	}
	if got := h.inGroups("bob"); got != "sudo" {
		t.Fatalf("bob is in %q", got)
	}
	h.converge(h.plan(nil, ann))
	if got := h.inGroups("bob"); got != "" {
		t.Errorf("bob is still in %q: what the killed run gave was forgotten", got)
	}
	if !strings.Contains(h.read("etc/passwd"), "/home/bob:/bin/bash") {
		t.Error("bob was there before and is locked")
	}
}
