package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShownWithoutSecrets: what a dry run prints goes into bug reports.
func TestShownWithoutSecrets(t *testing.T) {
	example, err := os.ReadFile(exampleOfSpec)
	if err != nil {
		t.Fatal(err)
	}
	const word = "hunter2word"
	layout := strings.NewReplacer(
		"https://github.com/", "https://me:"+word+"@github.com/",
		".qcow2.xz", ".qcow2.xz?sig="+word+"&x=1",
	).Replace(string(example))
	layout = strings.Replace(layout, "  - name: haos\n", "  - name: haos\n    cloud_init: {user_data: \"#cloud-config\\npassword: \\\""+word+"\\\"\\n\"}\n", 1)
	if n := strings.Count(layout, word); n < 3 {
		t.Fatalf("%d secrets are in the layout, want 3", n)
	}
	path := filepath.Join(t.TempDir(), "layout.yaml")
	if err := os.WriteFile(path, []byte(layout), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--json"}} {
		var out, errs bytes.Buffer
		args := append([]string{"--plan", path, "--facts", filepath.Join(machines, "hypervisor-blank.json"), "--dry-run"}, more...)
		if code := run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, args); code != exitDone {
			t.Fatalf("exit code %d\n%s", code, errs.String())
		}
		if text := out.String() + errs.String(); strings.Contains(text, word) || !strings.Contains(text, "github.com") {
			t.Errorf("%v shows\n%s", more, text)
		}
	}
}

// TestShownPrintable: a facts file from elsewhere writes nothing to the
// terminal that the terminal obeys.
func TestShownPrintable(t *testing.T) {
	facts, err := os.ReadFile(filepath.Join(machines, "hypervisor-blank.json"))
	if err != nil {
		t.Fatal(err)
	}
	hostile := bytes.ReplaceAll(facts, []byte(`"model": "`), []byte(`"model": "\u001b]0;owned\u0007\u202e`))
	if bytes.Equal(hostile, facts) {
		t.Fatal("no model was changed")
	}
	path := filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(path, hostile, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--plan", exampleOfSpec, "--facts", path, "--dry-run"},
		{"discover", "--facts", path},
	} {
		var out, errs bytes.Buffer
		run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, args)
		text := out.String() + errs.String()
		if strings.ContainsAny(text, "\x1b\x07\u202e") || !strings.Contains(text, `\x1b]0;owned`) {
			t.Errorf("%v shows %q", args, text)
		}
	}
}
