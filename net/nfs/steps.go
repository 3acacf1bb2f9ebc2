package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// Env is where a plan is carried out.
type Env struct {
	// Root is the system that later boots run: /mnt/target in a live system,
	// / on the installed host.
	Root string
	// Live also changes what the running server serves; only for Root "/".
	Live bool
}

// file is one file of the plan; without text it must not be there.
type file struct {
	name, text string
}

// files are in the order in which they take effect: the filter first.
func (p Plan) files() []file {
	if len(p.Exports) == 0 {
		return []file{{exportsFile, ""}, {dropInFile, ""}, {reapplyFile, ""}, {filterFile, ""}, {confFile, ""}}
	}
	return []file{
		{filterFile, p.filterText()},
		{reapplyFile, reapplyText},
		{confFile, confText},
		{dropInFile, p.dropInText()},
		{exportsFile, p.exportsText()},
	}
}

// Steps makes the directories, writes the files and tells the running server.
// Call it also for a plan without exports: it takes back earlier ones.
func (p Plan) Steps(env Env) []step.Step {
	var steps []step.Step
	var after []string
	add := func(s step.Step) {
		steps = append(steps, s)
		after = []string{s.ID}
	}
	for _, e := range p.Exports {
		if !e.Pool.Away {
			add(e.directoryStep(env, after))
		}
	}
	add(p.filesStep(env, after))
	if len(p.Exports) > 0 {
		add(p.enableStep(env, after))
	}
	if env.Live && filepath.Clean(env.Root) == "/" {
		add(p.serveStep(after))
	}
	return steps
}

func (p Plan) filesStep(env Env, after []string) step.Step {
	title := "export to the LAN by NFSv4"
	if len(p.Exports) == 0 {
		title = "export nothing by NFS"
	}
	return step.Step{
		ID: "nfs/exports", Title: title, Detail: p.Lines(), After: after,
		Check: func(context.Context) (step.State, string, error) {
			for _, f := range p.files() {
				differs, err := f.differs(env.Root)
				if err != nil {
					return step.Absent, "", err
				}
				if differs && f.text == "" {
					return step.Absent, "/" + f.name + " is still there", nil
				}
				if differs {
					return step.Absent, "/" + f.name + " is not as planned", nil
				}
			}
			return step.Done, fmt.Sprintf("%d exports are written", len(p.Exports)), nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			if len(p.Exports) > 0 {
				if err := checkFilter(ctx, p.filterText()); err != nil {
					return err
				}
			}
			for _, f := range p.files() {
				if err := f.put(env.Root); err != nil {
					return err
				}
				report.Log("%s", "/"+f.name)
			}
			return nil
		},
	}
}

// checkFilter has nft parse the filter before it is written, where there is nft.
func checkFilter(ctx context.Context, text string) error {
	if len(host.Missing("nft")) > 0 {
		return nil
	}
	_, err := host.Cmd{Argv: []string{"nft", "-c", "-f", "-"}, Stdin: strings.NewReader(text)}.Output(ctx)
	if err != nil {
		return fmt.Errorf("checking the filter for NFS: %w", err)
	}
	return nil
}

func (f file) differs(root string) (bool, error) {
	path := filepath.Join(root, f.name)
	if f.text == "" {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	same, err := host.FileIs(path, []byte(f.text), 0o644)
	return !same, err
}

func (f file) put(root string) error {
	path := filepath.Join(root, f.name)
	if f.text != "" {
		return host.WriteFile(path, []byte(f.text), 0o644)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("taking back what is exported: %w", err)
	}
	return nil
}

// enableStep sees that later boots start the server.
func (p Plan) enableStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "nfs/enable", Title: "serve NFS from the next boot on", After: after,
		Detail: []string{"systemctl enable " + serverUnit},
		Check: func(context.Context) (step.State, string, error) {
			if !there(env.Root, "usr/lib/systemd/system/"+serverUnit) && !there(env.Root, "lib/systemd/system/"+serverUnit) {
				if env.Root != "/" {
					// A system that is being installed: looked at before it is unpacked.
					return step.Absent, "the system is not unpacked yet", nil
				}
				return step.Foreign, "that system has no NFS server; install the package nfs-kernel-server", nil
			}
			for _, link := range []string{serverLink, reapplyLink} {
				if !there(env.Root, link) {
					return step.Absent, "/" + link + " is not there", nil
				}
			}
			return step.Done, serverUnit + " is enabled", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			_, err := host.Cmd{
				Argv: []string{"systemctl", "--root=" + env.Root, "enable", serverUnit, filepath.Base(reapplyFile)},
				Log:  report.Log,
			}.Output(ctx)
			if err != nil {
				return fmt.Errorf("enabling the NFS server: %w", err)
			}
			return nil
		},
	}
}

// there does not follow links: they point into the target's own root.
func there(root, name string) bool {
	_, err := os.Lstat(filepath.Join(root, name))
	return err == nil
}
