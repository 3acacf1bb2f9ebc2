package crypt

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"

	"golang.org/x/sys/unix"
)

// KeySize is the length of a key file that hvinstall makes, in bytes.
const KeySize = 4096

// keyLimit is the longest key file that is read: cryptsetup's own limit.
const keyLimit = 8 << 20

// stickDir begins the names of the folders where sticks are mounted, each for
// the moment that it is needed.
const stickDir = "/run/hvinstall/stick-"

// StickError is a stick that cannot hold or give its key. Nothing on it was
// lost.
type StickError struct {
	Stick string // VFAT volume serial
	What  string
	Hint  string
}

func (e *StickError) Error() string { return "USB key " + e.Stick + ": " + e.What + "; " + e.Hint }

// ErrNoStick is a stick that is not plugged in.
var ErrNoStick = errors.New("not plugged in")

// Device is where udev shows the stick's VFAT.
func (k KeyPlan) Device() string { return "/dev/disk/by-uuid/" + k.FSUUID }

// mounted runs f with the stick's VFAT mounted, and unmounts it again.
func (k KeyPlan) mounted(readOnly bool, f func(dir string) error) error {
	device, err := filepath.EvalSymlinks(k.Device())
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("USB key %s: %w", k.FSUUID, ErrNoStick)
	}
	if err != nil {
		return err
	}
	dir, err := k.mountDir(readOnly)
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	options := []string{"fmask=0177", "dmask=0077", "nodev", "nosuid", "noexec", "noatime", "rw"}
	if readOnly {
		options[len(options)-1] = "ro"
	}
	err = host.MountFS(device, dir, "vfat", options...)
	if readOnly && errors.Is(err, unix.EBUSY) {
		// It is mounted for writing already, by a desktop or by a run that was
		// killed: there it can be read as well.
		if there, found := mountOf(device); found {
			return f(there)
		}
	}
	if err != nil {
		return k.mountError(err, device, readOnly)
	}
	return errors.Join(f(dir), host.UnmountOwn(dir))
}

// mountOf is where a device is mounted already.
func mountOf(device string) (string, bool) {
	mounts, err := host.Mounts()
	if err != nil {
		return "", false
	}
	for _, m := range mounts {
		if source, err := filepath.EvalSymlinks(m.Source); err == nil && source == device && m.FSType == "vfat" {
			return m.Target, true
		}
	}
	return "", false
}

