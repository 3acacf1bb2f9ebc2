package configs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPublicURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://me:hunter2@example.org/a.qcow2":      "https://example.org/a.qcow2",
		"https://example.org/a.qcow2?sig=hunter2#x":   "https://example.org/a.qcow2",
		"https://example.org/me@home.qcow2":           "https://example.org/me@home.qcow2",
		"file:///srv/a b.img":                         "file:///srv/a b.img",
		"/nix/channel":                                "/nix/channel",
		"qemu+tls://host/system?pkipath=/root/secret": "qemu+tls://host/system",
		"https://me:%zz@example.org/":                 "",
	} {
		if got := PublicURL(in); got != want {
			t.Errorf("PublicURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPublicKey(t *testing.T) {
	for in, want := range map[string]string{
		"ssh-ed25519 AAAAC3 me@laptop":                                        "ssh-ed25519 AAAAC3",
		`restrict,command="backup --password hunter2" ssh-ed25519 AAAAC3 nas`: "ssh-ed25519 AAAAC3",
		"sk-ssh-ed25519@openssh.com AAAAG=":                                   "sk-ssh-ed25519@openssh.com AAAAG=",
		"hunter2":                                                             "",
	} {
		if got := publicKey(in); got != want {
			t.Errorf("publicKey(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestPublicShowsNoSecret puts a word of its own into every text of a layout,
// whatever its form, and looks which of them are in the public copy: those of
// the fields that are listed here, and no other. A field that is new has to be
// judged.
func TestPublicShowsNoSecret(t *testing.T) {
	l := &Layout{}
	words := map[string]string{} // by field
	fill(t, reflect.ValueOf(l).Elem(), "", words)
	d := newDecoder()
	out, err := yaml.Marshal(copier{d.shapes, publicText, nil}.structure(reflect.ValueOf(l).Elem()))
	if err != nil {
		t.Fatal(err)
	}
	hidden := []string{
		"Users.PasswordHash",
		"OS.NixOS.Imports", "OS.NixOS.Options",
		"VMs.CloudInit.UserData", "VMs.CloudInit.MetaData", "VMs.CloudInit.NetworkConfig",
		"Users.SSHAuthorizedKeys", // the word is no key
	}
	for name, word := range words {
		shown := bytes.Contains(out, []byte(word))
		if shown == slices.Contains(hidden, name) {
			t.Errorf("%s is in the public copy: %v", name, shown)
		}
	}
	if len(words) < 60 {
		t.Errorf("%d texts: not the whole layout was filled", len(words))
	}
}

// fill gives every text a word of its own, in lists of one.
func fill(t *testing.T, v reflect.Value, name string, words map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name, words)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if tag := f.Tag.Get("yaml"); tag == "-" && f.Name != "Name" {
				continue
			}
			sub := name
			if !f.Anonymous {
				sub = strings.TrimPrefix(name+"."+f.Name, ".")
			}
			fill(t, v.Field(i), sub, words)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), name, words)
	case reflect.Map:
		words[name] = fmt.Sprintf("canary%dz", len(words))
		v.Set(reflect.ValueOf(map[string]any{"option": words[name]}))
	case reflect.String:
		words[name] = fmt.Sprintf("canary%dz", len(words))
		v.SetString(words[name])
	default: // numbers and words of yes and no
	}
}

// TestPublicLoads: what everybody may read is a layout still, which means the
// same but for its secrets.
func TestPublicLoads(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	hashes := 0
	const seeded = "seeded.yaml"
	for _, file := range append(files, seeded) {
		text := []byte("hostname: a\nlibvirt_vms:\n" +
			"  - name: haos\n    boot_delay: 90s\n    disk_image: {url: \"https://x.org/a.qcow2\", dest: /mnt/vmstore/haos/a.qcow2}\n" +
			"    cloud_init: {user_data: \"#cloud-config\\npassword: hunter2\\n\", network_config: \"key: hunter2\"}\n")
		if file != seeded {
			if text, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
		whole, err := Load(file, text)
		if err != nil {
			t.Fatal(err)
		}
		copied := Public(text)
		public, err := Load(file, copied)
		if err != nil {
			t.Errorf("%s without its secrets: %v\n%s", file, err, copied)
			continue
		}
		if again := Public(append(bytes.Clone(copied), "# a comment\n"...)); !bytes.Equal(again, copied) {
			t.Errorf("%s: the copy of the copy is another:\n%s\n%s", file, copied, again)
		}
		if bytes.Contains(copied, []byte("hunter2")) || bytes.Contains(copied, []byte(" # ")) {
			t.Errorf("%s: a secret or a comment is left:\n%s", file, copied)
		}
		for i := range whole.Users {
			u := &whole.Users[i]
			for k := range u.SSHAuthorizedKeys {
				u.SSHAuthorizedKeys[k] = publicKey(u.SSHAuthorizedKeys[k])
			}
			if u.PasswordHash != "" {
				hashes++
				u.PasswordHash = hiddenHash
			}
		}
		if whole.OS != nil && whole.OS.NixOS != nil {
			whole.OS.NixOS.Imports, whole.OS.NixOS.Options = nil, nil
		}
		for i := range whole.VMs {
			if c := whole.VMs[i].CloudInit; c != nil {
				if c.MetaData != "" {
					c.MetaData = leftOut
				}
				c.UserData, c.NetworkConfig = "#cloud-config "+leftOut, leftOut
			}
		}
		if diff := cmp.Diff(whole, public, cmpopts.IgnoreFields(Layout{}, "Source"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s means something else without its secrets:\n%s", file, diff)
		}
	}
	if hashes == 0 {
		t.Error("no example has a password hash: the test tests nothing")
	}
	if got := Public([]byte("hostname: [")); got != nil {
		t.Errorf("of no layout: %q", got)
	}
}
