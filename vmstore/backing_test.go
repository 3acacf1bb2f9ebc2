package vmstore

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestNeededFiles is judged by qemu-img's own account of a chain.
func TestNeededFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command("qemu-img", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
		return out
	}
	if err := os.Mkdir(at("sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	run("create", "-q", "-f", "raw", "base.raw", "1M")
	run("create", "-q", "-f", "qcow2", "plain", "1M")
	run("create", "-q", "-f", "qcow2", "-F", "raw", "-b", at("base.raw"), "absolute")
	run("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "absolute", "relative")
	run("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../relative", "sub/up")
	run("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-F", "qcow2", "-b", "plain", "old")
	run("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", `json:{"driver":"qcow2","file":{"driver":"file","filename":"`+at("plain")+`"}}`, "json")
	run("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", `json:{"driver":"qcow2","file.driver":"file","file.filename":"`+at("plain")+`"}`, "flat")
	run("create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "nbd://host/x", "remote", "1M")
	run("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "outside", "1M")
	for name, want := range map[string][]string{
		"plain": nil, "base.raw": nil, "absolute": {at("base.raw")}, "relative": {at("absolute")}, "sub/up": {at("relative")},
		"old": {at("plain")}, "json": {at("plain")}, "flat": {at("plain")}, "remote": nil, "outside": {at("data.raw")}, "sub": nil, "none": nil,
	} {
		if have := neededFiles(at(name)); !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v", name, have, want)
		}
	}
	var chain []struct {
		Filename string `json:"filename"`
	}
	if err := json.Unmarshal(run("info", "--output=json", "--backing-chain", "sub/up"), &chain); err != nil {
		t.Fatal(err)
	}
	facts := Facts{Files: map[string]File{at("sub/up"): {}}}
	probeLinks("/", dir, false, &facts)
	have := facts.chain(at("sub/up"))
	for i, link := range chain[1:] {
		path := link.Filename
		if !filepath.IsAbs(path) {
			path = at(filepath.Join("sub", path))
			if _, err := os.Stat(path); err != nil {
				path = at(link.Filename)
			}
		}
		if i >= len(have) || have[i] != path {
			t.Errorf("the chain is %v, and qemu-img says %v", have, chain)
		}
	}
	if len(have) != 3 {
		t.Errorf("the chain is %v, want three files", have)
	}
	// A header that lies ends the look, and nothing else.
	for _, spoil := range []func([]byte){
		func(b []byte) { copy(b[8:], "\xff\xff\xff\xff\xff\xff\xff\xff") }, func(b []byte) { copy(b[16:], "\xff\xff\xff\xff") },
		func(b []byte) { copy(b[100:], "\xff\xff\xff\xff") }, func(b []byte) { copy(b[112:], "\xff\xff\xff\xff\xff\xff\xff\xff") },
	} {
		image, err := os.ReadFile(at("absolute"))
		if err != nil {
			t.Fatal(err)
		}
		spoil(image)
		if err := os.WriteFile(at("spoilt"), image, 0o600); err != nil {
			t.Fatal(err)
		}
		neededFiles(at("spoilt"))
	}
	if err := os.Remove(at("base.raw")); err != nil {
		t.Fatal(err)
	}
	facts = Facts{Files: map[string]File{at("sub/up"): {}}}
	probeLinks("/", dir, false, &facts)
	if !slices.Equal(facts.Missing, []string{at("base.raw")}) {
		t.Errorf("missing %v, want base.raw", facts.Missing)
	}
}
