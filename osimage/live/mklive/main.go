// Command mklive writes the live stick's image; 'make live' runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"hvinstall/osimage/live"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mklive:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := pflag.NewFlagSet("mklive", pflag.ContinueOnError)
	var p live.Parts
	flags.StringVar(&p.Kernel, "kernel", "", "kernel")
	flags.StringVar(&p.Initrd, "initrd", "", "initramfs, from hvinstall initrd --live")
	flags.StringVar(&p.Loader, "loader", "", "systemd-bootx64.efi")
	flags.StringVar(&p.Image, "image", "", "squashfs; its sum is read from <image>.sha256")
	flags.StringVar(&p.Append, "append", "", "added to the kernel's command line")
	flags.Int64Var(&p.Epoch, "epoch", 1764000000, "time of the files on it, in seconds")
	files := flags.StringSlice("file", nil, "NAME=PATH: a file on the data partition; may be repeated")
	out := flags.StringP("output", "o", "", "the image to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || p.Kernel == "" || p.Initrd == "" || p.Loader == "" || p.Image == "" {
		return errors.New("--kernel, --initrd, --loader, --image and -o are needed")
	}
	sum, err := os.ReadFile(p.Image + ".sha256")
	if err != nil {
		return err
	}
	p.Sum, _, _ = strings.Cut(string(sum), " ")
	p.Spare = 64 << 20
	p.Files = map[string]string{}
	for _, f := range *files {
		name, path, found := strings.Cut(f, "=")
		if !found {
			return fmt.Errorf("--file %s is not NAME=PATH", f)
		}
		p.Files[name] = path
	}
	target, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	return live.Write(context.Background(), target, p)
}
