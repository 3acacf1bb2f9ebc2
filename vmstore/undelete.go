package vmstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hvinstall/configs"

	"github.com/digitalocean/go-libvirt"
)

// UndeleteCommand is the command that brings back a VM whose purge_after has
// not passed.
const UndeleteCommand = "undelete"

// Undelete brings back the directory of a VM that was absent, its firmware
// variables and TPM state where these are gone, and its definition. It replaces
// nothing and starts nothing. said is what was done.
func Undelete(ctx context.Context, want configs.VMPlan, name string) (said []string, err error) {
	want = defaults(want)
	if problem := badName(name); problem != "" {
		return nil, errors.New(problem)
	}
	for _, vm := range want.VMs {
		if vm.Name == name && vm.State == "absent" {
			return nil, fmt.Errorf("the layout says that %s is absent, and the next run would remove it again: change that first", name)
		}
	}
	c, err := newConnection(want.URI)
	if err != nil {
		return nil, err
	}
	defer c.close()
	w := &worker{plan: Plan{Root: want.VMStoreRoot, Local: true}, libvir: c}
	all := slices.DeleteFunc(readPrevious("/", want.VMStoreRoot, time.Now()), func(p Previous) bool { return p.VM != name || !p.Disks })
	if len(all) == 0 {
		return nil, fmt.Errorf("%s keeps no disks of %s", filepath.Join(want.VMStoreRoot, previousDir), name)
	}
	p := all[len(all)-1]
	if _, found, err := c.lookup(ctx, name); err != nil || found {
		return nil, errors.Join(err, fmt.Errorf("libvirt has a VM %s: nothing was brought back", name))
	}
	dir := filepath.Join(want.VMStoreRoot, name)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, fmt.Errorf("%s is there: move it aside first; nothing was brought back", dir))
	}
	from, err := filepath.Rel(want.VMStoreRoot, filepath.Join(p.Path, movedDisks))
	if err != nil {
		return nil, err
	}
	// The small files first: a directory that is back is the sign that all is.
	for _, f := range []struct {
		kept, to string
		copy     func(from, to string) error
	}{{keptNVRAM, p.NVRAM, copyState}, {keptTPM, p.TPM, copyStates}} {
		kept := filepath.Join(p.Path, f.kept)
		if _, err := os.Lstat(kept); err != nil || f.to == "" || inside(dir, f.to) {
			continue
		}
		if _, err := os.Lstat(f.to); err == nil {
			said = append(said, f.to+" is there, and stays as it is")
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(f.to), 0o711), f.copy(kept, f.to)); err != nil {
			return said, fmt.Errorf("bringing back %s: %w", f.to, err)
		}
		said = append(said, "brought back "+f.to)
	}
	if err := moveDirectory(want.VMStoreRoot, from, name); err != nil {
		return said, err
	}
	said = append(said, "brought back "+dir)
	text, err := readXMLFile(filepath.Join(p.Path, domainXMLName))
	if err != nil {
		return append(said, "its definition was not kept: the next run makes one around its disk"), nil
	}
	if err := w.libvir.do(ctx, func(l *libvirt.Libvirt) error { _, err := l.DomainDefineXMLFlags(text, 0); return err }); err != nil {
		return said, fmt.Errorf("its disks are back, and libvirt did not take its definition (%w): the next run defines it from %s", err, filepath.Join(dir, domainXMLName))
	}
	return append(said, "defined "+name+" in libvirt"), nil
}
