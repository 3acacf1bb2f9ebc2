package osimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"
	"hvinstall/step"
)

// TestSshdOverruled: what sshd makes of all its files counts, not ours alone.
func TestSshdOverruled(t *testing.T) {
	const good = "port 22\npermitrootlogin no\npasswordauthentication no\nkbdinteractiveauthentication no\nx11forwarding no\nusepam yes\n"
	if why := sshdOverruled(good); why != "" {
		t.Errorf("what is as it should be: %q", why)
	}
	for _, word := range []string{"permitrootlogin", "passwordauthentication", "kbdinteractiveauthentication", "x11forwarding"} {
		if why := sshdOverruled(strings.Replace(good, word+" no", word+" yes", 1)); !strings.Contains(why, word) {
			t.Errorf("%s yes: %q", word, why)
		}
	}
	if why := sshdOverruled(strings.Replace(good, "permitrootlogin no", "permitrootlogin prohibit-password", 1)); why == "" {
		t.Error("root by key is taken")
	}
}

// TestSilent: the services of NFSv3 are masked, and a unit that somebody has
// put in the mask's place is named and left alone.
func TestSilent(t *testing.T) {
	root := t.TempDir()
	s := silentStep(Env{Root: root}, nil)
	check := func(want step.State, word string) {
		t.Helper()
		if state, why, err := s.Check(t.Context()); state != want || !strings.Contains(why, word) || err != nil {
			t.Errorf("%s, %q, %v; want %s and %q", state, why, err, want, word)
		}
	}
	check(step.Absent, "resolved.conf.d")
	if err := os.MkdirAll(filepath.Join(root, "etc/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Do(t.Context(), &quiet{}); err != nil {
			t.Fatal(err)
		}
		check(step.Done, "")
	}
	mask := filepath.Join(root, unitPath("rpcbind.socket"))
	if target, err := os.Readlink(mask); err != nil || target != os.DevNull {
		t.Errorf("rpcbind.socket leads to %q, %v", target, err)
	}
	if err := os.Remove(mask); err != nil {
		t.Fatal(err)
	}
	check(step.Absent, "rpcbind.socket is not masked")
	if err := os.WriteFile(mask, []byte("[Socket]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check(step.Foreign, "rpcbind.socket is a unit of this host's owner")
}

// TestConsoleOnly: nobody is locked out unseen.
func TestConsoleOnly(t *testing.T) {
	v := values()
	v.LibvirtUsers = nil
	v.Users = []configs.User{{Name: "ann", PasswordHash: oldHash}}
	p, _ := MakePlan(v, "")
	if got := strings.Join(p.Warnings(AccountFacts{RootByKey: true}), "\n"); !strings.Contains(got, "ann has none") || !strings.Contains(got, "root has SSH keys") {
		t.Errorf("warnings %q", got)
	}
	if got := p.Warnings(AccountFacts{Users: []AccountFact{{Name: "ann", OwnKeys: []string{"SHA256:x"}}}}); len(got) > 0 {
		t.Errorf("with a key by hand: %q", got)
	}
	v.Users = append(v.Users, configs.User{Name: "bob", SSHAuthorizedKeys: []string{laptop}})
	p, _ = MakePlan(v, "")
	if got := p.Warnings(AccountFacts{}); len(got) > 0 {
		t.Errorf("with a key of somebody's: %q", got)
	}
}
