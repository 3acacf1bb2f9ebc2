package host

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestConfined: a program that was taken over by what it read finds one file,
// no network, and no way to write but to its output.
func TestConfined(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("name spaces and a change of user take root; make check runs as root")
	}
	dir := t.TempDir() // others cannot enter it
	read, write, secret := filepath.Join(dir, "an image"), filepath.Join(dir, "out"), filepath.Join(dir, "secret")
	for _, path := range []string{read, secret} {
		if err := os.WriteFile(path, []byte("content of "+filepath.Base(path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The attacker's script: everything that it gets goes into its output.
	attack := `
cat "$1" >"$2"
cat ` + "'" + secret + "'" + ` /etc/shadow /etc/passwd /old/etc/passwd /proc/1/environ /proc/self/fd/* >>"$2"
(: >>"$1") && echo WROTE INPUT >>"$2"
(: >/usr/written) && echo WROTE USR >>"$2"
(: >/written) && echo WROTE ROOT >>"$2"
[ -e /dev ] && echo HAS DEV >>"$2"
[ -e /sys ] && echo HAS SYS >>"$2"
echo "user $(id -u) groups $(id -G)" >>"$2"
mount -t tmpfs none / && echo MOUNTED >>"$2"
unshare --user true && echo NAMED SPACE >>"$2"
unshare --user --map-root-user mount -t tmpfs none / && echo MOUNTED >>"$2"
perl >>"$2" <<'END'
print "perl runs\n";
sub try { my ($what, $call, @args) = @_; my $r = syscall($call, @args); print "HAS $what $r $!\n" unless $r < 0 && $! == 1; }
try("SOCKET", 41, 1, 1, 0);
try("KEYS", 250, 0, -3, 1);
try("BPF", 321, 0, 0, 0);
try("URING", 425, 1, 0);
try("PTRACE", 101, 0, 0, 0, 0);
try("USERFAULTFD", 323, 0);
try("PERF", 298, 0, 0, 0, 0, 0);
try("SETNS", 308, 0, 0);
try("CLONE INTO A NAME SPACE", 56, 0x10000000, 0, 0, 0, 0);
try("OPEN_BY_HANDLE", 304, 0, 0, 0);
try("MOVE_MOUNT", 429, 0, 0, 0, 0, 0);
try("CHROOT", 161, 0);
try("MKNOD", 133, 0, 0, 0);
END
echo "user $(id -u) groups $(id -G)" >>"$2"
mount -t tmpfs none / && echo MOUNTED >>"$2"
unshare --user true && echo NAMED SPACE >>"$2"
unshare --user --map-root-user mount -t tmpfs none / && echo MOUNTED >>"$2"
perl -e 'use Socket; exit(!socket(my $s, PF_UNIX, SOCK_STREAM, 0))' && echo HAS SOCKET >>"$2"
perl -e 'exit(syscall(250, 0, -3, 1) < 0)' && echo HAS KEYS >>"$2"
perl -e 'exit(syscall(321, 0, 0, 0) >= 0 || $!{EPERM} ? 1 : 0)' && echo HAS BPF >>"$2"
perl -e 'exit(syscall(425, 1, 0) >= 0 || !$!{EPERM} ? 0 : 1)' && echo HAS URING >>"$2"
perl -e 'exit(syscall(101, 0, 0, 0, 0) >= 0 ? 0 : 1)' && echo HAS PTRACE >>"$2"
perl -e 'print 1' >>"$2" 2>&1; perl -e 'print "perl runs\n"' >>"$2"
echo "files $(echo /*)" >>"$2"
exit 0`
	cmd := Cmd{Argv: []string{"sh", "-c", attack, "attack", read, write}, Confined: &Confinement{Read: read, Write: write}}
	if err := cmd.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(write)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "content of an image") {
		t.Errorf("the file that it may read was not: %q", text)
	}
	if !strings.Contains(text, "perl runs") {
		t.Errorf("the script could not attack by system calls; apt-get install perl-base:\n%s", text)
	}
	for _, never := range []string{"content of secret", "root:", "WROTE", "HAS", "MOUNTED", "NAMED", "user 0", "groups 0"} {
		if strings.Contains(text, never) {
			t.Errorf("it got %q:\n%s", never, text)
		}
	}
	for _, path := range []string{read, write} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v of user %d afterwards", path, info.Mode(), owner)
		}
	}
	// A failure is the program's, told in the words of the command that was meant.
	if err := os.Remove(write); err != nil {
		t.Fatal(err)
	}
	err = Cmd{Argv: []string{"qemu-img-of-no-such-name", read, write}, Confined: cmd.Confined}.Run(t.Context())
	if err == nil || strings.Contains(err.Error(), "pivot_root") {
		t.Errorf("%v, want a short error", err)
	}
	err = Cmd{Argv: []string{"cat", write + "x", read}, Confined: cmd.Confined}.Run(t.Context())
	if err == nil || strings.Contains(err.Error(), "pivot_root") {
		t.Errorf("%v, want a short error", err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "hvinstall-confined-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
