//go:build loop

package osimage

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hvinstall/step"
)

// realImage is what 'make os-image' made.
func realImage(t *testing.T) string {
	t.Helper()
	image, err := filepath.Abs("../build/os-image/hvinstall-debian.squashfs")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(image); err != nil {
		t.Fatalf("%v; run: make os-image", err)
	}
	return image
}

// withoutBoot are the steps that need no ESP: this machine's kernel may have
// no VFAT. The boot step is tested in a guest.
func withoutBoot(steps []step.Step) []step.Step {
	return steps[:len(steps)-1]
}

// TestSystem makes a whole host of the real image, and lets the system's own
// programs judge it.
func TestSystem(t *testing.T) {
	root := target(t)
	for _, dir := range []string{"/efi", "/mnt/vmstore"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "mount", "-t", "tmpfs", "pool", root+"/mnt/vmstore")
	v := values()
	v.Image.URL, v.Image.SHA256 = imagePlan(t, realImage(t)).Image.URL, imagePlan(t, realImage(t)).Image.SHA256
	v.Users[1].PasswordHash = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
	p, refusals := MakePlan(v, "")
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Root: root, Binary: self}
	var secrets []string
	r := step.Runner{Side: 2, Events: func(e step.Event) {
		if strings.Contains(e.Message, v.Users[1].PasswordHash) {
			secrets = append(secrets, e.Message)
		}
		if e.Kind == step.StepDone || e.Kind == step.StepFailed || e.Kind == step.StepWarning {
			t.Logf("%s %s %v %s%s", e.Kind, e.Step, e.Elapsed, e.Message, e.Error)
		}
	}}
	steps := withoutBoot(p.Steps(env))
	// The image has this version's kernel hooks.
	if changed, err := r.Run(context.Background(), steps); err != nil || changed != len(steps)-1 {
		t.Fatalf("%d of %d steps did something, %v", changed, len(steps), err)
	}
	if len(secrets) > 0 {
		t.Errorf("the password's hash is in the log: %q", secrets)
	}
	// A pool's timer goes with its place in the layout.
	left := root + "/etc/systemd/system/timers.target.wants/hvinstall-scrub@mnt-gone.timer"
	if err := os.Symlink("/etc/systemd/system/hvinstall-scrub@.timer", left); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Run(context.Background(), steps); err != nil || changed != 1 {
		t.Errorf("with a timer left: %d steps did something, %v", changed, err)
	}
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("the timer of a pool that is gone: %v", err)
	}

	inRoot := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command("chroot", append([]string{root}, argv...)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	inRoot("pwck", "-r", "-q")
	inRoot("grpck", "-r")
	inRoot("visudo", "-c", "-q")
	inRoot("mkdir", "-p", "/run/sshd")
	inRoot("sshd", "-t")
	inRoot("id", "-nG", "snyssen")
	// findmnt would miss the devices of this example.
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
		root+"/etc/systemd/system/hvinstall-scrub@.service", root+"/etc/systemd/system/hvinstall-scrub@.timer").CombinedOutput(); err != nil {
		t.Errorf("units: %v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"etc/hostname": "hypervisor\n", "etc/timezone": "Europe/Brussels\n", "etc/default/locale": "LANG=en_GB.UTF-8\n",
		"home/snyssen/.ssh/authorized_keys": inBlock("ssh-ed25519 AAAAC3Nz snyssen@desk"),
	} {
		if data, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(data) != want {
			t.Errorf("%s = %q, %v; want %q", name, data, err, want)
		}
	}
	shadow, err := os.ReadFile(filepath.Join(root, "etc/shadow"))
	if err != nil || !strings.Contains(string(shadow), "guest:"+v.Users[1].PasswordHash+":") || !strings.Contains(string(shadow), "\nsnyssen:!:") {
		t.Errorf("shadow: %v", err)
	}
	if !strings.Contains("\n"+string(shadow), "\nroot:*:") {
		t.Error("root is not locked")
	}
	info, err := os.Stat(filepath.Join(root, "etc/shadow"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("shadow has mode %v, %v; want 0640", info.Mode(), err)
	}
	if err := unix.Unmount(root+"/mnt/vmstore", 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/mnt/vmstore/stray", nil, 0o600); err == nil {
		t.Error("the pool's mount point can be written to while the pool is not mounted")
	}
	kernelHooksAgain(t, p.bootOf(env))
	found, err := step.Look(context.Background(), withoutBoot(p.Steps(env)), 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.State != step.Done {
			t.Errorf("the second run would do %s: %s", f.Step, f.Why)
		}
	}
	// btrfs removes no subvolume with an immutable folder in it; the loop device
	// goes away with its file.
	run(t, "chattr", "-i", root+"/mnt/vmstore")
}

// kernelHooksAgain does what Debian's own kernel hook does after ours: the boot
// entry stays current, and nothing is said of an initramfs that is missing.
func kernelHooksAgain(t *testing.T, b Boot) {
	t.Helper()
	versions, err := Kernels(b.Root)
	if err != nil || len(versions) == 0 {
		t.Fatalf("kernels: %v, %v", versions, err)
	}
	version := versions[0]
	before, err := b.inputs(version)
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(b.Root, "lib/modules", version, "modules.dep")
	old, err := os.Stat(index)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("chroot", b.Root, "kernel-install", "add", version, "/boot/vmlinuz-"+version).CombinedOutput()
	if err != nil || strings.Contains(string(out), "does not exist") {
		t.Errorf("kernel-install: %v\n%s", err, out)
	}
	if now, err := os.Stat(index); err != nil || now.ModTime().Equal(old.ModTime()) {
		t.Errorf("kernel-install did not run depmod (%v): this test shows nothing", err)
	}
	if after, err := b.inputs(version); err != nil || after != before {
		t.Errorf("after Debian's hook the boot entry would be made anew: %v", err)
	}
}
