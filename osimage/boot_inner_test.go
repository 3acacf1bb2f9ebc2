//go:build guest_inner

package osimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hvinstall/host"
	"hvinstall/step"
)

const espDevice = "/dev/disk/by-id/virtio-ESP"

// bootable is a host's tree with an ESP and one kernel; the initramfs is a
// stand-in that says what it was built from.
func bootable(t *testing.T) (Plan, Env, func(path, text string)) {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loader, err := os.ReadFile(loaderSource)
	if err != nil {
		t.Fatalf("%v; apt-get install systemd-boot-efi", err)
	}
	write(loaderSource, string(loader))
	write("boot/vmlinuz-6.1.0-9-amd64", "kernel 9")
	write("lib/modules/6.1.0-9-amd64/modules.dep", "")
	write(BinaryPath, "hvinstall")
	write("etc/hvinstall/boot.json", "{}")
	write("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux\"\n")
	if err := writeInstalled(root, Installed{SHA256: "0123456789abcdef"}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.vfat", "-F", "32", espDevice).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.vfat: %v\n%s", err, out)
	}
	if err := host.MountFS(espDevice, filepath.Join(root, "efi"), "vfat"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Unmount(filepath.Join(root, "efi")); err != nil {
			t.Error(err)
		}
		if out, err := exec.Command("fsck.vfat", "-n", espDevice).CombinedOutput(); err != nil {
			t.Errorf("fsck.vfat: %v\n%s", err, out)
		}
	})
	env := Env{Root: root, Binary: filepath.Join(root, BinaryPath), Initrd: func(_ context.Context, root, version, output string) error {
		config, err := os.ReadFile(filepath.Join(root, "etc/hvinstall/boot.json"))
		if err != nil {
			return err
		}
		return os.WriteFile(output, []byte("initrd "+version+" "+string(config)), 0o600)
	}}
	return Plan{ESP: "/efi", KernelArgs: []string{"quiet"}}, env, write
}

func makeBootable(t *testing.T, p Plan, env Env) int {
	t.Helper()
	r := step.Runner{}
	changed, err := r.Run(context.Background(), []step.Step{p.bootStep(env, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func names(t *testing.T, env Env) string {
	t.Helper()
	all, err := entries(filepath.Join(env.Root, "efi"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range all {
		list = append(list, e.name())
	}
	return strings.Join(list, " ")
}

func TestBootStep(t *testing.T) {
	p, env, write := bootable(t)
	if changed := makeBootable(t, p, env); changed != 1 {
		t.Errorf("%d changed, want 1", changed)
	}
	esp := filepath.Join(env.Root, "efi")
	for path, want := range map[string]string{
		"hvinstall/6.1.0-9-amd64-g1/linux":               "kernel 9",
		"hvinstall/6.1.0-9-amd64-g1/initrd":              "initrd 6.1.0-9-amd64 {}",
		"loader/entries/hvinstall-6.1.0-9-amd64-g1.conf": "options    rw quiet\n",
		"EFI/BOOT/BOOTX64.EFI":                           "#### LoaderInfo: systemd-boot ",
	} {
		if data, err := os.ReadFile(filepath.Join(esp, path)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, without %q", path, err, want)
		}
	}
	if changed := makeBootable(t, p, env); changed != 0 {
		t.Error("the second run did something")
	}

	// A new key stick changes boot.json: the entry before it stays.
	for i := range 3 {
		write("etc/hvinstall/boot.json", fmt.Sprintf(`{"n":%d}`, i))
		if changed := makeBootable(t, p, env); changed != 1 {
			t.Error("a changed boot.json made no new initramfs")
		}
	}
	if got, want := names(t, env), "hvinstall-6.1.0-9-amd64-g4 hvinstall-6.1.0-9-amd64-g3"; got != want {
		t.Errorf("entries = %s, want %s", got, want)
	}

	// What a power cut leaves is cleared away by the next run.
	write("efi/hvinstall/6.1.0-9-amd64-g5/linux", "half")
	write("boot/vmlinuz-6.1.0-10-amd64", "kernel 10")
	write("lib/modules/6.1.0-10-amd64/modules.dep", "")
	makeBootable(t, p, env)
	if got, want := names(t, env), "hvinstall-6.1.0-10-amd64-g1 hvinstall-6.1.0-9-amd64-g4 hvinstall-6.1.0-9-amd64-g3"; got != want {
		t.Errorf("entries = %s, want %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(esp, "hvinstall/6.1.0-9-amd64-g5")); err == nil {
		t.Error("half a kernel is left on the ESP")
	}
	folders, _ := os.ReadDir(filepath.Join(esp, "hvinstall"))
	if len(folders) != 3 {
		t.Errorf("%d folders on the ESP, want 3", len(folders))
	}

	boot := p.bootOf(env)
	if err := boot.RemoveKernel("6.1.0-9-amd64", &quiet{}); err != nil {
		t.Fatal(err)
	}
	if err := boot.RemoveKernel("6.1.0-10-amd64", &quiet{}); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, env), "hvinstall-6.1.0-10-amd64-g1"; got != want {
		t.Errorf("entries = %s, want %s: the last kernel keeps its own", got, want)
	}
}

// No boot entry for a system that is not whole.
func TestBootStepRefusesHalfASystem(t *testing.T) {
	p, env, _ := bootable(t)
	if err := os.WriteFile(filepath.Join(env.Root, startedMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := step.Runner{}
	if _, err := r.Run(context.Background(), []step.Step{p.bootStep(env, nil)}); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("error = %v, want a refusal", err)
	}
	if got := names(t, env); got != "" {
		t.Errorf("entries = %s", got)
	}
}

// Without the ESP nothing is written into the folder where it belongs.
func TestKernelNeedsTheESP(t *testing.T) {
	p, env, _ := bootable(t)
	if err := host.Unmount(filepath.Join(env.Root, "efi")); err != nil {
		t.Fatal(err)
	}
	boot := p.bootOf(env)
	if err := boot.AddKernel(context.Background(), "6.1.0-9-amd64", &quiet{}); err == nil {
		t.Error("a kernel was written without the ESP")
	}
	left, err := os.ReadDir(filepath.Join(env.Root, "efi"))
	if err != nil || slices.ContainsFunc(left, func(os.DirEntry) bool { return true }) {
		t.Errorf("the ESP's mount point holds %v, %v", left, err)
	}
}
