// Package keymap knows the keyboards that locale.keymap may name: those of the
// console (kbd: be-latin1, uk, br-abnt2) and X's (be, gb, fr-bepo, us-intl), as
// one table. It reads no file and runs no program.
package keymap

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// XKB is a keyboard as console-setup, keyboard(5) and ckbcomp(1) have it.
type XKB struct {
	Layout, Variant, Options string
}

// Find is the keyboard of a name: a console keymap's, an X layout's, or an X
// layout and its variant joined by "-", as localectl(1) lists them.
func Find(name string) (XKB, bool) {
	var layout, variant string
	if known, found := console[name]; found {
		layout, variant, _ = strings.Cut(known, " ")
	} else {
		var joined bool
		layout, variant, joined = strings.Cut(name, "-")
		variants, found := xkb()[layout]
		if !found || joined && !slices.Contains(variants, variant) {
			return XKB{}, false
		}
	}
	if notLatin(layout, variant) {
		// A user's name, a passphrase and a command are Latin letters: they come
		// first, and Alt+Shift changes over, as Debian's installer has it.
		return XKB{"us," + layout, "," + variant, "grp:alt_shift_toggle"}, true
	}
	return XKB{layout, variant, ""}, true
}

// Like are the names that begin as this one does, for who has mistyped it.
func Like(name string) []string {
	layout, _, _ := strings.Cut(name, "-")
	var names []string
	for known := range console {
		if known == layout || strings.HasPrefix(known, layout+"-") {
			names = append(names, known)
		}
	}
	if variants, found := xkb()[layout]; found {
		names = append(names, layout)
		for _, v := range variants {
			names = append(names, layout+"-"+v)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// InKbd reports whether kbd itself has a keymap of this name.
func InKbd(name string) bool {
	_, found := console[name]
	return found && !slices.Contains(otherwise, name)
}

// layouts are X's, a line each, followed by their variants: the names of
// xkb-data's rules/base.lst that Debian 12 and 13 have.
//
//go:embed xkb.txt
var layouts string

var xkb = sync.OnceValue(func() map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(layouts) {
		fields := strings.Fields(line)
		all[fields[0]] = fields[1:]
	}
	return all
})

// cyrillicAndOthers are the layouts without the letters a to z.
var cyrillicAndOthers = strings.Fields("af am ara bd bg bt by et ge gr il in iq ir kg kh kz la lk mk mm mn mv np pk rs ru sy th tj ua")

func notLatin(layout, variant string) bool {
	if strings.HasPrefix(variant, "lat") || slices.Contains([]string{"us", "eng", "cv_latin"}, variant) {
		return false
	}
	return slices.Contains(cyrillicAndOthers, layout)
}