// mountDir is an empty folder for the mount. Only who writes ends the mount of
// a killed run: a dry run may look while another run is at work.
func (k KeyPlan) mountDir(readOnly bool) (string, error) {
	if !readOnly {
		return host.OwnMountDir(stickDir + k.FSUUID + "-rw-")
	}
	if err := os.MkdirAll(filepath.Dir(stickDir), 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(filepath.Dir(stickDir), filepath.Base(stickDir)+k.FSUUID+"-ro-")
}

func (k KeyPlan) mountError(err error, device string, readOnly bool) error {
	switch {
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return &StickError{k.FSUUID, "the stick is read-only", "look for a write-protect switch, or take another stick"}
	case errors.Is(err, unix.EINVAL):
		return &StickError{k.FSUUID, device + " holds no VFAT", "name a stick with a VFAT, or give the stick as disk: to have it formatted"}
	case errors.Is(err, unix.EBUSY) && !readOnly:
		return &StickError{k.FSUUID, device + " is in use (" + err.Error() + ")", "unmount it and run again"}
	case errors.Is(err, unix.ENODEV):
		return &StickError{k.FSUUID, "the kernel lacks vfat", "modprobe vfat"}
	}
	return err
}

// read reads the stick's key file. A file that is not there is an empty Secret.
func (k KeyPlan) read() (Secret, error) {
	var key Secret
	err := k.mounted(true, func(dir string) (err error) {
		key, err = readKeyFile(filepath.Join(dir, k.Filename))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	return key, err
}

// files are the names in the stick's root that can be a key's; a stick that is
// not plugged in has none.
func (k KeyPlan) files() ([]string, error) {
	var names []string
	err := k.mounted(true, func(dir string) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() == KeySize {
				names = append(names, e.Name())
			}
		}
		return err
	})
	if errors.Is(err, ErrNoStick) {
		return nil, nil
	}
	return names, err
}

func readKeyFile(path string) (Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return Secret{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Secret{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > keyLimit {
		return Secret{}, fmt.Errorf("%s is no key file", filepath.Base(path))
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return Secret{}, fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	return NewSecret(data), nil
}

// looksLikeKey reports whether a file can be a key that hvinstall made: the
// right length, and not compressible. A text that happens to have the name, or
// a file of zeros, is never taken for a key.
func looksLikeKey(s Secret) bool {
	if len(s.Bytes()) != KeySize {
		return false
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return false
	}
	_, err = w.Write(s.Bytes())
	if err := errors.Join(err, w.Close()); err != nil {
		return false
	}
	packed := out.Len()
	clear(out.Bytes())
	return packed > KeySize*95/100
}

// write puts a key on the stick under the plan's name, and reads it back from
// the stick. A file of that name is never replaced. What fails leaves the
// stick as it was.
func (k KeyPlan) write(ctx context.Context, key Secret) error {
	err := k.mounted(false, func(dir string) error { return k.place(dir, key) })
	if err != nil {
		return err
	}
	// Mounted anew, the file comes from the stick and not from the page cache
	// of this mount.
	if err := dropCache(k.Device()); err != nil {
		return err
	}
	have, err := k.read()
	if err != nil {
		return err
	}
	defer have.Wipe()
	if !have.Equal(key) {
		return &StickError{k.FSUUID, "the key read back from the stick is not the key written to it", "the stick is broken; take another"}
	}
	return ctx.Err()
}

// place writes the key to a temporary name and renames it.
func (k KeyPlan) place(dir string, key Secret) error {
	path := filepath.Join(dir, k.Filename)
	temporary := path + ".part"
	if _, err := os.Lstat(path); err == nil {
		return k.taken()
	}
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return k.writeError(err)
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return k.writeError(err)
	}
	_, err = file.Write(key.Bytes())
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(k.writeError(err), os.Remove(temporary))
	}
	// RENAME_NOREPLACE is not known to vfat in older kernels; nobody else has
	// this mount, and the name was free above.
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(k.writeError(err), os.Remove(temporary))
	}
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(root.Sync(), root.Close())
}

func (k KeyPlan) taken() error {
	return &StickError{k.FSUUID, fmt.Sprintf("the stick has a file %q that is not a key of hvinstall's", k.Filename),
		"move it away, or choose another key_filename in the layout"}
}

func (k KeyPlan) writeError(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return &StickError{k.FSUUID, fmt.Sprintf("the stick is full, and the key needs %d bytes", KeySize), "remove something from it, or take another stick"}
	case errors.Is(err, unix.EROFS):
		return &StickError{k.FSUUID, "the stick is read-only", "look for a write-protect switch; a damaged VFAT is also mounted read-only, and 'fsck.vfat' repairs it"}
	case errors.Is(err, unix.EIO):
		return &StickError{k.FSUUID, "the stick cannot be written to: " + err.Error(), "take another stick"}
	}
	return fmt.Errorf("USB key %s: writing the key: %w", k.FSUUID, err)
}

// dropCache makes the kernel forget what it has read of or written to a
// device.
func dropCache(device string) error {
	file, err := os.Open(device)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.IoctlSetInt(int(file.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("flushing %s: %w", device, err)
	}
	return nil
}

// waitForStick returns once udev has named a VFAT that was just made.
func (k KeyPlan) waitForStick(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, nodeTimeout, fmt.Errorf("udev did not show the VFAT %s within %v", k.FSUUID, nodeTimeout))
	defer cancel()
	return host.WaitInFolder(ctx, filepath.Dir(k.Device()), func() bool { return unix.Access(k.Device(), unix.F_OK) == nil })
}

// isKeyFilename refuses a name that leads out of the stick's root.
func isKeyFilename(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:*?\"<>|\x00")
}
