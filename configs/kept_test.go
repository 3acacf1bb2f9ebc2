package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const keyOfTests = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHEz8w2uSYeo+h0XZu4jSyAmhjuK49Hqslix/uD5n4KC"

const withSecrets = `hostname: a # hunter2 in a comment
users:
  - {name: me, password_hash: "$6$hunter2$hunter2", ssh_authorized_keys: [
      "restrict,from=\"10.0.0.0/8\" ` + keyOfTests + ` me@laptop",
      'command="hunter2 --x" ` + otherKey + ` x']}
  - {name: you, password_hash: "$y$hunter2$hunter2"}
libvirt_vms:
  - name: one
    disk_image: {url: "https://me:hunter2@x.org/a.qcow2?sig=hunter2", dest: /mnt/vmstore/one/a.qcow2, checksum: "sha256:https://x.org/sums?hunter2"}
    cloud_init: {user_data: "#cloud-config\npassword: hunter2\n", network_config: "key: hunter2", meta_data: /root/meta}
os:
  disk: /dev/disk/by-id/nvme-A
  nixos: {flake: "github:me/x?token=hunter2#a", options: {a.b: hunter2, c: [hunter2, 3], d: {e: hunter2}, f: true}}
`

// TestKept: no secret is in what is kept on a stick, all else is, and with the
// answers it is the layout that it was.
func TestKept(t *testing.T) {
	whole, err := Load("layout.yaml", []byte(withSecrets))
	if err != nil {
		t.Fatal(err)
	}
	kept, n, err := Kept([]byte(withSecrets))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept), "hunter2") {
		t.Errorf("a secret is kept:\n%s", kept)
	}
	for _, want := range []string{"restrict,from=", "me@laptop", "/root/meta", "nvme-A", "github:me/x?"} {
		if !strings.Contains(string(kept), want) {
			t.Errorf("%s is not kept:\n%s", want, kept)
		}
	}
	l, err := Load("layout.yaml", kept)
	if err != nil {
		t.Fatalf("%v\n%s", err, kept)
	}
	list := l.LeftOut()
	if n != 11 || len(list) != n {
		t.Fatalf("%d marks, %d found: %+v", n, len(list), list)
	}
	answers := map[string]string{}
	given := map[string]string{
		"password_hash of me": "$6$hunter2$hunter2", "password_hash of you": "$y$hunter2$hunter2",
		"ssh_authorized_keys of me": `command="hunter2 --x" ` + otherKey + ` x`,
		"url of one":                "https://me:hunter2@x.org/a.qcow2?sig=hunter2", "checksum of one": "sha256:https://x.org/sums?hunter2",
		"user_data of one": "#cloud-config\npassword: hunter2\n", "network_config of one": "key: hunter2",
		"flake": "github:me/x?token=hunter2#a", "options: a.b": "hunter2", "options: c": "hunter2", "options: d: e": "hunter2",
	}
	for _, out := range list {
		value, known := given[out.What]
		if !known {
			t.Errorf("asked for %q", out.What)
		}
		answers[out.Mark] = value
	}
	if _, err := l.Fill(map[string]string{}); err == nil {
		t.Error("without an answer it goes on")
	}
	filled, err := l.Fill(answers)
	if err != nil {
		t.Fatal(err)
	}
	if left := filled.LeftOut(); len(left) > 0 {
		t.Errorf("still left out: %+v", left)
	}
	if diff := cmp.Diff(whole, filled, cmpopts.IgnoreFields(Layout{}, "Source"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("with the answers it means something else:\n%s", diff)
	}
	for i, out := range list {
		if out.Form == "url" {
			wrong := answers[out.Mark]
			answers[out.Mark] = "https://evil.org/a.qcow2"
			if _, err := l.Fill(answers); err == nil {
				t.Errorf("mark %d: another address is taken", i)
			}
			answers[out.Mark] = wrong
		}
	}
}

// TestKeptExamples: every example can be kept, and loads as it is.
func TestKeptExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept, n, err := Kept(text)
		if err != nil {
			continue // not a layout by itself
		}
		l, err := Load(file, kept)
		if err != nil || len(l.LeftOut()) != n {
			t.Errorf("%s: %v\n%s", file, err, kept)
		}
	}
}

// TestHostileLeftOut: the mark of a copy is never a value.
func TestHostileLeftOut(t *testing.T) {
	for _, text := range []string{
		"hostname: a\nusers: [{name: me, password_hash: \"$y$hvinstall-left-out\"}]\n",
		"hostname: a\nusers: [{name: me, password_hash: \"$y$hvinstall-left-out-1\"}]\n",
		"hostname: a\nlibvirt_vms: [{name: x, cloud_init: {user_data: \"#cloud-config hvinstall-left-out\"}, disk_image: {url: \"https://x.org/a\", dest: /mnt/vmstore/x/a.qcow2}}]\n",
	} {
		if _, err := Load("layout.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "the mark of a secret that was left out") {
			t.Errorf("%v for\n%s", err, text)
		}
	}
	l, err := Load("layout.public.yaml", Public([]byte(withSecrets)))
	if err != nil || !l.IsPublicCopy() {
		t.Errorf("the public copy is not known as one: %v", err)
	}
}
