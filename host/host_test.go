package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecretsGoByDescriptor(t *testing.T) {
	secret := []byte("correct horse")
	var logged strings.Builder
	out, err := Cmd{
		Argv:    []string{"sh", "-c", "cat " + SecretPath(0) + "; tr '\\0' ' ' </proc/self/cmdline >&2; tr '\\0' ' ' </proc/self/environ >&2; exit 0"},
		Secrets: [][]byte{secret},
		Log:     func(format string, args ...any) { logged.WriteString(args[0].(string)) },
	}.Output(t.Context())
	if err != nil || !bytes.Equal(out, secret) {
		t.Fatalf("Output = %q, %v, want the secret", out, err)
	}
	if strings.Contains(logged.String(), "correct horse") {
		t.Error("the log has the secret")
	}
}

func TestFailureSaysWhatTheProgramSaid(t *testing.T) {
	err := Cmd{Argv: []string{"sh", "-c", "echo 'no such disk' >&2; exit 7"}}.Run(t.Context())
	var failed *CommandError
	if !errors.As(err, &failed) {
		t.Fatalf("Run = %v, want a CommandError", err)
	}
	if failed.ExitCode() != 7 || failed.Stderr != "no such disk" {
		t.Errorf("exit code %d, stderr %q, want 7 and the message", failed.ExitCode(), failed.Stderr)
	}
}

func TestOutputEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := Cmd{Argv: []string{"sleep", "60"}}.Run(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 15*time.Second {
		t.Errorf("Run = %v after %v, want the deadline", err, time.Since(started))
	}
}

func TestMissing(t *testing.T) {
	got := Missing("sh", "no-such-program-b", "no-such-program-a", "no-such-program-b")
	if strings.Join(got, " ") != "no-such-program-a no-such-program-b" {
		t.Errorf("Missing = %v, want the two that do not exist, sorted", got)
	}
}

func TestParseMountinfo(t *testing.T) {
	text := `22 1 0:20 /@root / rw,noatime shared:1 - btrfs /dev/mapper/cryptroot rw,compress=zstd:3,subvolid=256
40 22 8:1 / /mnt/with\040space ro - vfat /dev/sda1 ro,umask=0022
`
	mounts, err := ParseMountinfo(strings.NewReader(text))
	if err != nil || len(mounts) != 2 {
		t.Fatalf("ParseMountinfo = %v, %v, want two mounts", mounts, err)
	}
	if m := mounts[0]; m.Root != "/@root" || m.Source != "/dev/mapper/cryptroot" || !strings.Contains(m.Options, "compress=zstd:3") {
		t.Errorf("first mount = %+v", m)
	}
	if m := mounts[1]; m.Target != "/mnt/with space" || m.FSType != "vfat" {
		t.Errorf("second mount = %+v, want the space unescaped", m)
	}
	if _, err := ParseMountinfo(strings.NewReader("not a mountinfo line\n")); err == nil {
		t.Error("a line of another form gave no error")
	}
}

func TestWriteFileIsIdempotentAndAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "conf")
	if err := WriteFile(path, []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	if err := WriteFile(path, []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Stat(path)
	if !os.SameFile(before, after) {
		t.Error("a file that was right already was written again")
	}
	if after.Mode().Perm() != 0o640 {
		t.Errorf("mode = %v, want 0640", after.Mode().Perm())
	}
	if err := WriteFile(path, []byte("two"), 0o640); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); string(data) != "two" {
		t.Errorf("content = %q, want two", data)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files in the folder, want no temporary one left", len(entries))
	}
}

// TestLockNamesItsHolder takes the lock in another process: flock(2) locks
// belong to the open file, but the message must name a process.
func TestLockNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "lock")
	lock, err := AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = AcquireLock(path)
	var held *HeldError
	if !errors.As(err, &held) || !strings.Contains(held.Holder, "PID ") {
		t.Fatalf("second AcquireLock = %v, want a HeldError that names the PID", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := AcquireLock(path)
	if err != nil {
		t.Fatalf("AcquireLock after Release = %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
	// Another hand agrees that the file is a plain flock(2) lock.
	if flock, err := exec.LookPath("flock"); err == nil {
		if err := exec.Command(flock, "-n", path, "true").Run(); err != nil {
			t.Errorf("flock -n %s = %v, want the lock free", path, err)
		}
	}
}

func TestSHA256(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	// FIPS 180-2, appendix B.1.
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := SHA256(t.Context(), path); err != nil || got != want {
		t.Errorf("SHA256 = %s, %v, want %s", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SHA256(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
