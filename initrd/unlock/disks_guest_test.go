//go:build guest

package unlock_test

import (
	"bytes"
	"crypto/aes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/xts"
	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
	"hvinstall/testvm"
)

// The disks are made without a guest and without root: cryptsetup formats
// files, mkfs.btrfs makes file systems in files, and what a mapping would have
// encrypted is encrypted here.

const (
	mib           = 1 << 20
	partitionSize = 300 * mib
	luksHeader    = 16 * mib // cryptsetup's default offset of the data
)

// makeDisks makes every disk and stick of the fixture.
func (f *fixture) makeDisks() error {
	key := filepath.Join(f.dir, "key")
	// Bytes that a careless reader of key files trips over: NUL and newline.
	if err := os.WriteFile(key, bytes.Repeat([]byte{0x00, 0x0a, 0xff, 0x42}, 1024), 0o600); err != nil {
		return err
	}
	other := filepath.Join(f.dir, "otherkey")
	if err := os.WriteFile(other, bytes.Repeat([]byte("other"), 800), 0o600); err != nil {
		return err
	}
	root, err := f.makeRoot()
	if err != nil {
		return err
	}
	plain := map[string]string{} // mapping → file with the file system
	for _, d := range disks {
		plain[d.mapping] = f.path(d.mapping)
		if err := testvm.Sparse(plain[d.mapping], partitionSize-luksHeader); err != nil {
			return err
		}
	}
	if err := run("mkfs.btrfs", "-q", "-U", rootFS, "-L", "hvroot", "-r", root, plain["cryptroot"]); err != nil {
		return err
	}
	for pool, uuid := range map[string]string{"vmstore": vmstoreFS, "bulk": bulkFS} {
		args := []string{"mkfs.btrfs", "-q", "-U", uuid, "-L", pool, "-d", "raid1", "-m", "raid1"}
		for _, d := range disks {
			if d.pool == pool {
				args = append(args, plain[d.mapping])
			}
		}
		if err := run(args...); err != nil {
			return err
		}
	}
	if err := f.makeLive(root); err != nil {
		return err
	}
	for i, d := range disks {
		start := int64(mib)
		if d.pool == "" {
			start = 17 * mib
		}
		if err := f.makeDisk(d.drive.ID, luksUUID(i), d.mapping, start, key, plain[d.mapping]); err != nil {
			return err
		}
	}
	if err := f.makeDisk("decoy", "99999999-aaaa-bbbb-cccc-dddddddddddd", "cryptroot", mib, other, ""); err != nil {
		return err
	}
	if err := f.makeDisk("forged", luksUUID(0), "cryptroot", mib, other, ""); err != nil {
		return err
	}
	if err := f.makeOld(key); err != nil {
		return err
	}
	if err := os.Link(f.path("os"), f.path("twin")); err != nil {
		return err
	}
	for id, file := range map[string]string{"stick": key, "clone": other, "empty": ""} {
		if err := run("mkfs.vfat", "-i", strings.ReplaceAll(stickUUID, "-", ""), "-n", "KEYSTICK", "-C", f.path(id), "34000"); err != nil {
			return err
		}
		if file != "" {
			if err := run("mcopy", "-i", f.path(id), file, "::hypervisor"); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeLive makes a live medium with the same system as its image.
func (f *fixture) makeLive(root string) error {
	squashfs := f.path("squashfs")
	if err := run("mksquashfs", root, squashfs, "-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "1", "-all-root"); err != nil {
		return err
	}
	if err := run("mkfs.vfat", "-i", strings.ReplaceAll(liveUUID, "-", ""), "-C", f.path("live"), "34000"); err != nil {
		return err
	}
	if err := run("mmd", "-i", f.path("live"), "::hvinstall"); err != nil {
		return err
	}
	return run("mcopy", "-i", f.path("live"), squashfs, "::hvinstall/root.squashfs")
}

// makeRoot makes the folder that becomes the root file system.
func (f *fixture) makeRoot() (string, error) {
	root := filepath.Join(f.dir, "root")
	for _, dir := range []string{"bin", "sbin", "dev", "proc", "sys", "run", "mnt/vmstore", "mnt/bulk", "nix", "store/0c0s-nixos-system-hypervisor-25.05", "tmp", "etc/hvinstall"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return "", fmt.Errorf("%w: apt-get install busybox-static", err)
	}
	for name, file := range map[string]struct {
		data []byte
		mode os.FileMode
	}{"bin/busybox": {busybox, 0o755}, "sbin/init": {[]byte(rootInit), 0o755}, "store/0c0s-nixos-system-hypervisor-25.05/init": {[]byte(nixInit), 0o755}, "marker": {[]byte("MARKER root\n"), 0o644}, boot.RootSecretPath[1:]: {rootSecret(1), 0o600}} {
		if err := os.WriteFile(filepath.Join(root, name), file.data, file.mode); err != nil {
			return "", err
		}
	}
	// As NixOS has it: an absolute link to the system that is current.
	if err := os.Symlink("/nix/store/0c0s-nixos-system-hypervisor-25.05", filepath.Join(root, "system")); err != nil {
		return "", err
	}
	for _, link := range []string{"sh", "cat", "grep", "ls", "dmesg", "cut", "sed", "wc", "echo", "readlink", "poweroff", "tr"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", link)); err != nil {
			return "", err
		}
	}
	// Debian's udevd and rules, for what they make of mappings that they did not
	// see being made.
	for _, program := range []string{"/lib/systemd/systemd-udevd", "/bin/udevadm", "/sbin/dmsetup"} {
		if err := copyProgram(root, program); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{"/lib/udev/rules.d"} {
		if err := run("cp", "-r", "--parents", dir, root); err != nil {
			return "", err
		}
	}
	return root, nil
}

// copyProgram copies a program and the libraries that ldd names.
func copyProgram(root, program string) error {
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return fmt.Errorf("%s: %w: apt-get install udev dmsetup", program, err)
	}
	files := []string{program}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			files = append(files, word)
		}
	}
	for _, f := range files {
		target := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := run("cp", "-L", f, target); err != nil {
			return err
		}
	}
	return nil
}

