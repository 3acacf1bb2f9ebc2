package configs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for in, want := range map[string]string{
		`{name: me, password_hash: "$6$e2e$JIQj2kb/aXJ.atE", groups: [wheel]}`: `{name: me, password_hash: "$y$hidden", groups: [wheel]}`,
		"password_hash: $y$j9T$abc$def\n# was: $2b$05$abc\n":                   "password_hash: $y$hidden\n# was: $y$hidden\n",
		"url: https://me:hunter2@example.org/a.qcow2":                          "url: https://example.org/a.qcow2",
		"url: https://example.org/me@home.qcow2":                               "url: https://example.org/me@home.qcow2",
	} {
		if got := string(Public([]byte(in))); got != want {
			t.Errorf("Public(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestPublicLoads: what everybody may read is a layout still.
func TestPublicLoads(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	hashes := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		hashes += bytes.Count(text, []byte("password_hash: "))
		public := filepath.Join(t.TempDir(), filepath.Base(file))
		if err := os.WriteFile(public, Public(text), 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := LoadFile(public, "")
		if err != nil {
			t.Errorf("%s without its secrets: %v", file, err)
			continue
		}
		for _, u := range l.Users {
			if u.PasswordHash != "" && !strings.HasSuffix(u.PasswordHash, "hidden") {
				t.Errorf("%s: the hash of %s is still there", file, u.Name)
			}
		}
	}
	if hashes == 0 {
		t.Error("no example has a password hash: the test tests nothing")
	}
}
