package nixos

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// GenerateFlake writes flake.nix for who has none, in the flake's root; dir is
// the host's folder in it, as os.nixos.modules_dir.
func GenerateFlake(in Input, form Flake, dir string) (File, error) {
	if err := check(in); err != nil {
		return File{}, err
	}
	dir = path.Clean(dir)
	if !relativePath(dir) {
		return File{}, fmt.Errorf("os.nixos.modules_dir %q is not a plain folder inside the flake", dir)
	}
	switch form {
	case PlainFlake:
		return File{"flake.nix", stamped(plainFlake(in, dir))}, nil
	case BlueprintFlake:
		prefix, found := strings.CutSuffix("/"+dir, "/hosts/"+in.Layout.Hostname)
		if !found {
			return File{}, fmt.Errorf("blueprint finds a host in hosts/<hostname>, with or without a folder before it; os.nixos.modules_dir is %q: leave it out, or end it with hosts/%s", dir, in.Layout.Hostname)
		}
		return File{"flake.nix", stamped(blueprintFlake(in, strings.TrimPrefix(prefix, "/")))}, nil
	case NoFlake:
	}
	return File{}, fmt.Errorf("the flake form %q is not known; it is plain or blueprint", form)
}

// HostDir is where the host's files are in a flake.
func HostDir(in Input) string {
	if dir := in.Layout.OS.NixOS.ModulesDir; dir != "" {
		return path.Clean(dir)
	}
	return "nix/hosts/" + in.Layout.Hostname
}

// relativePath reports whether p can be written as a Nix path after "./".
func relativePath(p string) bool {
	return pathExpr.MatchString("./"+p) && !slices.Contains(strings.Split(p, "/"), "..")
}

func flakeInputs(in Input, blueprint bool) attrs {
	a := attrs{set("nixpkgs.url", "github:NixOS/nixpkgs/nixos-"+in.Release)}
	follows := func(name, url string) {
		a = append(a, after(set(name+".url", url)), set(name+".inputs.nixpkgs.follows", "nixpkgs"))
	}
	if blueprint {
		follows("blueprint", "github:numtide/blueprint")
	}
	if len(in.Layout.Users) > 0 {
		follows("home-manager", "github:nix-community/home-manager/release-"+in.Release)
	}
	return a
}

func plainFlake(in Input, dir string) string {
	names := []string{"self", "nixpkgs"}
	modules := list{raw("./" + dir + "/configuration.nix")}
	if len(in.Layout.Users) > 0 {
		names = append(names, "home-manager")
		var home attrs
		for _, u := range in.Layout.Users {
			home = append(home, binding{path: []string{"home-manager", "users", u.Name}, value: raw("./" + dir + "/users/" + u.Name + ".nix")})
		}
		modules = append(modules, raw("home-manager.nixosModules.home-manager"),
			append(attrs{set("home-manager.useGlobalPkgs", true), set("home-manager.useUserPackages", true)}, home...))
	}
	system := attrs{
		set("specialArgs", raw("{\n  inherit inputs;\n  flake = self;\n  hostName = "+quote(in.Layout.Hostname)+";\n}"), "What os.nixos.imports may refer to, as under numtide/blueprint."),
		set("modules", modules),
	}
	var p printer
	p.WriteString("inputs@{ " + strings.Join(append(names, "..."), ", ") + " }: {\n")
	p.depth++
	p.indent()
	p.WriteString(attrPath([]string{"nixosConfigurations", in.Layout.Hostname}) + " = nixpkgs.lib.nixosSystem ")
	p.attrs(system)
	p.WriteString(";\n")
	p.depth--
	p.WriteString("}")
	return module{
		header: []string{"A flake with one host. nixos-rebuild switch --flake .#" + in.Layout.Hostname},
		body: attrs{
			set("description", "The hypervisor "+in.Layout.Hostname),
			after(set("inputs", flakeInputs(in, false))),
			after(set("outputs", raw(p.String()))),
		},
	}.String()
}

func blueprintFlake(in Input, prefix string) string {
	call := attrs{}
	if prefix != "" {
		call = append(call, set("prefix", prefix+"/"))
	}
	var p printer
	p.WriteString("inputs: inputs.blueprint {\n  inherit inputs;\n")
	p.depth++
	p.bindings(call)
	p.WriteString("}")
	return module{
		header: []string{"numtide/blueprint finds hosts, their users and modules by their folders.", "nixos-rebuild switch --flake .#" + in.Layout.Hostname},
		body: attrs{
			set("description", "The hypervisor "+in.Layout.Hostname),
			after(set("inputs", flakeInputs(in, true))),
			after(set("outputs", raw(p.String()))),
		},
	}.String()
}
