//go:build guest

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// lookForSecrets makes a loop that writes to /run/leaks which process has the
// passphrase in its command line or its environment.
const lookForSecrets = `printf 'bm90IGEgcmVhbCBzZWNyZXQgYXQgYWxs' | base64 -d >/run/pattern; touch /run/watch
(while [ -e /run/watch ]; do for f in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\000' ' ' <$f 2>/dev/null | grep -q -F -f /run/pattern && echo $f >>/run/leaks; done; sleep 0.1; done) >/dev/null 2>&1 &
sh -c 'sleep 60; true' "$(cat /run/pattern)" & decoy=$!
for i in $(seq 100); do [ -s /run/leaks ] && break; sleep 0.2; done; kill $decoy
grep -q /proc/$decoy/cmdline /run/leaks && echo the loop sees; sleep 1; : >/run/leaks`

// TestDisksAtTheConsole is a person at a console: the preview, yes, the
// passphrase twice, the progress; then the same command again.
func TestDisksAtTheConsole(t *testing.T) {
	dir := t.TempDir()
	binary, err := testvm.Program(dir)
	if err != nil {
		t.Fatal(err)
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
	// A loop beside the run looks for the passphrase in every process; it finds
	// a decoy first, or it would find nothing ever.
	if said, err := vm.Shell(time.Minute, lookForSecrets); err != nil || !strings.Contains(said, "the loop sees") {
		t.Fatalf("the loop that looks for secrets: %v\n%s", err, said)
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
	leaks, err := vm.Shell(5*time.Minute, `rm /run/watch; dmesg | grep -F -f /run/pattern >>/run/leaks
grep -rls -F -f /run/pattern /mnt/target/var /run /var/log /tmp /root | grep -vx /run/pattern >>/run/leaks; echo "leaks=[$(cat /run/leaks)]"`)
	if err != nil || !strings.Contains(leaks, "leaks=[]") {
		t.Errorf("the passphrase is where it must not be: %v\n%s", err, leaks)
	}
	if strings.Contains(vm.Transcript(), "not a real secret at all") {
		t.Error("the passphrase was shown on the console")
	}

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
