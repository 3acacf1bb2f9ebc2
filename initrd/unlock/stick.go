package unlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"hvinstall/crypt"
	"hvinstall/initrd/boot"
)

// maxKeyFile is cryptsetup's limit for key files.
const maxKeyFile = 8 << 20

// withStick mounts a stick where nobody else can look, for as long as use takes.
func withStick(d device, use func(folder string) error) error {
	folder, err := os.MkdirTemp("/run", "key-")
	if err != nil {
		return fmt.Errorf("stick %s: %w", d.uuid, err)
	}
	defer os.Remove(folder)
	if err := mountStick(d, folder); err != nil {
		return fmt.Errorf("stick %s: %w", d.uuid, err)
	}
	defer func() {
		if unix.Unmount(folder, 0) != nil {
			_ = unix.Unmount(folder, unix.MNT_DETACH)
		}
	}()
	return use(folder)
}

// readKey reads the key of a stick that is mounted.
func readKey(d device, k boot.Key, folder string) (*key, error) {
	secret, err := readSecret(folder + "/" + k.Filename)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("stick %s (%s) has no file %s", d.uuid, d.name, k.Filename)
	}
	if err != nil {
		return nil, fmt.Errorf("stick %s: %w", d.uuid, err)
	}
	return &key{Key: crypt.Key{Name: "stick " + d.uuid, Secret: crypt.NewSecret(secret), Stick: k.FSUUID}}, nil
}

// readSecret reads a file into memory that is not copied on the way.
func readSecret(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is not a key file: it has %d bytes", info.Name(), info.Size())
	}
	secret := make([]byte, info.Size())
	if _, err := io.ReadFull(file, secret); err != nil {
		clear(secret)
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	// The page cache of the stick would keep a copy.
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	return secret, nil
}
