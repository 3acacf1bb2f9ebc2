package nixos

import (
	"slices"
	"testing"
)

// acceptedImports are taken; the tests tagged nix hold each against Nix.
var acceptedImports = []string{
	"flake.modules.nixos.tailscale", "./gpu.nix", "../common/x.nix", "/etc/nixos/x.nix", "<nixpkgs/nixos/modules/profiles/minimal.nix>",
	`inputs."nixos-hardware".nixosModules.common-cpu-amd`, `inputs.x."a.in.b".y`,
	`(modulesPath + "/profiles/headless.nix")`, "({ pkgs, ... }: { environment.systemPackages = [ pkgs.btop ]; })",
	`(import ./x.nix { a = "}) ]; ("; })`, "(x: '' ${\"'')\"} ''' ''${ ')' '')", `("\"${x: "}${"a"}"}")`, `("$${")`, `(''$${'')`, `("\\")`,
	"(let a'b'' = c''': c'''; in a'b'')",
}

func TestImportsTaken(t *testing.T) {
	for _, expr := range acceptedImports {
		if _, _, err := importExpr(expr); err != nil {
			t.Errorf("importExpr(%s) = %v, want it taken", expr, err)
		}
	}
}

func TestImportsRefused(t *testing.T) {
	for _, expr := range []string{
		"", "a b", "a ]; b = [", "./a b", "./a/", "./", ".", "..", "./${x}", "a.${x}", "a.", ".a", "a..b", "let", "a.in.b", "1", "-a", "[ ]", "{ }", `"x"`, "a#b", "a/*",
		"(a", "(a))", "(a) (b)", "(a) b", "(a ] )", "(a # )", "(a /* ) */ b)", "(a\n)", "(a \"\n\" )", `("a)`, "(''a)", `("\")`, "('' ''' )", "(\"${)\")", "( ''\\ )",
		"<a", "<a b>", "~/x y", "flake.a;", "flake.a}",
		"(A0'' '')", "(x:a'' '')", "(x:y)", "(http://x)",
	} {
		if got, _, err := importExpr(expr); err == nil {
			t.Errorf("importExpr(%q) = %q, want it refused", expr, got)
		}
	}
}

func TestImportsArguments(t *testing.T) {
	for expr, want := range map[string][]string{
		"flake.modules.nixos.tailscale":            {"flake"},
		"./gpu.nix":                                nil,
		`(modulesPath + "/x.nix")`:                 {"modulesPath"},
		"(import ./x.nix { inherit inputs lib; })": {"inputs", "lib"},
	} {
		if _, got, err := importExpr(expr); err != nil || !slices.Equal(got, want) {
			t.Errorf("importExpr(%s) uses %v, %v; want %v", expr, got, err, want)
		}
	}
}

func TestOptionPath(t *testing.T) {
	for name, want := range map[string][]string{
		"services.x.enable":                    {"services", "x", "enable"},
		`systemd.services."a.b c".enable`:      {"systemd", "services", "a.b c", "enable"},
		"networking.interfaces.en-p5_s0.x'":    {"networking", "interfaces", "en-p5_s0", "x'"},
		"boot.kernel.sysctl.\"vm.swappiness\"": {"boot", "kernel", "sysctl", "vm.swappiness"},
	} {
		if got, err := optionPath(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("optionPath(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", ".", "a.", ".a", "a..b", "a b", `a."b`, `a.""`, `a."b"c`, "a;b", "a=", "${x}", "a.\"\n\""} {
		if got, err := optionPath(name); err == nil {
			t.Errorf("optionPath(%q) = %q, want an error", name, got)
		}
	}
}
