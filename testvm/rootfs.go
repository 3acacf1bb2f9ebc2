package testvm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// rootfs collects the files of an initramfs from this machine's own Debian.
type rootfs struct {
	records map[string]cpio.Record
	order   []string
	open    []*os.File
}

// newRootfs has Debian's merged /usr and nothing else.
func newRootfs() *rootfs {
	r := &rootfs{records: map[string]cpio.Record{}}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		r.dir("usr/" + dir)
		r.put(cpio.Symlink(dir, "usr/"+dir))
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "mnt", "root", "etc", "var/log", "var/tmp"} {
		r.dir(dir)
	}
	r.put(cpio.Symlink("var/run", "/run"))
	// The kernel opens the console before /dev is mounted.
	r.put(cpio.CharDev("dev/console", 0o600, 5, 1))
	return r
}

func (r *rootfs) put(record cpio.Record) {
	name := record.Name
	if dir := filepath.Dir(name); dir != "." {
		r.dir(dir)
	}
	if _, there := r.records[name]; !there {
		r.order = append(r.order, name)
	}
	r.records[name] = record
}

func (r *rootfs) dir(name string) {
	if _, there := r.records[name]; !there {
		r.put(cpio.Directory(name, 0o755))
	}
}

// text adds a file of this content.
func (r *rootfs) text(name, content string, mode uint64) {
	r.put(cpio.StaticFile(strings.TrimPrefix(name, "/"), content, mode))
}

// file adds a host file under a name, executable as it is on the host.
func (r *rootfs) file(name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	r.open = append(r.open, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r.put(cpio.Record{
		ReaderAt: file,
		Info: cpio.Info{
			Name: unmerged(name), FileSize: uint64(info.Size()), NLink: 1,
			Mode: cpio.S_IFREG | uint64(info.Mode().Perm()),
		},
	})
	return nil
}

// unmerged puts a path of a folder that is a link into /usr.
func unmerged(name string) string {
	name = strings.TrimPrefix(filepath.Clean(name), "/")
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case "bin", "sbin", "lib", "lib64":
		return "usr/" + name
	}
	return name
}

// tree adds a host folder with all that is in it.
func (r *rootfs) tree(path string) error {
	return filepath.Walk(path, func(p string, info os.FileInfo, err error) error {
		switch {
		case err != nil:
			return err
		case info.IsDir():
			r.dir(unmerged(p))
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			r.put(cpio.Symlink(unmerged(p), target))
		default:
			return r.program(p)
		}
		return nil
	})
}

// program adds an executable or library with the libraries it needs, under its
// own path, following links.
func (r *rootfs) program(path string) error {
	if _, there := r.records[unmerged(path)]; there {
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if unmerged(real) != unmerged(path) {
		r.put(cpio.Symlink(unmerged(path), "/"+unmerged(real)))
		return r.program(real)
	}
	if err := r.file(path, real); err != nil {
		return err
	}
	binary, err := elf.Open(real)
	if err != nil {
		return nil // a script or data
	}
	defer func() { _ = binary.Close() }() // only read
	needed, err := binary.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", real, err)
	}
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return err
			}
			needed = append(needed, strings.TrimRight(string(name), "\x00"))
		}
	}
	for _, library := range needed {
		found, err := findLibrary(library)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", real, library, err)
		}
		if err := r.program(found); err != nil {
			return err
		}
	}
	return nil
}

func findLibrary(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib/x86_64-linux-gnu/systemd", "/usr/lib/systemd"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", os.ErrNotExist
}

// which finds a host program, also outside a user's PATH.
func which(program string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if path := filepath.Join(dir, program); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: apt-get install %s", program, packageOf(program))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// write writes the archive.
func (r *rootfs) write(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		for _, f := range r.open {
			f.Close()
		}
	}()
	w := cpio.Newc.Writer(file)
	for i, name := range r.order {
		record := r.records[name]
		record.Ino = uint64(i + 1)
		if err := w.WriteRecord(record); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
	}
	return cpio.WriteTrailer(w)
}
