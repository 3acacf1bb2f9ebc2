package nixos

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// optionsNix is os.nixos.options as a module: a tree merged from the dotted
// names, so that two of them cannot bind one name twice, which Nix would
// refuse as a syntax error far from its cause.
func optionsNix(options map[string]any) (string, error) {
	root := &node{}
	names := make([]string, 0, len(options))
	for name := range options {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path, err := optionPath(name)
		if err != nil {
			return "", fmt.Errorf("os.nixos.options: %w", err)
		}
		if err := root.bind(path, name, options[name]); err != nil {
			return "", fmt.Errorf("os.nixos.options: %w", err)
		}
	}
	return module{
		header: []string{"Plain option values: os.nixos.options of layout.yaml, as they stand there."},
		args:   []string{},
		body:   root.attrs(true),
	}.String(), nil
}

// node is a place in the tree of options: a value, or names below it.
type node struct {
	from     string // the dotted name that gave the value
	value    any
	children map[string]*node
}

// bind puts a value at path. A mapping without entries stays one; one with
// entries is a place with names below it.
func (n *node) bind(path []string, from string, value any) error {
	if len(path) > 0 {
		if n.from != "" {
			return fmt.Errorf("%s gives a value to what %s has a value below; write one of them", n.from, from)
		}
		if n.children == nil {
			n.children = map[string]*node{}
		}
		child := n.children[path[0]]
		if child == nil {
			child = &node{}
			n.children[path[0]] = child
		}
		return child.bind(path[1:], from, value)
	}
	if entries, err := mapping(value); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	} else if len(entries) > 0 {
		for _, name := range sortedKeys(entries) {
			if err := n.bind([]string{name}, from+"."+attrName(name), entries[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if n.from != "" || n.children != nil {
		return fmt.Errorf("%s is set twice, or set together with something below it", from)
	}
	v, err := value2nix(value)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	n.from, n.value = from, v
	return nil
}

// attrs gives the names below n. A chain of single names is one dotted name.
func (n *node) attrs(top bool) attrs {
	var a attrs
	for _, name := range sortedKeys(n.children) {
		child, path := n.children[name], []string{name}
		for len(child.children) == 1 {
			for only, next := range child.children {
				path, child = append(path, only), next
			}
		}
		b := binding{path: path, value: child.value}
		if child.children != nil {
			b.value = child.attrs(false)
		}
		b.gap = top && len(a) > 0 && child.children != nil
		a = append(a, b)
	}
	return a
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// mapping gives the entries of a YAML mapping, or nil where v is none.
func mapping(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case map[any]any:
		entries := make(map[string]any, len(v))
		for k, e := range v {
			name, is := k.(string)
			if !is {
				return nil, fmt.Errorf("the name %v is no string; put it in quotes", k)
			}
			entries[name] = e
		}
		return entries, nil
	}
	return nil, nil
}

// value2nix turns a value as YAML decodes it into one that the printer takes.
func value2nix(v any) (any, error) {
	if entries, err := mapping(v); err != nil {
		return nil, err
	} else if entries != nil {
		a := attrs{}
		for _, name := range sortedKeys(entries) {
			e, err := value2nix(entries[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			a = append(a, binding{path: []string{name}, value: e})
		}
		return a, nil
	}
	switch v := v.(type) {
	case nil, string, bool, int64, int:
		return v, nil
	case uint64:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("%d is larger than Nix's largest integer", v)
		}
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is no number that Nix can write", v)
		}
		return v, nil
	case []any:
		l := make(list, len(v))
		for i, e := range v {
			item, err := value2nix(e)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
			l[i] = item
		}
		return l, nil
	}
	return nil, fmt.Errorf("a value of the kind %T is not a plain one; use text, a number, true, false, null, a list or a mapping", v)
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// optionPath splits a dotted option name. A part with other characters than
// Nix's identifiers have is written in double quotes, as in Nix:
// systemd.services."foo.bar".enable.
func optionPath(name string) ([]string, error) {
	var path []string
	for rest := name; ; {
		var part string
		if strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("%q lacks a closing quote", name)
			}
			part, rest = rest[1:1+end], rest[end+2:]
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
			if !identifier.MatchString(part) && !digits.MatchString(part) {
				return nil, fmt.Errorf("%q is not an option's name: %q is no Nix identifier; put that part in double quotes", name, part)
			}
		}
		if part == "" || strings.ContainsAny(part, "\x00\n\r") {
			return nil, fmt.Errorf("%q has an empty part, or one with a line break", name)
		}
		path = append(path, part)
		if rest == "" {
			return path, nil
		}
		if rest[0] != '.' {
			return nil, fmt.Errorf("%q: a dot is missing after %q", name, part)
		}
		rest = rest[1:]
	}
}
