//go:build loop

package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMarkIsRead: the mark is read from headers that cryptsetup wrote, from a
// header brought back from its backup, and from the second copy where the first
// is torn; what is damaged, of a newer version or contradicts the label is told
// apart and never believed.
func TestMarkIsRead(t *testing.T) {
	needs(t, map[string]string{"cryptsetup": "cryptsetup-bin"})
	good := Mark{Version: 1, Host: "h-1", Role: RolePool, Pool: "fast", Number: 2, Of: 3, Filesystem: "11111111-2222-3333-4444-555555555555"}
	make := func(t *testing.T, token string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "volume")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 32<<20); err != nil {
			t.Fatal(err)
		}
		program(t, "sh", "-c", "echo -n x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --uuid 11111111-2222-3333-4444-666666666666 --label crypt-fast-2 --subsystem hvinstall "+path+" -")
		if token != "" {
			program(t, "sh", "-c", "echo '"+token+"' | cryptsetup token import "+path)
		}
		return path
	}
	carried := func(t *testing.T, path string) Carried {
		t.Helper()
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		d := Disk{Partitions: []Partition{{Signatures: readLUKS(newContent(file, 0, 32<<20, 512))}}}
		c, found := d.Carried()
		if !found || c.Role != RolePool || c.UUID != "11111111-2222-3333-4444-666666666666" {
			t.Fatalf("carried = %+v, %v", c, found)
		}
		return c
	}
	for name, c := range map[string]struct {
		token  string
		change func(path string)
		host   string
		says   string
	}{
		"marked":   {string(good.Token()), nil, "h-1", ""},
		"unmarked": {"", nil, "", ""},
		"newer":    {`{"type":"hvinstall-host","keyslots":[],"version":2,"host":"h-1","role":"disk"}`, nil, "", "its mark is of version 2, which a newer hvinstall wrote"},
		"damaged":  {`{"type":"hvinstall-host","keyslots":[],"host":7}`, nil, "", "its mark is damaged"},
		"forged":   {`{"type":"hvinstall-host","keyslots":[],"version":1,"host":"h-1","role":"pool","pool":"slow","number":1}`, nil, "", "its mark says crypt-slow-1 and its label crypt-fast-2"},
		"label changed": {string(good.Token()), func(path string) {
			program(t, "cryptsetup", "config", path, "--label", "mydata")
		}, "", "its mark says crypt-fast-2 and its label mydata"},
		"label empty": {string(good.Token()), func(path string) {
			program(t, "cryptsetup", "config", path, "--label", "")
		}, "", "its mark says crypt-fast-2, and it has no label"},
		"label, subsystem and UUID torn in the first copy": {string(good.Token()), func(path string) {
			program(t, "sh", "-c", "for at in 24 168 208; do head -c 40 /dev/zero | dd of="+path+" bs=1 seek=$at conv=notrunc status=none; done")
		}, "h-1", ""},
		"length torn in the first copy": {string(good.Token()), func(path string) {
			program(t, "sh", "-c", "head -c 8 /dev/zero | dd of="+path+" bs=1 seek=8 conv=notrunc status=none")
		}, "h-1", ""},
		"torn first copy": {string(good.Token()), func(path string) {
			program(t, "sh", "-c", "printf torn | dd of="+path+" bs=1 seek=5000 conv=notrunc status=none")
		}, "h-1", ""},
		"from its backup": {string(good.Token()), func(path string) {
			program(t, "cryptsetup", "luksHeaderBackup", path, "--header-backup-file", path+".luks")
			program(t, "dd", "if=/dev/zero", "of="+path, "bs=1M", "count=1", "conv=notrunc", "status=none")
			program(t, "cryptsetup", "luksHeaderRestore", "-q", path, "--header-backup-file", path+".luks")
		}, "h-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := make(t, c.token)
			if c.change != nil {
				c.change(path)
			}
			if got := carried(t, path); got.Host != c.host || got.Problem != c.says {
				t.Errorf("carried = %+v, want host %q, problem %q", got, c.host, c.says)
			}
		})
	}
}
