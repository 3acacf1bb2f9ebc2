//go:build guest_inner

package install

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secretInProcesses names the files of /proc in which a secret is: command
// lines and environments.
func secretInProcesses(secret string) []string {
	var found []string
	for _, kind := range []string{"cmdline", "environ"} {
		files, err := filepath.Glob("/proc/[0-9]*/" + kind)
		if err != nil {
			panic(err)
		}
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(secret)) {
				found = append(found, fmt.Sprintf("%s: %q", file, text))
			}
		}
	}
	return found
}

// secretInFiles names the files below the folders in which a secret is, but for
// the passphrase files that the tests write themselves.
func secretInFiles(secret string, folders ...string) []string {
	var found []string
	for _, dir := range folders {
		err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err != nil || !info.Mode().IsRegular() || info.Size() > 64<<20 || filepath.Base(path) == "passphrase" {
				return nil //nolint:nilerr // what is gone meanwhile holds nothing
			}
			if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(secret)) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
	return found
}

// watchForSecrets looks for a secret in the command lines and environments of
// all processes while a run is under way; the function that it returns ends
// the watch, and looks through files and the kernel's log.
func watchForSecrets(t *testing.T, secret string) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	rounds := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			rounds++
			for _, found := range secretInProcesses(secret) {
				t.Errorf("the passphrase is in %s", found)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		if rounds < 10 {
			t.Errorf("looked only %d times while the run was under way", rounds)
		}
		if out := sh(t, "dmesg"); strings.Contains(out, secret) {
			t.Error("the passphrase is in the kernel's log")
		}
		for _, found := range secretInFiles(secret, "/run", "/var/log", "/tmp", "/mnt/target", "/root") {
			t.Errorf("the passphrase is in %s", found)
		}
	}
}

// TestInnerSecretsAreFound: the watch sees a secret where there is one.
func TestInnerSecretsAreFound(t *testing.T) {
	const decoy = "amber pocket lantern creek"
	if found := secretInProcesses(decoy); len(found) > 0 {
		t.Errorf("before: %q", found)
	}
	for what, cmd := range map[string]*exec.Cmd{
		"cmdline": exec.Command("sh", "-c", "sleep 30; true", decoy),
		"environ": {Path: "/usr/bin/sleep", Args: []string{"sleep", "30"}, Env: []string{"DECOY=" + decoy}},
	} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		found := secretInProcesses(decoy)
		if len(found) == 0 || !strings.Contains(found[0], what) {
			t.Errorf("in the %s of a process: found %q", what, found)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	dir := t.TempDir()
	write0600(t, dir+"/log", "typed: "+decoy+"\n")
	if found := secretInFiles(decoy, dir); len(found) != 1 {
		t.Errorf("in a file: found %q", found)
	}
}
