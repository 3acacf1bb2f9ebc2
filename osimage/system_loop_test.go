//go:build loop

package osimage

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hvinstall/initrd"
	"hvinstall/initrd/boot"
	"hvinstall/step"
	"hvinstall/testvm"
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
	binary, err := testvm.Program(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Root: root, Binary: binary}
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
	if out, _ := exec.Command("chroot", root, "smartd", "-q", "onecheck", "-d").CombinedOutput(); !strings.Contains(string(out), "smartd.conf was parsed, found DEVICESCAN") {
		t.Errorf("smartd has no faultless configuration:\n%s", out)
	}
	if data, err := os.ReadFile(root + "/etc/smartd.conf"); err != nil || !strings.Contains(string(data), "\n"+smartdTests+"\n") {
		t.Errorf("smartd tests no disks: %v", err)
	}
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
	initramfsHasDrivers(t, root, binary)
	kernelHooksAgain(t, p.bootOf(env))
	microcodeIsTakenIn(t, root)
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

// initramfsHasDrivers builds the initramfs of the image's kernel, with the
// microcode of a processor that the build machine need not have.
func initramfsHasDrivers(t *testing.T, root, binary string) {
	t.Helper()
	versions, err := Kernels(root)
	if err != nil || len(versions) == 0 {
		t.Fatalf("kernels: %v, %v", versions, err)
	}
	config := &boot.Config{
		Hostname: "h", FallbackToPassword: true,
		Volumes: []boot.Volume{{UUID: "u-1", Mapping: "cryptroot", DiskID: "nvme-1"}}, Root: boot.Root{FSUUID: "fs-1", Subvolume: "root"},
	}
	image, err := initrd.Build(initrd.Options{
		Root: root, Kernel: versions[0], Binary: binary, Config: config,
		Microcode: []string{"intel-ucode/06-9e-0a", "intel-ucode/06-9e-0a" + boot.EarlyOnly, "amd-ucode"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the initramfs of %s has %d modules and %.1f MB", versions[0], len(image.Modules), float64(len(image.Data))/1e6)
	if len(image.Data) >= 16_000_000 || !slices.Equal(image.Microcode, []string{"amd-ucode", "intel-ucode"}) {
		t.Errorf("the initramfs has %d bytes and microcode %v, want under 16 MB, and AMD's and Intel's", len(image.Data), image.Microcode)
	}
	for _, m := range []string{
		"dm_crypt", "btrfs", "xts", "aesni_intel", "raid6_pq", "nvme", "ahci", "sd_mod", "virtio_blk", "virtio_scsi",
		"usb_storage", "uas", "xhci_pci", "ehci_pci", "usbhid", "hid_generic", "vfat", "nls_cp437", "nls_ascii",
		"mpt3sas", "mpi3mr", "megaraid_sas", "aacraid", "smartpqi", "hpsa", "isci", "mptsas", "mptspi", "arcmsr", "qla1280", "advansys",
		"sata_sil24", "sata_nv", "sata_mv", "pata_amd", "ata_piix", "vmd", "sdhci_pci", "mmc_block", "hv_storvsc", "hyperv_keyboard",
		"vmw_pvscsi", "xen_blkfront", "hid_holtek_kbd", "hid_roccat_ryos", "hid_chicony", "hid_primax", "hid_corsair", "hid_logitech_dj", "hid_apple",
	} {
		if !slices.Contains(image.Modules, m) {
			t.Errorf("the initramfs has no %s", m)
		}
	}
}

// microcodeIsTakenIn has dpkg do what it does when a package of microcode was
// installed: hvinstall is told, and gets as far as to the ESP, which this root
// has not.
func microcodeIsTakenIn(t *testing.T, root string) {
	t.Helper()
	run(t, "mount", "-t", "proc", "proc", root+"/proc")
	defer run(t, "umount", root+"/proc")
	run(t, "chroot", root, "dpkg-trigger", "--by-package=amd64-microcode", "update-initramfs")
	out, err := exec.Command("chroot", root, "dpkg", "--triggers-only", "hvinstall-host").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the EFI system partition is not mounted at /efi") {
		t.Errorf("dpkg's trigger: %v, without a word of the ESP\n%s", err, out)
	}
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
