// Package initrd builds an initramfs: the hvinstall binary as /init, the
// kernel modules that a boot needs with their dependencies, and the boot's
// plan.
//
// It reads a root file system's kernel modules and firmware and the machine's
// hardware from /sys, and writes nothing: Build returns the image. The same
// input gives the same bytes, whoever builds it and whenever.
package initrd

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hvinstall/initrd/boot"
)

// Options say what goes into an initramfs.
type Options struct {
	Root   string // the system whose modules and firmware are used; "/" on a running host
	Kernel string // its version, as a folder of /lib/modules
	Binary string // the hvinstall binary

	// Config is the host's boot.json; nil builds the live medium's initramfs,
	// which finds everything by the kernel command line.
	Config *boot.Config

	// Modaliases are the devices of the machine, see Modaliases: drivers of its
	// storage controllers are added to those that are always there.
	Modaliases []string
	// Modules are further modules by name, loaded whatever the hardware.
	Modules []string

	// Microcode are files and folders below lib/firmware, see boot.Microcode;
	// nil: those of all processors.
	Microcode []string

	// Keymap is Config.Keymap compiled, see CompileKeymap.
	Keymap []byte

	// Busybox is a static busybox for rd.hvinstall.shell; empty: no shell.
	Busybox string
}

// Image is a built initramfs.
type Image struct {
	Data      []byte
	Modules   []string // names, sorted
	Microcode []string // vendors whose microcode is in front of it
}

// Paths in the initramfs beyond those of package boot.
const (
	keymapPath  = "etc/hvinstall/keymap"
	busyboxPath = "bin/busybox"
)

// Build builds the initramfs.
func Build(o Options) (Image, error) {
	depot, err := openDepot(filepath.Join(o.Root, "lib/modules", o.Kernel))
	if err != nil {
		return Image{}, err
	}
	modules, err := depot.choose(o)
	if err != nil {
		return Image{}, err
	}

	var files archive
	for _, dir := range []string{"dev", "etc", "etc/hvinstall", "lib", "proc", "run", "sys", "sysroot"} {
		files.dir(dir)
	}
	if o.Config == nil {
		// A PXE server's second archive puts the live image into it; iPXE makes
		// no folders.
		files.dir("hvinstall")
	}
	// The kernel opens it for the init's standard streams before anything can
	// have mounted devtmpfs.
	files.charDevice("dev/console", 5, 1)

	if err := needsNoLoader(o.Binary); err != nil {
		return Image{}, err
	}
	binary, err := os.ReadFile(o.Binary)
	if err != nil {
		return Image{}, fmt.Errorf("reading the binary: %w", err)
	}
	files.file("init", binary, 0o755)

	for _, m := range modules.List {
		data, err := depot.read(m.Name)
		if err != nil {
			return Image{}, err
		}
		files.fileWithFolders(m.Path[1:], data, 0o644)
		blobs, err := firmwareFiles(filepath.Join(o.Root, "lib/firmware"), data)
		if err != nil {
			return Image{}, fmt.Errorf("the firmware of %s: %w", m.Name, err)
		}
		for _, name := range slices.Sorted(maps.Keys(blobs)) {
			files.fileWithFolders("lib/firmware/"+name, blobs[name], 0o644)
		}
	}
	var list bytes.Buffer
	if err := modules.Write(&list); err != nil {
		return Image{}, err
	}
	files.fileWithFolders(boot.ModulesPath[1:], list.Bytes(), 0o644)

	if o.Config != nil {
		data, err := o.Config.JSON()
		if err != nil {
			return Image{}, err
		}
		files.file(boot.ConfigPath[1:], data, 0o600)
	}
	if len(o.Keymap) > 0 {
		files.file(keymapPath, o.Keymap, 0o644)
	}
	if o.Busybox != "" {
		data, err := os.ReadFile(o.Busybox)
		if err != nil {
			return Image{}, fmt.Errorf("reading busybox: %w", err)
		}
		files.fileWithFolders(busyboxPath, data, 0o755)
	}

	early, vendors, err := microcode(filepath.Join(o.Root, "lib/firmware"), o.Microcode)
	if err != nil {
		return Image{}, err
	}
	packed, err := files.compressed()
	if err != nil {
		return Image{}, err
	}
	names := make([]string, 0, len(modules.List))
	for _, m := range modules.List {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return Image{Data: append(early, packed...), Modules: names, Microcode: vendors}, nil
}

// needsNoLoader refuses a binary that is linked dynamically: the initramfs has
// no ld.so, and the kernel would panic with "No working init found".
func needsNoLoader(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return nil //nolint:nilerr // not an ELF file: no loader is asked for
	}
	defer func() { _ = file.Close() }() // opened for reading alone
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and cannot be /init; build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}
