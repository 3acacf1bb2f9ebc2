package nixos

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"hvinstall/configs"
)

var hostile = []string{
	"", "x", `"`, `\`, `\"`, "${", "${builtins.abort \"x\"}", "$${", "$$${x}", "''", "''${x}", "'''", "'", "\n", "\r\n# x", "*/", "/*", "#", "; boot = null; a = \"",
	"\x00", "\x1b]0;x\a", "a\u2028b", "\xff\xfe", "]", "}", ")", "a b", "$(reboot)", "`reboot`", "é", "../..", "/", "''\\", "\\${", "$\\{",
}

// spoilt puts the value into every free-form string of the input that a
// layout can hold, and says in how many.
func spoilt(in *Input, value string) {
	l := in.Layout
	l.Locale = configs.Locale{Lang: value, Timezone: value, Keymap: value}
	l.Users[0].Groups = []string{value, value}
	l.Users[0].SSHAuthorizedKeys = []string{value}
	l.OS.KernelArgs = []string{value}
	l.OS.NixOS.Options = map[string]any{"a.b": value, "c.d": []any{value, map[string]any{"e": value}}, `f."g h"`: true}
	l.Network.DNS, l.Network.Domains = []string{value}, []string{value}
	l.Libvirtd.Users = []string{value}
	l.DefaultBridge = value
	in.NIC.MAC = value
	in.Sticks[0].DiskID, in.Volumes[0].DiskID, in.Volumes[0].PartLabel = value, value, value
	in.Disks[0].ID, in.Disks[0].Partitions[0].Label = value, value
	in.System.Label, in.Pools[0].Label = value, value
	in.Exports[0].Owner, in.Exports[0].Group, in.Exports[0].Mode, in.Exports[0].Options = value, value, value, []string{value}
	in.Facts.Modules = []string{value}
}

// FuzzStrings: whatever a value holds, every file keeps the shape that it has
// with a harmless one: no value ends its string, its comment or its list.
func FuzzStrings(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	harmless := hypervisor()
	spoilt(&harmless, "harmless")
	want := map[string]string{}
	files, err := Generate(harmless)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		tokens, err := read(file.Content)
		if err != nil {
			f.Fatalf("%s: %v", file.Path, err)
		}
		want[file.Path] = shape(tokens)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) || value == "" {
			return // layout.yaml is UTF-8, and an empty value means its default
		}
		in := hypervisor()
		spoilt(&in, value)
		files, err := Generate(in)
		if err != nil {
			return // refused by name
		}
		for _, file := range files {
			tokens, err := read(file.Content)
			if err != nil {
				t.Fatalf("%s cannot be read with %q: %v\n%s", file.Path, value, err, file.Content)
			}
			switch got := shape(tokens); {
			case file.Path == "configuration.nix" && !slices.Contains(tokens, token{"string", value}):
				t.Errorf("configuration.nix lacks the string %q:\n%s", value, file.Content)
			case got != want[file.Path] && !reshaped(file.Path, value):
				t.Errorf("%s has another shape with %q:\n%s", file.Path, value, file.Content)
			}
		}
	})
}

// reshaped names the two places where a value decides what is written, not
// only with what text: a partition's label that has disko's form gives its
// name, and a module that is always there is listed once.
func reshaped(path, value string) bool {
	return path == "disko.nix" && strings.HasPrefix(value, "disk-os-") ||
		path == "hardware-configuration.nix" && slices.Contains([]string{"usb_storage", "uas", "sd_mod", "usbhid"}, value)
}

// FuzzOptionNames: a name is refused, or is exactly the path that it says.
func FuzzOptionNames(f *testing.F) {
	for _, s := range append(hostile, "services.x.enable", `a."b.c".d`, `a."b`, "a.0.b", "let.in") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !utf8.ValidString(name) {
			return
		}
		path, err := optionPath(name)
		if err != nil {
			return
		}
		text, err := optionsNix(map[string]any{name: int64(1)})
		if err != nil {
			t.Fatalf("optionPath takes %q, optionsNix says %v", name, err)
		}
		tokens, err := read(text)
		if err != nil {
			t.Fatalf("%q: %v\n%s", name, err, text)
		}
		// { . . . } : { PATH = 1 ; }
		body := tokens[slices.Index(tokens, token{"sign", ":"})+2:]
		var got []string
		for i, tok := range body {
			if tok == (token{"sign", "="}) {
				body = body[i:]
				break
			}
			if i%2 == 0 {
				got = append(got, tok.text)
			}
		}
		if !slices.Equal(got, path) || shape(body) != " sign:= sign:1 sign:; close:}" {
			t.Errorf("%q became %q followed by%s, want the path %q:\n%s", name, got, shape(body), path, text)
		}
	})
}

// FuzzImports: an expression is refused, or is one element: it is a single
// bracket pair, or has neither brackets nor white space.
func FuzzImports(f *testing.F) {
	for _, s := range slices.Concat(hostile, acceptedImports, []string{"(a) (b)", "(\"\\\")", "('' ''\\) '')"}) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		expr, _, err := importExpr(s)
		if err != nil {
			return
		}
		tokens, err := read("[\n  " + expr + "\n]")
		if err != nil {
			t.Fatalf("%q is taken and cannot be read: %v", s, err)
		}
		inner := tokens[1 : len(tokens)-1]
		if tokens[0] != (token{"open", "["}) || tokens[len(tokens)-1] != (token{"close", "]"}) {
			t.Fatalf("%q leaves the list: %v", s, tokens)
		}
		if expr[0] != '(' {
			for _, tok := range inner {
				if tok.kind == "open" || tok.kind == "close" || tok.kind == "sign" && (tok.text == ";" || tok.text == "=") {
					t.Fatalf("%q has %v in it", s, tok)
				}
			}
			if strings.ContainsAny(expr, " \t\n") && !strings.Contains(expr, `"`) {
				t.Fatalf("%q has white space in it", s)
			}
			return
		}
		depth := 0
		for i, tok := range inner {
			switch tok.kind {
			case "open", "string(":
				depth++
			case "close", ")":
				depth--
			}
			if depth == 0 && i != len(inner)-1 {
				t.Fatalf("%q is more than one element: %v", s, inner)
			}
		}
	})
}
