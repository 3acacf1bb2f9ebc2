//go:build guest

package unlock_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// BenchmarkBoot boots the same machine, with the same seven volumes and the
// same key stick, once with hvinstall's initramfs and once with that of
// Debian's initramfs-tools and cryptsetup-initramfs, which opens them by the
// keyscript passdev. HVINSTALL_DEBIAN_INITRD names one that was made before. Both are given the key's slot, so that neither computes
// an argon2id. Times are the kernel's own clock when the system's init runs.
func BenchmarkBoot(b *testing.B) {
	f := fixed(b)
	peer, err := os.Getenv("HVINSTALL_DEBIAN_INITRD"), error(nil)
	if peer == "" {
		peer, err = f.debianImage()
	}
	if err != nil {
		b.Fatal(err)
	}
	var ours, theirs, open float64
	rounds := 0
	for b.Loop() {
		rounds++
		vm := machine{config: config(), sticks: []string{"stick"}}.boot(b)
		ours += systemUptime(b, vm)
		_, r := booted(b, vm)
		open += r.LastOpen - r.Stick
		vm = f.bootDebian(b, peer)
		theirs += systemUptime(b, vm)
		said := expect(b, vm, `MAPPER (.*)\n`)
		if n := strings.Count(said[1], "crypt"); n != len(disks) {
			b.Fatalf("Debian's initramfs opened %d of %d volumes: %s", n, len(disks), said[1])
		}
		vm.PowerCut()
	}
	info, err := os.Stat(peer)
	if err != nil {
		b.Fatal(err)
	}
	n := float64(rounds)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours/n, "s-hvinstall")
	b.ReportMetric(theirs/n, "s-debian")
	b.ReportMetric(ours/theirs, "of-debian's-time")
	b.ReportMetric(open/n, "s-stick-to-open")
	b.ReportMetric(float64(len(f.image))/1e6, "MB-hvinstall")
	b.ReportMetric(float64(info.Size())/1e6, "MB-debian")
	fmt.Printf("\nkernel start to the system's init: hvinstall %.2f s, initramfs-tools %.2f s: %.2f of its time\n", ours/n, theirs/n, ours/theirs)
	fmt.Printf("stick visible to seven volumes open: %.2f s\n", open/n)
	fmt.Printf("initramfs: hvinstall %.1f MB, initramfs-tools %.1f MB\n\n", float64(len(f.image))/1e6, float64(info.Size())/1e6)
}

func systemUptime(b *testing.B, vm *testvm.VM) float64 {
	b.Helper()
	// Long: a busy machine slows both down.
	said, err := vm.Expect(12*time.Minute, `UPTIME ([0-9.]+)`)
	if err != nil {
		b.Fatal(err)
	}
	up, err := strconv.ParseFloat(said[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return up
}

// debianImage is the peer's initramfs, made with Debian's defaults by the
// host's mkinitramfs; nothing of the host's /etc is changed.
func (f fixture) debianImage() (string, error) {
	conf := filepath.Join(f.dir, "initramfs-tools")
	if err := exec.Command("cp", "-r", "/etc/initramfs-tools", conf).Run(); err != nil {
		return "", fmt.Errorf("%w: apt-get install cryptsetup-initramfs", err)
	}
	const passdev = "/lib/cryptsetup/scripts/passdev"
	script, err := os.ReadFile(passdev)
	if err != nil {
		return "", fmt.Errorf("%w: apt-get install cryptsetup", err)
	}
	if _, err := os.Stat("/usr/share/initramfs-tools/hooks/cryptroot"); err != nil {
		return "", fmt.Errorf("%w: apt-get install cryptsetup-initramfs", err)
	}
	for name, text := range map[string]string{
		"modules":           "vfat\nnls_cp437\nnls_ascii\nusb_storage\nuas\nbtrfs\ndm_crypt\n",
		"conf.d/cryptsetup": "CRYPTSETUP=y\n",
		"conf.d/resume":     "RESUME=none\n",
	} {
		path := filepath.Join(conf, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	plain := filepath.Join(f.dir, "initrd.debian")
	if err := run("mkinitramfs", "-d", conf, "-o", plain, f.kernel.Release); err != nil {
		return "", err
	}
	// The hook fills these from the host's crypttab; here they are added.
	var crypttab strings.Builder
	for i, d := range disks {
		fmt.Fprintf(&crypttab, "%s UUID=%s /dev/disk/by-uuid/%s:/hypervisor:30 luks,keyslot=0,keyscript=%s\n", d.mapping, luksUUID(i), stickUUID, passdev)
	}
	image, err := os.ReadFile(plain)
	if err != nil {
		return "", err
	}
	image, err = withModes(image, map[string]addition{
		"cryptroot/crypttab": {[]byte(crypttab.String()), 0o644},
		// /lib is a link in it: a folder of that name would hide all that is below.
		"usr" + passdev: {script, 0o755},
	})
	if err != nil {
		return "", err
	}
	return plain, os.WriteFile(plain, image, 0o600)
}

func (f fixture) bootDebian(b *testing.B, initrd string) *testvm.VM {
	b.Helper()
	m := machine{sticks: []string{"stick"}}
	all := sticks
	for _, d := range disks {
		all = append([]testvm.Drive{d.drive}, all...)
	}
	return testvm.Boot(b, m.withDrives(f, testvm.Config{
		Kernel: f.vmlinux, Initrd: initrd, Timeout: 15 * time.Minute,
		Append: "console=ttyS0 panic=-1 mitigations=off no_timer_check root=/dev/mapper/cryptroot rootfstype=btrfs ro",
	}, all))
}
