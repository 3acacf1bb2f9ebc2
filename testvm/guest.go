package testvm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Guest is a small Debian-like guest for tests: Debian's kernel, and an
// initramfs of this machine's own tools, with udev at work. It has nothing of
// systemd beyond udev.
type Guest struct {
	Config
	Programs []string          // host programs beyond guestPrograms
	Modules  []string          // kernel modules beyond guestModules; loaded at boot
	Files    map[string]string // guest path → host path of more files
	Env      []string          // KEY=value for what runs in the guest
}

// guestPrograms are by the Debian package that has them.
var guestPrograms = map[string][]string{
	"busybox-static": {"busybox"},
	"udev":           {"udevadm"},
	"kmod":           {"kmod", "modprobe", "insmod", "rmmod", "lsmod"},
	"cryptsetup-bin": {"cryptsetup"},
	"dmsetup":        {"dmsetup"},
	"btrfs-progs":    {"btrfs", "mkfs.btrfs", "btrfstune", "btrfs-image"},
	"gdisk":          {"sgdisk"},
	"dosfstools":     {"mkfs.vfat", "fsck.vfat", "fatlabel"},
	"mtools":         {"mcopy", "mdir", "mtype"},
	"e2fsprogs":      {"mkfs.ext4", "e2fsck", "chattr", "lsattr"},
	"mount":          {"mount", "umount", "losetup", "swapon", "swapoff"},
	"util-linux":     {"lsblk", "blkid", "wipefs", "blockdev", "blkdiscard", "partx", "findmnt", "mkswap", "flock"},
	"strace":         {"strace"},
}

func packageOf(program string) string {
	for name, programs := range guestPrograms {
		for _, p := range programs {
			if p == program {
				return name
			}
		}
	}
	return "the package that has it"
}

var guestModules = []string{
	"virtio_pci", "virtio_console", "virtio_rng", "virtio_blk", "virtio_net", "9pnet_virtio", "9p",
	"nvme", "ahci", "sd_mod", "sr_mod", "xhci_pci", "usb_storage", "uas", "loop",
	"dm_mod", "dm_crypt", "dm_flakey", "dm_zero", "xts", "aesni_intel", "algif_skcipher", "algif_hash", "sha512_ssse3", "sha256_ssse3",
	"crc32c_generic", "btrfs", "vfat", "nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8", "ext4", "overlay", "squashfs", "isofs",
	"e1000e", "bridge", "raid1", "scsi_debug", "brd",
}

// modulesAtBoot are those that no device asks for, or that must be there
// before the first test.
var modulesAtBoot = []string{
	"crc32c_generic", // libcrc32c, of btrfs, wants the algorithm and names no module of it
	"virtio_console", "nvme", "ahci", "sd_mod", "usb_storage", "uas", "xhci_pci", "loop", "dm_mod", "dm_crypt", "btrfs", "vfat",
	"nls_cp437", "nls_iso8859_1", "nls_ascii", "algif_skcipher", "aesni_intel",
}

const guestInit = `#!/usr/bin/busybox sh
export PATH=/usr/sbin:/usr/bin HOME=/root
/usr/bin/busybox mount -t proc proc /proc
/usr/bin/busybox mount -t sysfs sysfs /sys
/usr/bin/busybox mount -t devtmpfs devtmpfs /dev
/usr/bin/busybox --install -s 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ip link set lo up
/usr/lib/systemd/systemd-udevd --daemon
modprobe -a $(cat /etc/modules)
udevadm trigger --action=add --type=subsystems
udevadm trigger --action=add --type=devices
udevadm settle --timeout=60
. /etc/environment
[ -x /testvm-run ] || exec setsid -c sh -c 'stty -echo; PS1="testvm# " exec sh' </dev/ttyS0 >/dev/ttyS0 2>&1
/testvm-run </dev/null >/dev/virtio-ports/testvm 2>&1
sync
poweroff -f
`

