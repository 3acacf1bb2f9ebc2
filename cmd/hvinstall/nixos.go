package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/configs"
	"hvinstall/install"
	"hvinstall/osimage/nixos"
	"hvinstall/step"

	"github.com/spf13/pflag"
)

// runNixos writes the host's NixOS modules into a folder.
func runNixos(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("nixos", pflag.ContinueOnError)
	plan := flags.String("plan", "", "the layout, a `FILE`")
	out := flags.StringP("output", "o", "", "the host's `FOLDER` in a flake, as nix/hosts/hypervisor; with --flake, the flake's own")
	facts := flags.String("facts", "", "take the machine from this `FILE` of 'hvinstall discover --json'; - is standard input")
	form := flags.String("flake", "", "write a flake.nix too; `FORM` is plain or blueprint")
	force := flags.Bool("force", false, "replace files that differ; without it they are shown and left alone")
	if code, done := parse(t, flags, args); done {
		return code
	}
	switch {
	case *plan == "" || *out == "":
		return usageError(t, "nixos needs --plan FILE and -o FOLDER")
	case !slices.Contains([]string{"", "plain", "blueprint"}, *form):
		return usageError(t, "--flake is plain or blueprint, not %q", *form)
	}
	layout, err := configs.LoadFile(*plan, "")
	if err != nil {
		fmt.Fprintln(t.err, showable(err.Error()))
		return exitUsage
	}
	if layout.OS == nil || layout.OS.NixOS == nil {
		return usageError(t, "%s has no os.nixos: it describes no NixOS host", *plan)
	}
	machine, err := machineFacts(ctx, t, *facts)
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	p := install.Make(install.Input{Layout: layout, Facts: machine, Only: []install.Part{install.PartDisks, install.PartOS, install.PartNet}})
	if refusals := slices.DeleteFunc(p.Refusals, needless); len(refusals) > 0 {
		for _, r := range refusals {
			t.complain(r)
		}
		fmt.Fprintln(t.err, "hvinstall: nothing was written: the modules name disks by what is on them; run on the machine itself, or with --facts")
		return exitRefused
	}
	in := p.NixOS()
	files, err := nixosFiles(in, nixos.Flake(*form), flags.Args())
	if err != nil {
		t.complain(err)
		return exitUsage
	}
	for _, w := range nixos.Warnings(in) {
		t.complain("warning: " + w)
	}
	return writeNixos(t, *out, files, *force)
}

// needless reports a refusal that speaks against writing to disks, and not
// against writing modules about them.
func needless(r step.Refusal) bool {
	return slices.Contains([]string{"disk-data", "disk-held", "disk-live", "disk-read-only", "erase-unknown", "stick-missing", "boot-config", "nixos"}, r.Code)
}

// nixosFiles gives the files that are asked for: all, or those named.
func nixosFiles(in nixos.Input, form nixos.Flake, names []string) ([]nixos.File, error) {
	files, err := nixos.Generate(in)
	if err != nil {
		return nil, err
	}
	if form != nixos.NoFlake {
		for i := range files {
			files[i].Path = filepath.Join(nixos.HostDir(in), files[i].Path)
		}
		flake, err := nixos.GenerateFlake(in, form, nixos.HostDir(in))
		if err != nil {
			return nil, err
		}
		files = append([]nixos.File{flake}, files...)
	}
	if len(names) == 0 {
		return files, nil
	}
	var named []nixos.File
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
		if slices.Contains(names, f.Path) {
			named = append(named, f)
		}
	}
	for _, name := range names {
		if !slices.Contains(paths, name) {
			return nil, fmt.Errorf("there is no file %s for this layout; there are: %s", name, strings.Join(paths, ", "))
		}
	}
	return named, nil
}

// writeNixos shows what becomes of each file, and writes all of them or none.
func writeNixos(t terminal, dir string, files []nixos.File, force bool) int {
	compared, err := nixos.Compare(dir, files)
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	s := styleOf(t.out)
	fmt.Fprintln(t.out, s.bold(dir))
	differ := 0
	for _, c := range compared {
		word, why := string(c.Change), ""
		switch c.Change {
		case nixos.New:
			word = s.good(pad("new", 8))
		case nixos.Same:
			word = s.dim(pad("same", 8))
		case nixos.Kept:
			word, why = s.dim(pad("kept", 8)), "  yours; hvinstall's is only a start"
		case nixos.Renew:
			differ++
			word, why = s.warn(pad("differs", 8)), "  as an earlier hvinstall wrote it"
		case nixos.Differs:
			differ++
			word, why = s.warn(pad("differs", 8)), "  your own, or edited since hvinstall wrote it"
		}
		fmt.Fprintf(t.out, "  %s  %s%s\n", word, c.Path, s.dim(why))
	}
	for _, c := range compared {
		if c.Diff != "" {
			fmt.Fprintf(t.out, "\n%s", colourDiff(s, c.Diff))
		}
	}
	if differ > 0 && !force {
		fmt.Fprintf(t.err, "\nhvinstall: %s; nothing was written. Take yours over by hand, name the files you want after the flags, or use --force\n",
			map[bool]string{true: "1 file differs", false: fmt.Sprintf("%d files differ", differ)}[differ == 1])
		return exitRefused
	}
	written, err := nixos.Write(dir, compared, force)
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	if len(written) == 0 {
		fmt.Fprintln(t.out, "\nNothing to write.")
		return exitDone
	}
	fmt.Fprintf(t.out, "\nWrote %s. In a git checkout nix sees them once git does: git add --intent-to-add .\n", quantity(len(written), "file"))
	return exitDone
}

// colourDiff paints a unified diff as git does.
func colourDiff(s style, diff string) string {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		text := strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(text, "diff "), strings.HasPrefix(text, "---"), strings.HasPrefix(text, "+++"):
			text = s.bold(text)
		case strings.HasPrefix(text, "@@"):
			text = s.dim(text)
		case strings.HasPrefix(text, "+"):
			text = s.good(text)
		case strings.HasPrefix(text, "-"):
			text = s.danger(text)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}
