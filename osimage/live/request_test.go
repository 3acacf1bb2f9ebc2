package live

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	for _, c := range []struct {
		line string
		want Request
	}{
		{"quiet hvinstall.plan=layout.yaml hvinstall.yes", Request{Plan: Medium + "/layout.yaml", Yes: true, Then: Stay}},
		{"hvinstall.plan=/hosts/a.yaml hvinstall.confirm=cafe hvinstall.then=poweroff\n", Request{Plan: Medium + "/hosts/a.yaml", Confirm: "cafe", Then: PowerOff}},
		{"hvinstall.plan=https://10.0.2.2/a.yaml hvinstall.yes hvinstall.passphrase_file=secret.txt hvinstall.then=reboot",
			Request{Plan: "https://10.0.2.2/a.yaml", Yes: true, Passphrase: Medium + "/secret.txt", Then: Reboot}},
		{"hvinstall.plan=http://10.0.2.2/a.yaml hvinstall.yes hvinstall.plan_sha256=" + strings.Repeat("AB", 32),
			Request{Plan: "http://10.0.2.2/a.yaml", Yes: true, Sum: strings.Repeat("ab", 32), Then: Stay}},
		{"hvinstall.plan=http://10.0.2.2/a.yaml hvinstall.confirm=cafe", Request{Plan: "http://10.0.2.2/a.yaml", Confirm: "cafe", Then: Stay}},
		{"hvinstall.live=ram hvinstall.plan=a.yaml hvinstall.yes hvinstall.passphrase_file=s hvinstall.passphrase_clear",
			Request{Plan: Medium + "/a.yaml", Yes: true, Passphrase: Medium + "/s", Clear: true, Then: Stay}},
	} {
		got, err := ParseRequest(c.line)
		if err != nil || got != c.want {
			t.Errorf("ParseRequest(%q) = %+v, %v; want %+v", c.line, got, err, c.want)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"hvinstall.plan=layout.yaml":                                                    "without consent",
		"hvinstall.plan=layout.yaml hvinstall.yes hvinstall.confirm=ab":                 "give one of them",
		"hvinstall.plan=../etc/shadow hvinstall.yes":                                    "leads out of the stick",
		"hvinstall.plan=layout.yaml hvinstall.yes hvinstall.then=halt":                  "none of stay",
		"hvinstall.plan=layout.yaml hvinstall.yes hvinstall.passphrase=hunter2":         "put it into a file",
		"hvinstall.plan=layout.yaml hvinstall.confirm=":                                 "digest is missing",
		"hvinstall.plan=http://x/a hvinstall.yes":                                       "whoever answers first",
		"hvinstall.plan=HTTP://x/a hvinstall.yes":                                       "whoever answers first",
		"hvinstall.plan=http://x/a hvinstall.yes hvinstall.plan_sha256=ab":              "64 hexadecimal digits",
		"hvinstall.plan=http://x/a hvinstall.yes hvinstall.plan_sha256=":                "64 hexadecimal digits",
		"hvinstall.live=ram hvinstall.plan=a hvinstall.yes hvinstall.passphrase_file=s": "read by everybody",
		"hvinstall.plan=https:///a hvinstall.yes":                                       "has no host",
		"hvinstall.plan=layout.yaml hvinstall.yes hvinstall.passphrase_file=":           "name is missing",
		"hvinstall.plan=layout.yaml hvinstall.yes=no hvinstall.confirm=cafebabe1":       "without a value",
	} {
		_, err := ParseRequest(line)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseRequest(%q) = %v, want an error with %q", line, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the passphrase: %v", err)
		}
	}
	if _, err := ParseRequest("root=/dev/sda quiet"); !errors.Is(err, ErrNoRequest) {
		t.Errorf("error = %v, want ErrNoRequest", err)
	}
}

func TestArguments(t *testing.T) {
	r := Request{Yes: true, Passphrase: Medium + "/p"}
	want := []string{"--plan", "/run/x", "--yes", "--passphrase-fd", "3"}
	if got := r.Arguments("/run/x"); !slices.Equal(got, want) {
		t.Errorf("arguments = %q, want %q", got, want)
	}
}
