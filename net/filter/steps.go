package filter

import (
	"context"
	"errors"
	"fmt"
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
	// Live also loads the filter into the running kernel; only for Root "/".
	Live bool
}

// Steps writes the filter and its unit, and loads it on the running host.
func (p Plan) Steps(env Env) []step.Step {
	steps := []step.Step{p.filesStep(env), p.enableStep(env)}
	if env.Live && filepath.Clean(env.Root) == "/" {
		steps = append(steps, p.loadStep())
	}
	return steps
}

type file struct{ name, text string }

// files are in the order in which they take effect.
func (p Plan) files() []file { return []file{{rulesFile, p.rulesText()}, {unitFile, unitText}} }

func (p Plan) filesStep(env Env) step.Step {
	return step.Step{
		ID: "filter/files", Title: "close the host to the LAN", Detail: p.Lines(),
		Check: func(context.Context) (step.State, string, error) {
			for _, f := range p.files() {
				same, err := host.FileIs(filepath.Join(env.Root, f.name), []byte(f.text), 0o644)
				if err != nil {
					return step.Absent, "", err
				}
				if !same {
					return step.Absent, "/" + f.name + " is not as planned", nil
				}
			}
			return step.Done, "the filter is written", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			if err := p.parses(ctx); err != nil {
				return err
			}
			for _, f := range p.files() {
				if err := host.WriteFile(filepath.Join(env.Root, f.name), []byte(f.text), 0o644); err != nil {
					return err
				}
				report.Log("%s", "/"+f.name)
			}
			return nil
		},
	}
}

// parses has nft read the filter before it is written, where there is nft.
func (p Plan) parses(ctx context.Context) error {
	if len(host.Missing("nft")) > 0 {
		return nil
	}
	_, err := host.Cmd{Argv: []string{"nft", "-c", "-f", "-"}, Stdin: strings.NewReader(p.rulesText())}.Output(ctx)
	if err != nil {
		return fmt.Errorf("checking the filter: %w", err)
	}
	return nil
}

// enableStep sees that later boots load the filter.
func (p Plan) enableStep(env Env) step.Step {
	return step.Step{
		ID: "filter/enable", Title: "load the filter at each boot", After: []string{"filter/files"},
		Detail: []string{"systemctl enable " + unitName},
		Check: func(context.Context) (step.State, string, error) {
			for _, link := range links {
				// Links point into the target's own root, and are not followed.
				if _, err := os.Lstat(filepath.Join(env.Root, link)); err != nil {
					return step.Absent, "/" + link + " is not there", nil //nolint:nilerr // whatever hides it, enabling says
				}
			}
			return step.Done, unitName + " is enabled", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			err := host.Cmd{Argv: []string{"systemctl", "--root=" + env.Root, "enable", unitName}, Log: report.Log}.Run(ctx)
			if err != nil {
				return fmt.Errorf("enabling the filter: %w", err)
			}
			return nil
		},
	}
}

// loadStep makes the running kernel's table what the plan says.
func (p Plan) loadStep() step.Step {
	return step.Step{
		ID: "filter/load", Title: "load the filter", After: []string{"filter/enable"},
		Check: func(ctx context.Context) (step.State, string, error) {
			why, err := p.unloaded(ctx)
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, "the filter is loaded", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			if missing := host.Missing("nft", "systemctl"); len(missing) > 0 {
				return fmt.Errorf("%s not found; install nftables", strings.Join(missing, ", "))
			}
			for _, argv := range [][]string{
				{"nft", "-f", "/" + rulesFile},
				{"systemctl", "daemon-reload"},
				{"systemctl", "start", unitName}, // so that it is known as loaded
			} {
				if err := (host.Cmd{Argv: argv, Log: report.Log}).Run(ctx); err != nil {
					return fmt.Errorf("loading the filter: %w", err)
				}
			}
			return nil
		},
	}
}

// unloaded says how the loaded table differs from the plan's, or "". nft itself
// prints both: the plan's is loaded in a network namespace of its own.
func (p Plan) unloaded(ctx context.Context) (string, error) {
	list := []string{"nft", "-s", "list", "table", "inet", Table}
	loaded, err := host.Cmd{Argv: list}.Output(ctx)
	var failed *host.CommandError
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "No such file or directory") {
		return "the filter is not loaded", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking at the filter: %w", err)
	}
	planned, err := host.Cmd{
		Argv:  []string{"unshare", "--net", "sh", "-ec", "nft -f -; exec " + strings.Join(list, " ")},
		Stdin: strings.NewReader(p.rulesText()),
	}.Output(ctx)
	if err != nil {
		return "", fmt.Errorf("loading the filter aside: %w", err)
	}
	if string(loaded) != string(planned) {
		return "the loaded filter is not the layout's (nft list table inet " + Table + ")", nil
	}
	return "", nil
}
