package osimage

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
)

// loaderSource is systemd-boot as the image brings it; with Debian's signature
// it has another name, and is what bootctl(1) takes first.
const loaderSource = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

func readLoader(root string) ([]byte, error) {
	loader, err := os.ReadFile(filepath.Join(root, loaderSource+".signed"))
	if errors.Is(err, fs.ErrNotExist) {
		loader, err = os.ReadFile(filepath.Join(root, loaderSource))
	}
	return loader, err
}

// loaderTargets are where firmware finds it: by the boot variable, and, where
// that is lost, by the path for removable media.
var loaderTargets = []string{"EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"}

const loaderConf = `# Written by hvinstall; see loader.conf(5).
timeout 3
console-mode keep
editor no
`

// loaderConfOf is the loader.conf of an ESP: what is there, without the editor
// of kernel command lines. With it, a person at the console is root by "e" and
// init=/bin/bash on a host whose stick is plugged in.
func loaderConfOf(have []byte) []byte {
	if len(have) == 0 {
		return []byte(loaderConf)
	}
	var b strings.Builder
	for line := range strings.Lines(string(have)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "editor" {
			continue
		}
		b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	b.WriteString("editor no\n")
	return []byte(b.String())
}

// loaderMissing says what of the boot loader is not on the ESP. A loader that
// is there stays, whatever its version: systemd-boot-update.service keeps it
// current.
func loaderMissing(esp string) (string, error) {
	for _, target := range loaderTargets {
		data, err := os.ReadFile(filepath.Join(esp, target))
		if errors.Is(err, fs.ErrNotExist) {
			return target + " is not there", nil
		}
		if err != nil {
			return "", err
		}
		if !isLoader(data) {
			return target + " is not systemd-boot", nil
		}
	}
	for _, file := range []string{"loader/loader.conf", "loader/random-seed"} {
		if fileSize(filepath.Join(esp, file)) <= 0 {
			return file + " is not there", nil
		}
	}
	conf, err := os.ReadFile(filepath.Join(esp, "loader/loader.conf"))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(conf, loaderConfOf(conf)) {
		return "loader/loader.conf lets anybody at the console edit the kernel's command line", nil
	}
	return "", nil
}

// isLoader knows systemd-boot by the mark that bootctl looks for.
func isLoader(data []byte) bool {
	return bytes.Contains(data, []byte("#### LoaderInfo: systemd-boot "))
}

// installLoader puts systemd-boot on the ESP. Another boot loader in the path
// for removable media is kept beside it: the ESP is this host's own, yet an
// adopted one may have held something.
func installLoader(root, esp string) error {
	loader, err := readLoader(root)
	if err != nil {
		return fmt.Errorf("the image lacks systemd-boot: %w", err)
	}
	if !isLoader(loader) {
		return fmt.Errorf("%s of the image is not systemd-boot", loaderSource)
	}
	for _, target := range loaderTargets {
		path := filepath.Join(esp, target)
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if isLoader(old) {
			continue
		}
		if len(old) > 0 {
			if err := writeESP(path+".old", old); err != nil {
				return err
			}
		}
		if err := writeESP(path, loader); err != nil {
			return err
		}
	}
	conf, err := os.ReadFile(filepath.Join(esp, "loader/loader.conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeESP(filepath.Join(esp, "loader/loader.conf"), loaderConfOf(conf)); err != nil {
		return err
	}
	if fileSize(filepath.Join(esp, "loader/random-seed")) <= 0 {
		seed := make([]byte, 512)
		if _, err := rand.Read(seed); err != nil {
			return err
		}
		if err := writeESP(filepath.Join(esp, "loader/random-seed"), seed); err != nil {
			return err
		}
	}
	return nil
}

// writeESP writes a file on a VFAT so that a power cut leaves the old one or
// the new one: VFAT has no owners, and its rename is one directory entry.
func writeESP(path string, data []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	if err := host.Replace(path, host.NoMode, bytes.NewReader(data)); err != nil {
		return err
	}
	return syncFS(filepath.Dir(path))
}
