package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// keptHeader is the first line of what Kept writes.
const keptHeader = "# layout.yaml as a run began with it, kept by hvinstall without its secrets: it asks for them when it goes on."

// Kept is the text of a layout for a place where others may find it, as the live
// stick: whole but for its secrets, in whose places are marks with a number. A
// run that gets it asks for them. n is how many there are. Comments are not kept.
// Text that is no layout is an error.
func Kept(text []byte) (kept []byte, n int, err error) {
	d := newDecoder()
	l := &Layout{}
	d.readLayout(l, "layout", text)
	if len(d.errors) > 0 {
		return nil, 0, d.errors.sorted()
	}
	mark := func() string { n++; return fmt.Sprintf("%s-%d", leftOut, n) }
	c := copier{shapes: d.shapes}
	c.text = func(f field, text string) (string, bool) { return keptText(f, text, mark), true }
	c.open = func(_ field, v any) any { return keptOpen(v, mark) }
	out, err := yaml.Marshal(c.structure(reflect.ValueOf(l).Elem()))
	return append([]byte(keptHeader+"\n"), out...), n, err
}

// keptText is a value as it is kept: whole, or the part that is no secret with a
// mark, in a form that the decoder takes.
func keptText(f field, text string, mark func() string) string {
	switch f.form {
	case "password_hash":
		return "$y$" + mark()
	case "user_data", "block":
		switch {
		case strings.HasPrefix(text, "/") && !strings.Contains(text, "\n"): // the path of a file
			return text
		case f.form == "user_data":
			return "#cloud-config " + mark()
		}
		return mark()
	case "ssh_key":
		if secretOption.MatchString(text) {
			return `environment="` + mark() + `" ` + publicKey(text)
		}
		return text
	case "nix_import":
		return text
	}
	if len(f.enum) > 0 {
		return text
	}
	show := harmless[f.form]
	if show == nil {
		return mark()
	}
	switch shown := show(text); {
	case shown == text:
		return text
	case f.form == "flake":
		reference, attribute, _ := strings.Cut(text, "#")
		return PublicURL(reference) + "?" + mark() + "#" + attribute
	default:
		return shown + "?" + mark()
	}
}

// secretOption are the options of an authorized key that have text of a person's.
var secretOption = regexp.MustCompile(`(?i)(?:^|[,"])(?:command|environment|principals|tunnel)=`)

// keptOpen is a NixOS option: text may be anything.
func keptOpen(v any, mark func() string) any {
	switch v := v.(type) {
	case string:
		return mark()
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = keptOpen(v[i], mark)
		}
		return list
	case map[string]any:
		m := yaml.MapSlice{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			m = append(m, yaml.MapItem{Key: key, Value: keptOpen(v[key], mark)})
		}
		return m
	default:
		return v
	}
}

// isCopy tells a text that hvinstall made of a layout from the layout itself.
func isCopy(text []byte) (public, kept bool) {
	return bytes.HasPrefix(text, []byte(publicHeader)), bytes.HasPrefix(text, []byte(keptHeader))
}

// IsKept says of a text that Kept made it.
func IsKept(text []byte) bool {
	_, kept := isCopy(text)
	return kept
}

var leftOutMark = regexp.MustCompile(leftOut + `(?:-[0-9]+)?`)

// noLeftOut refuses the marks of a copy in a layout: one that was copied into it
// by hand would be taken for a password, or for a VM's first boot.
func (d *decoder) noLeftOut() {
	if public, kept := isCopy([]byte(strings.Join(d.src.lines[:1], ""))); public || kept {
		return
	}
	for i, line := range d.src.lines {
		if at := leftOutMark.FindStringIndex(line); at != nil {
			d.at(place{d.src, i + 1, len([]rune(line[:at[0]])) + 1}, "write the value itself, as the layout had it", "the mark of a secret that was left out of a copy of a layout")
		}
	}
}

// LeftOut is a secret that a kept layout has a mark for.
type LeftOut struct {
	Mark string
	Form string // password_hash, user_data, block, ssh_key, url, ...
	What string // for a person: password_hash of users: snyssen
	Part string // what is known of it, such as an address without its query
}

// IsPublicCopy says that this is the copy for everybody's eyes, which is for
// looking and never for a run.
func (l *Layout) IsPublicCopy() bool {
	public, _ := isCopy(l.Source)
	return public
}

// LeftOut lists the secrets that this layout has marks for, in the marks' order.
func (l *Layout) LeftOut() []LeftOut {
	if _, kept := isCopy(l.Source); !kept || !bytes.Contains(l.Source, []byte(leftOut)) {
		return nil
	}
	var list []LeftOut
	c := copier{shapes: newDecoder().shapes}
	name := ""
	note := func(form, key, text string) {
		if mark := leftOutMark.FindString(text); mark != "" {
			part, _, _ := strings.Cut(text, "?"+mark)
			if form == "ssh_key" {
				part = publicKey(text)
			}
			list = append(list, LeftOut{Mark: mark, Form: form, What: strings.TrimSpace(key + " " + name), Part: part})
		}
	}
	c.text = func(f field, text string) (string, bool) {
		if f.key == "name" {
			name = "of " + text
		}
		note(f.form, f.key, text)
		return text, true
	}
	c.open = func(f field, v any) any { name = ""; noteOpen(f, v, note); return nil }
	c.structure(reflect.ValueOf(l).Elem())
	slices.SortFunc(list, func(a, b LeftOut) int {
		return (len(a.Mark)-len(b.Mark))*2 + strings.Compare(a.Mark, b.Mark)
	})
	return list
}

func noteOpen(f field, v any, note func(form, key, text string)) {
	switch v := v.(type) {
	case string:
		note("nix_option", f.key, v)
	case []any:
		for _, e := range v {
			noteOpen(f, e, note)
		}
	case map[string]any:
		for key, e := range v {
			g := f
			g.key = f.key + ": " + key
			noteOpen(g, e, note)
		}
	}
}

// Fill puts a person's answers in the places of the marks, and reads the layout
// again. An answer that is not the value that was left out, as far as that is
// known, is an error.
func (l *Layout) Fill(answers map[string]string) (*Layout, error) {
	text := l.Source
	for _, out := range l.LeftOut() {
		answer, given := answers[out.Mark]
		if !given {
			return nil, fmt.Errorf("%s: nothing was given", out.What)
		}
		if !out.fits(answer) {
			return nil, fmt.Errorf("%s: what was given is another one than %s", out.What, out.Part)
		}
		literal, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		place := regexp.MustCompile(`(?m)^([ -]*(?:[^\s:]+: )?)[^\n]*` + out.Mark + `\b[^\n]*$`)
		at := place.FindSubmatchIndex(text)
		if at == nil {
			return nil, fmt.Errorf("%s: its place in %s was changed by hand; write the value there instead of %s", out.What, l.Path, out.Mark)
		}
		text = slices.Concat(text[:at[3]], literal, text[at[1]:])
	}
	return load(l.Path, bytes.TrimPrefix(text, []byte(keptHeader+"\n")), "", nil)
}

func (o LeftOut) fits(answer string) bool {
	switch o.Form {
	case "url", "url_or_path", "libvirt_uri", "flake", "checksum":
		known := harmless[o.Form](answer)
		if o.Form == "flake" {
			known, _, _ = strings.Cut(known, "#")
		}
		return known == o.Part && answer != ""
	case "ssh_key":
		return publicKey(answer) == o.Part
	default:
		return true
	}
}