// makeDisk makes a disk with one LUKS partition at start, which is formatted
// as hvinstall does: the key in a slot that costs nothing, the passphrase in
// an argon2id one (of little memory, for guests compute slowly).
func (f *fixture) makeDisk(id, uuid, label string, start int64, key, plain string) error {
	luks, volumeKey := f.path(id+"-luks"), f.path(id+"-volumekey")
	defer os.Remove(luks)
	if err := testvm.Sparse(luks, partitionSize); err != nil {
		return err
	}
	for _, args := range [][]string{
		{
			"cryptsetup", "luksFormat", "-q", "--type", "luks2", "--uuid", uuid, "--label", label, "--subsystem", "hvinstall", "--sector-size", "512",
			"--pbkdf", "argon2id", "--pbkdf-memory", "1024", "--pbkdf-parallel", "1", "--pbkdf-force-iterations", "4",
			"--key-slot", "1", luks, "-",
		},
		{"cryptsetup", "luksAddKey", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-slot", "0", "--key-file", "-", luks, key},
		{"cryptsetup", "luksDump", "-q", "--dump-volume-key", "--key-file", key, "--volume-key-file", volumeKey, luks},
	} {
		if err := runWith(passphrase, args...); err != nil {
			return err
		}
	}
	defer os.Remove(volumeKey)
	if plain != "" {
		defer os.Remove(plain)
		if err := encrypt(luks, plain, volumeKey); err != nil {
			return err
		}
	}
	disk := f.path(id)
	if err := testvm.Sparse(disk, start+partitionSize+mib); err != nil {
		return err
	}
	args := []string{"sgdisk", "-n", fmt.Sprintf("0:%d:+%dM", start/512, partitionSize/mib), disk}
	if start > mib {
		args = []string{"sgdisk", "-n", "1:2048:+16M", "-t", "1:ef00", "-n", fmt.Sprintf("2:%d:+%dM", start/512, partitionSize/mib), disk}
	}
	if err := run(args...); err != nil {
		return err
	}
	return copyData(disk, start, luks, func([]byte, int64) {})
}

// makeOld makes a disk that is one volume with the cipher that was usual before
// 2013, under a LUKS2 header: luks.go opens no keyslots of that cipher.
func (f *fixture) makeOld(key string) error {
	if err := testvm.Sparse(f.path("old"), 32*mib); err != nil {
		return err
	}
	return run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--uuid", oldUUID, "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256",
		"--keyslot-cipher", "aes-xts-plain64", "--keyslot-key-size", "512", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", f.path("old"), key)
}

// encrypt writes plain's data into the LUKS volume, as dm-crypt's
// aes-xts-plain64 does with sectors of 512 bytes.
func encrypt(luks, plain, volumeKey string) error {
	key, err := os.ReadFile(volumeKey)
	if err != nil {
		return err
	}
	cipher, err := xts.NewCipher(aes.NewCipher, key)
	if err != nil {
		return err
	}
	return copyData(luks, luksHeader, plain, func(block []byte, at int64) {
		for i := int64(0); i < int64(len(block)); i += 512 {
			cipher.Encrypt(block[i:i+512], block[i:i+512], uint64((at+i)/512))
		}
	})
}

// copyData copies what is allocated of one sparse file into another. change
// gets each block and where it was.
func copyData(to string, offset int64, from string, change func(block []byte, at int64)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, mib)
	for at := int64(0); ; {
		start, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := in.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at = start; at < end; {
			n, err := in.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			change(buf[:n], at)
			if _, err := out.WriteAt(buf[:n], offset+at); err != nil {
				return err
			}
			at += int64(n)
		}
	}
}

func run(args ...string) error { return runWith("", args...) }

func runWith(stdin string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