// build makes the guest's initramfs at path.
func (g Guest) build(kernel Kernel, path string, more func(*rootfs) error) error {
	r := newRootfs()
	r.text("init", guestInit, 0o755)
	r.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	r.text("etc/hostname", "testvm\n", 0o644)
	r.text("etc/modules", strings.Join(append(append([]string{}, modulesAtBoot...), g.Modules...), " ")+"\n", 0o644)
	var env strings.Builder
	for _, e := range g.Env {
		key, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&env, "export %s='%s'\n", key, strings.ReplaceAll(value, "'", `'\''`))
	}
	r.text("etc/environment", env.String(), 0o644)
	if err := r.file("etc/group", "/etc/group"); err != nil {
		return err
	}
	var programs []string
	for _, p := range guestPrograms {
		programs = append(programs, p...)
	}
	for _, p := range append(programs, g.Programs...) {
		found, err := which(p)
		if err != nil {
			return err
		}
		if err := r.program(found); err != nil {
			return err
		}
	}
	for _, p := range []string{"/lib/systemd/systemd-udevd", "/lib/udev/ata_id", "/lib/udev/scsi_id", "/lib/udev/cdrom_id"} {
		if err := r.program(p); err != nil {
			return fmt.Errorf("%w: apt-get install udev", err)
		}
	}
	for _, dir := range []string{"/lib/udev/rules.d", "/etc/udev", "/lib/systemd/network"} {
		if err := r.tree(dir); err != nil {
			return err
		}
	}
	// mtools and dosfstools convert names by iconv.
	for _, f := range []string{"gconv-modules", "gconv-modules.cache", "IBM850.so", "IBM437.so"} {
		if err := r.program("/usr/lib/x86_64-linux-gnu/gconv/" + f); err != nil {
			return err
		}
	}
	modules, err := kernel.closure(append(append([]string{}, guestModules...), g.Modules...))
	if err != nil {
		return err
	}
	for _, m := range modules {
		if err := r.file(kernel.Modules+"/"+m, kernel.Modules+"/"+m); err != nil {
			return err
		}
	}
	indexes, err := filepath.Glob(kernel.Modules + "/modules.*")
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if err := r.file(index, index); err != nil {
			return err
		}
	}
	for name, from := range g.Files {
		if err := r.program(from); err != nil {
			return err
		}
		if err := r.file(name, from); err != nil {
			return err
		}
	}
	if more != nil {
		if err := more(r); err != nil {
			return err
		}
	}
	return r.write(path)
}

// boot builds the initramfs and starts the guest.
func (g Guest) boot(t testing.TB, more func(*rootfs) error) *VM {
	t.Helper()
	kernel, err := DebianKernel()
	if err != nil {
		t.Fatal(err)
	}
	initramfs, err := os.CreateTemp("", "testvm-*.cpio")
	if err != nil {
		t.Fatal(err)
	}
	initramfs.Close()
	t.Cleanup(func() { os.Remove(initramfs.Name()) })
	if err := g.build(kernel, initramfs.Name(), more); err != nil {
		t.Fatalf("building the guest: %v", err)
	}
	c := g.Config
	if c.Kernel, err = kernel.Unpacked(); err != nil {
		t.Fatal(err)
	}
	c.Initrd = initramfs.Name()
	c.Append = strings.TrimSpace("console=ttyS0 quiet panic=-1 mitigations=off no_timer_check " + c.Append)
	c.Output = "testvm"
	return Boot(t, c)
}

// BootGuest boots the guest with a root shell on its console.
func BootGuest(t testing.TB, g Guest) *VM {
	t.Helper()
	vm := g.boot(t, nil)
	if _, err := vm.Expect(4*time.Minute, `testvm# $`); err != nil {
		t.Fatalf("the guest's shell: %v", err)
	}
	return vm
}

// Shell runs a command in the shell of BootGuest's console and returns what it
// printed, with an error when its exit status is not 0.
func (vm *VM) Shell(timeout time.Duration, command string) (string, error) {
	if err := vm.Send("{ " + command + "\n}; echo testvm-status=$?\n"); err != nil {
		return "", err
	}
	said, err := vm.Expect(timeout, `(?s)^(.*?)testvm-status=(\d+)\r?\n(?:.*?)testvm# $`)
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	text := strings.ReplaceAll(said[1], "\r", "")
	text = strings.ReplaceAll(text, "> ", "") // the shell's prompts for the lines of a group
	if said[2] != "0" {
		return text, fmt.Errorf("%s: exit status %s: %s", command, said[2], text)
	}
	return text, nil
}
