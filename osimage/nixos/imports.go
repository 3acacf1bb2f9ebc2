package nixos

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	pathExpr   = regexp.MustCompile(`^(\.{1,2}|~)?(/[a-zA-Z0-9_+-][a-zA-Z0-9._+-]*)+$`)
	searchPath = regexp.MustCompile(`^<[a-zA-Z0-9._+-]+(/[a-zA-Z0-9._+-]+)*>$`)
	dotted     = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_'-]*(\.([a-zA-Z_][a-zA-Z0-9_'-]*|"[^"\\$\x00-\x1f]+"))*$`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	word       = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_'-]*`)
	moduleArg  = []string{"config", "flake", "hostName", "inputs", "lib", "modulesPath", "options", "perSystem", "pkgs"}
)

// importExpr takes one entry of os.nixos.imports, which is a Nix expression by
// the user's intent, and returns it with the module arguments that it uses. It
// must be a dotted path (flake.modules.nixos.tailscale), a path (./gpu.nix) or
// something in parentheses; anything else could be two list elements, or end
// the list.
func importExpr(s string) (expr string, args []string, err error) {
	s = strings.TrimSpace(s)
	switch {
	case pathExpr.MatchString(s), searchPath.MatchString(s):
		return s, nil, nil
	case dotted.MatchString(s):
		first, rest, _ := strings.Cut(s, ".")
		for _, name := range append(strings.Split(quoted.ReplaceAllString(rest, "x"), "."), first) {
			if keywords[name] {
				return "", nil, fmt.Errorf("%q has Nix's keyword %s in it; quote it, or put the expression in parentheses", s, name)
			}
		}
		if slices.Contains(moduleArg, first) {
			args = append(args, first)
		}
		return s, args, nil
	case strings.HasPrefix(s, "("):
		if err := parenthesised(s); err != nil {
			return "", nil, fmt.Errorf("%q: %w", s, err)
		}
		for _, name := range word.FindAllString(s, -1) {
			if slices.Contains(moduleArg, name) && !slices.Contains(args, name) {
				args = append(args, name)
			}
		}
		return s, args, nil
	}
	return "", nil, fmt.Errorf("%q is not a module: write a dotted path (flake.modules.nixos.tailscale), a path (./gpu.nix), or an expression in parentheses", s)
}

// parenthesised reports whether s is exactly one expression in parentheses:
// its first parenthesis is closed by its last character. It follows Nix's
// lexer through strings, indented strings and antiquotations; comments and
// line breaks are refused, as they have no place in one list entry.
func parenthesised(s string) error {
	var open []byte // what closes the innermost bracket or string
	for i := 0; i < len(s); {
		var top byte
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		c, two := s[i], ""
		if i+1 < len(s) {
			two = s[i : i+2]
		}
		switch {
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("a control character or line break is in it")
		case top == '"':
			switch {
			case c == '\\':
				i += 2
				continue
			case two == "${":
				open = append(open, '}')
				i += 2
				continue
			case two == "$$":
				// The second dollar is taken with the first: "$${" is text.
				i += 2
				continue
			case c == '"':
				open = open[:len(open)-1]
			}
		case top == '\'':
			switch {
			case two == "''":
				next := byte(0)
				if i+2 < len(s) {
					next = s[i+2]
				}
				switch next {
				case '\'', '$':
					i += 3
					continue
				case '\\':
					i += 4
					continue
				}
				open = open[:len(open)-1]
				i += 2
				continue
			case two == "${":
				open = append(open, '}')
				i += 2
				continue
			case two == "$$":
				i += 2
				continue
			}
		case c == '#' || two == "/*":
			return fmt.Errorf("a comment is in it")
		case c == ':' && two != ": ":
			// "x:y" is a URI to Nix, and a URI may have quotes in it.
			return fmt.Errorf("a colon without a space behind it, at character %d", i+1)
		case word.MatchString(string(c)):
			// A name may have quotes in it: a'' is one.
			i += len(word.FindString(s[i:]))
			continue
		case two == "''":
			open = append(open, '\'')
			i += 2
			continue
		case c == '"':
			open = append(open, '"')
		case c == '(':
			open = append(open, ')')
		case c == '[':
			open = append(open, ']')
		case c == '{':
			open = append(open, '}')
		case c == ')' || c == ']' || c == '}':
			if c != top {
				return fmt.Errorf("%q at character %d closes nothing that is open", string(c), i+1)
			}
			open = open[:len(open)-1]
			if len(open) == 0 && i != len(s)-1 {
				return fmt.Errorf("it ends at character %d, and more follows", i+1)
			}
		}
		i++
	}
	if len(open) > 0 {
		return fmt.Errorf("%q is missing at its end", string(open[len(open)-1]))
	}
	return nil
}
