package nixos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// Job is one host's NixOS to install, or to look after once it runs.
type Job struct {
	Input  Input
	Source Source
	// Root is the target root with every file system mounted in it; "/" on the
	// running host, where nothing is installed any more.
	Root string
	// Layout is the text of layout.yaml, and Binary the path of hvinstall
	// itself: both are kept on the host for later runs.
	Layout []byte
	Binary string
	// Memory is what the live system can spare, in bytes; 0: not known.
	Memory uint64
	// After are the steps that make and mount the file systems.
	After []string
}

// Steps installs the host. Modules are written first: they need no disk.
func (j Job) Steps() ([]step.Step, error) {
	files, err := Generate(j.Input)
	if err != nil {
		return nil, err
	}
	var steps []step.Step
	after := slices.Clone(j.After)
	add := func(s step.Step) {
		steps = append(steps, s)
		after = append(after, s.ID)
	}
	if j.Root != "/" && j.Source.Modules != "" {
		s := j.modulesStep(files)
		if !within(j.Root, j.Source.Modules) {
			s.After = nil
		}
		add(s)
		if j.Source.Checkout != "" {
			add(j.trackedStep(s.ID))
		}
	}
	kept := j.keptSteps()
	for _, s := range kept {
		add(s)
	}
	install := j.installStep()
	install.After = after
	return append(steps, install), nil
}

// modulesStep writes the generated files into the flake's checkout, or below
// the root.
func (j Job) modulesStep(files []File) step.Step {
	dir := j.Source.Modules
	return step.Step{
		ID:     "os/nixos/modules",
		Title:  "write the NixOS modules to " + dir,
		Detail: []string{fmt.Sprintf("%d files; one that is your own is not overwritten", len(files))},
		After:  j.After,
		Check: func(context.Context) (step.State, string, error) {
			compared, err := Compare(dir, files)
			if err != nil {
				return step.Absent, "", err
			}
			var absent, own []string
			for _, c := range compared {
				switch c.Change {
				case New:
					absent = append(absent, c.Path)
				case Renew:
					absent = append(absent, c.Path+" (an earlier hvinstall's, untouched since)")
				case Differs:
					own = append(own, c.Path)
				case Same, Kept:
				}
			}
			switch {
			case len(own) > 0 && j.Source.Flake == "":
				return step.Foreign, fmt.Sprintf("%s in %s: your own, or edited since hvinstall wrote it; 'hvinstall nixos --plan ... -o %s' shows the difference, and --force takes the generated one",
					strings.Join(own, ", "), dir, dir), nil
			case len(absent) > 0:
				return step.Absent, "to write: " + strings.Join(absent, ", "), nil
			case len(own) > 0:
				return step.Done, "kept as yours: " + strings.Join(own, ", ") + "; 'hvinstall nixos' shows how they differ, and the install looks whether they boot this machine", nil
			}
			return step.Done, fmt.Sprintf("%d files as generated", len(compared)), nil
		},
		Do: func(_ context.Context, report step.Reporter) error {
			compared, err := Compare(dir, files)
			if err != nil {
				return err
			}
			for _, c := range compared {
				switch at := filepath.Join(dir, c.Path); c.Change {
				case Renew:
					report.Log("%s is replaced:\n%s", at, c.Diff)
				case Differs:
					report.Warn("%s is kept as it is: your own, or edited since hvinstall wrote it", at)
				case New, Same, Kept:
				}
			}
			written, err := Write(dir, compared, false)
			for _, path := range written {
				report.Log("wrote %s", filepath.Join(dir, path))
			}
			return err
		},
	}
}

// trackedStep tells git of the new files: a flake in a git checkout consists
// of the files that git knows, and nothing else is seen by nix.
func (j Job) trackedStep(after string) step.Step {
	git := func(ctx context.Context, report step.Reporter, args ...string) (string, error) {
		c := host.Cmd{Argv: append([]string{"git", "-C", j.Source.Modules}, args...)}
		if report != nil {
			c.Log = report.Log
		}
		out, err := c.Output(ctx)
		return string(out), err
	}
	return step.Step{
		ID:     "os/nixos/tracked",
		Title:  "tell git of the modules in " + j.Source.Checkout,
		Detail: []string{"git add --intent-to-add; nothing is committed"},
		After:  []string{after},
		Check: func(ctx context.Context) (step.State, string, error) {
			if _, err := os.Stat(j.Source.Modules); os.IsNotExist(err) {
				return step.Absent, "the modules are not written yet", nil
			}
			if !inGit(j.Source.Checkout) || strings.HasPrefix(j.Input.Layout.OS.NixOS.Flake, "path:") {
				return step.Done, "no git checkout", nil
			}
			out, err := git(ctx, nil, "ls-files", "--others", "--", ".")
			if err != nil {
				return step.Absent, "", err
			}
			if out = strings.TrimSpace(out); out != "" {
				return step.Absent, "git does not know " + strings.ReplaceAll(out, "\n", ", "), nil
			}
			return step.Done, "git knows every file", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			// --force: a .gitignore would hide a file from nix, too.
			_, err := git(ctx, report, "add", "--intent-to-add", "--force", "--", ".")
			return err
		},
	}
}

// inGit reports whether dir is in a git work tree.
func inGit(dir string) bool {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}
