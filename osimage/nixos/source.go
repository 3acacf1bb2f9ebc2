package nixos

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Source is where nixos-install takes the system from.
type Source struct {
	// Flake is the reference without its attribute, Attr the attribute; both
	// empty where File is used.
	Flake, Attr string
	// File is given to --file, or, where it is a module (configuration.nix), by
	// NIXOS_CONFIG.
	File string
	// Modules is the folder that the generated files are written into; empty
	// for a remote flake, which cannot be written to.
	Modules string
	// Checkout is the flake's folder on this machine, empty for a remote one.
	Checkout string
}

// MakeSource finds out from os.nixos where the configuration is. root is the
// target root; layoutDir is what relative paths in the layout are relative to.
func MakeSource(in Input, root, layoutDir string) (Source, error) {
	n := in.Layout.OS.NixOS
	absolute := func(p string) string {
		if filepath.IsAbs(p) {
			return filepath.Clean(p)
		}
		return filepath.Join(layoutDir, p)
	}
	switch {
	case n.Flake != "" && n.File != "":
		return Source{}, fmt.Errorf("os.nixos has both flake and file; keep one")
	case n.Flake != "":
		ref, attr, _ := strings.Cut(n.Flake, "#")
		if attr == "" {
			attr = in.Layout.Hostname
		}
		s := Source{Flake: ref, Attr: attr}
		if scheme, dir, query, local := localFlake(ref); local {
			s.Checkout = absolute(dir)
			s.Flake = scheme + s.Checkout
			if query != "" {
				s.Flake += "?" + query
			}
			s.Modules = filepath.Join(s.Checkout, subfolder(query), HostDir(in))
			if !within(s.Checkout, s.Modules) {
				return Source{}, fmt.Errorf("os.nixos.modules_dir %q leads out of the flake %s", HostDir(in), s.Checkout)
			}
		}
		return s, nil
	case n.File != "":
		s := Source{File: absolute(n.File)}
		s.Modules = filepath.Dir(s.File)
		if n.ModulesDir != "" {
			s.Modules = absolute(n.ModulesDir)
		}
		return s, nil
	}
	return Source{}, fmt.Errorf("os.nixos needs flake or file; without a flake, file: %s/etc/nixos/configuration.nix has the modules placed there", strings.TrimSuffix(root, "/"))
}

// localFlake tells a flake on this machine from a remote one, by the forms of
// flake references in nix(1), "nix flake", "URL-like syntax". The scheme
// stays: nix sees every file of a path: flake, and of others in a git checkout
// those that git knows.
func localFlake(ref string) (scheme, dir, query string, local bool) {
	ref, query, _ = strings.Cut(ref, "?")
	for _, scheme := range []string{"git+file://", "path://", "path:", "git+file:"} {
		if rest, found := strings.CutPrefix(ref, scheme); found {
			return scheme, rest, query, true
		}
	}
	return "", ref, query, strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, ".")
}

// subfolder is the dir= of a flake reference's query.
func subfolder(query string) string {
	for parameter := range strings.SplitSeq(query, "&") {
		if dir, found := strings.CutPrefix(parameter, "dir="); found {
			return dir
		}
	}
	return ""
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// installable is what nix eval and nixos-install call the host.
func (s Source) installable() string {
	return s.Flake + `#nixosConfigurations."` + s.Attr + `"`
}

// called is the source in a person's words.
func (s Source) called() string {
	if s.Flake != "" {
		return s.Flake + "#" + s.Attr
	}
	return s.File
}
