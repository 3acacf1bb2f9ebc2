//go:build guest

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// TestDisksAtTheConsole is a person at a console: the preview, yes, the
// passphrase twice, the progress; then the same command again.
func TestDisksAtTheConsole(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "hvinstall")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	const none = `"file:///run/none.squashfs", sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`
	text := strings.Replace(spechost.Layout, `"`+spechost.ImageURL+`"`, none, 1)
	layout := filepath.Join(dir, "layout.yaml")
	if err := os.WriteFile(layout, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	vm := testvm.BootGuest(t, testvm.Guest{
		Config: testvm.Config{Memory: 4096, Drives: spechost.Open(dir).Drives, Timeout: 15 * time.Minute},
		Files:  map[string]string{"/bin/hvinstall": binary, "/layout.yaml": layout},
	})
	expect := func(within time.Duration, pattern string) {
		t.Helper()
		if _, err := vm.Expect(within, pattern); err != nil {
			t.Fatal(err)
		}
	}
	send := func(s string) {
		t.Helper()
		if err := vm.Send(s); err != nil {
			t.Fatal(err)
		}
	}
	send("stty cols 100 rows 50; export TERM=linux; hvinstall --plan /layout.yaml --only disks\n")
	expect(time.Minute, `8 disks: 8 created; 2 pools`)
	expect(time.Minute, `Type yes to go on: `)
	send("yes\n")
	expect(time.Minute, `Passphrase for every volume: `)
	send("not a real secret at all\n")
	expect(time.Minute, `The same once more: `)
	send("not a real secret at all\n")
	expect(10*time.Minute, `changed something, in`)
	expect(time.Minute, `mounted at /mnt/target`)

	again, err := vm.Shell(time.Minute, "hvinstall --plan /layout.yaml --only disks")
	if err != nil || !strings.Contains(again, "nothing to do") {
		t.Errorf("the second run = %v:\n%s\nwant nothing to do", err, again)
	}
	status, err := vm.Shell(time.Minute, "NO_COLOR=1 hvinstall status --plan /layout.yaml")
	if err != nil {
		t.Errorf("status: %v", err)
	}
	t.Logf("status:\n%s", status)
	if os.Getenv("HVINSTALL_KEEP_LOGS") != "" {
		t.Logf("console:\n%s", vm.Transcript())
	}
}
