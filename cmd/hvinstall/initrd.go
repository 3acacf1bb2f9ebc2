package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/initrd"
	"hvinstall/initrd/boot"
	"hvinstall/install"
	"hvinstall/osimage"

	"github.com/spf13/pflag"
)

// runInitrd builds an initramfs. The kernel hook of an installed host runs it
// for every kernel, 'make live' with --live.
func runInitrd(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("initrd", pflag.ContinueOnError)
	kernel := flags.String("kernel", "", "kernel version, as a folder of lib/modules; default: the only one there")
	root := flags.String("root", "/", "root file system with the kernel's modules and, unless --live, "+boot.ConfigPath)
	out := flags.StringP("output", "o", "", "file to write")
	live := flags.Bool("live", false, "build the live medium's initramfs")
	config := flags.String("config", "", "boot plan to use instead of the root file system's own")
	binary := flags.String("binary", "/proc/self/exe", "hvinstall binary to use as /init")
	modules := flags.StringSlice("module", nil, "further kernel module, loaded at every boot; may be repeated")
	shell := flags.String("shell", "", "static busybox to put in, for rd.hvinstall.shell on the kernel command line")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if *out == "" || flags.NArg() > 0 {
		return usageError(t, "initrd needs -o FILE and no other argument")
	}
	o := initrd.Options{Root: *root, Kernel: *kernel, Binary: *binary, Modules: *modules, Busybox: *shell}
	image, err := buildInitrd(ctx, t, o, *live, *config)
	if err == nil {
		err = host.WriteFile(*out, image.Data, 0o600)
	}
	if err != nil {
		t.complain(fmt.Errorf("building the initramfs: %w", err))
		return exitFailed
	}
	fmt.Fprintf(t.out, "%s: %.1f MB, %d modules", *out, float64(len(image.Data))/1e6, len(image.Modules))
	if len(image.Microcode) > 0 {
		fmt.Fprintf(t.out, ", microcode %s", strings.Join(image.Microcode, " and "))
	}
	fmt.Fprintln(t.out)
	return exitDone
}

func buildInitrd(ctx context.Context, t terminal, o initrd.Options, live bool, config string) (initrd.Image, error) {
	var err error
	if o.Kernel == "" {
		if o.Kernel, err = onlyKernel(o.Root); err != nil {
			return initrd.Image{}, err
		}
	}
	if live {
		// That of all processors is 23 MB, which firmware would read from the
		// stick at each start; the installed host has its own.
		o.Microcode = []string{}
		return initrd.Build(o)
	}
	if config == "" {
		config = filepath.Join(o.Root, boot.ConfigPath)
	}
	data, err := os.ReadFile(config)
	if errors.Is(err, fs.ErrNotExist) {
		return initrd.Image{}, fmt.Errorf("%w; 'hvinstall --plan layout.yaml' writes it, --live needs none", err)
	}
	if err != nil {
		return initrd.Image{}, err
	}
	plan, err := boot.Parse(data)
	if err != nil {
		return initrd.Image{}, err
	}
	for i, v := range plan.Volumes {
		if plan.Volumes[i].KeyDigest, err = install.KeyDigest(v); err != nil {
			return initrd.Image{}, err
		}
	}
	if plan.Root.Proof, err = osimage.RootProof(o.Root); err != nil {
		return initrd.Image{}, err
	}
	o.Config, o.Microcode = &plan, boot.Microcode()
	if o.Modaliases, err = initrd.Modaliases(); err != nil {
		return initrd.Image{}, err
	}
	// A host that boots and asks with an American keyboard is better than a
	// kernel upgrade without an initramfs.
	if o.Keymap, err = initrd.BootKeymap(ctx, plan.Keymap); err != nil {
		t.complain(fmt.Errorf("warning: %w; the passphrase prompt's keyboard will be us", err))
	}
	return initrd.Build(o)
}

// onlyKernel is the version of the root's kernel, if it has just one.
func onlyKernel(root string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "lib/modules"))
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", fmt.Errorf("%s has %d kernels: name one with --kernel", filepath.Join(root, "lib/modules"), len(entries))
	}
	return entries[0].Name(), nil
}
