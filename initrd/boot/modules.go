package boot

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// ModulesPath is the list of modules in the initramfs.
const ModulesPath = "/lib/modules/hvinstall.list"

// Modules is the kernel modules of an initramfs, with everything that a loader
// has to know of them; depmod's own files list thousands that are not there.
type Modules struct {
	List    []Module
	Aliases []Alias
}

// Module is one file.
type Module struct {
	Name   string   // with underscores, as the kernel has it
	Path   string   // in the initramfs
	Needs  []string // names to load first: dependencies, and soft ones where they are there
	Always bool     // loaded whatever the hardware
}

// Alias leads from the modalias of a device to a module.
type Alias struct {
	Pattern string // as fnmatch(3)
	Module  string
}

// Write writes the list as lines of text.
func (m Modules) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, mod := range m.List {
		when := "match"
		if mod.Always {
			when = "always"
		}
		fmt.Fprintf(b, "module %s %s %s %s\n", mod.Name, mod.Path, when, strings.Join(mod.Needs, ","))
	}
	for _, a := range m.Aliases {
		fmt.Fprintf(b, "alias %s %s\n", a.Pattern, a.Module)
	}
	return b.Flush()
}

// ReadModules reads what Write wrote.
func ReadModules(r io.Reader) (Modules, error) {
	var m Modules
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Split(lines.Text(), " ")
		switch {
		case len(f) == 5 && f[0] == "module":
			mod := Module{Name: f[1], Path: f[2], Always: f[3] == "always"}
			if f[4] != "" {
				mod.Needs = strings.Split(f[4], ",")
			}
			m.List = append(m.List, mod)
		case len(f) == 3 && f[0] == "alias":
			m.Aliases = append(m.Aliases, Alias{f[1], f[2]})
		default:
			return Modules{}, fmt.Errorf("%s: line %q is not of the known form", ModulesPath, lines.Text())
		}
	}
	return m, lines.Err()
}

// Match returns the modules for a device, by its modalias.
func (m Modules) Match(modalias string) []string {
	var names []string
	for _, a := range m.Aliases {
		if matches(a.Pattern, modalias) {
			names = append(names, a.Module)
		}
	}
	return names
}

// matches is fnmatch(3) for aliases. The text before the first wildcard decides
// nearly always, and is compared first: a boot asks this some 100,000 times.
func matches(pattern, modalias string) bool {
	plain := strings.IndexAny(pattern, "*?[\\")
	if plain < 0 {
		return pattern == modalias
	}
	if len(modalias) < plain || modalias[:plain] != pattern[:plain] {
		return false
	}
	ok, err := path.Match(strings.ReplaceAll(pattern[plain:], "/", "\x00"), strings.ReplaceAll(modalias[plain:], "/", "\x00"))
	return err == nil && ok
}

// ModuleName is the name that the kernel gives a module's file.
func ModuleName(file string) string {
	name := path.Base(file)
	if i := strings.Index(name, ".ko"); i >= 0 {
		name = name[:i]
	}
	return strings.ReplaceAll(name, "-", "_")
}
