package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills a Layout from YAML and collects everything that is wrong.
//
// It walks the tree by itself rather than through the YAML library's decoder,
// which stops at the first error and forgets where each value stood.
type decoder struct {
	shapes  shapes
	aliases map[*ast.AliasNode]ast.Node
	src     *source // the file being read
	ansible bool    // it is an Ansible vars file
	lenient bool    // these are the keys of such a file, most of them not ours
	errors  Errors

	values, depth int  // read so far, and how deep
	exhausted     bool // a limit was reached; it was reported
	// places holds where each value was written, by a pointer to its field.
	places map[any]place
	// failed holds the fields that are wrong already, so that nothing is
	// said twice.
	failed map[any]bool
}

func newDecoder() *decoder {
	return &decoder{shapes: shapes{}, aliases: map[*ast.AliasNode]ast.Node{}, places: map[any]place{}, failed: map[any]bool{}}
}

// at reports an error of a place.
func (d *decoder) at(p place, hint, format string, args ...any) {
	if len(d.errors) < MaxProblem {
		d.errors = append(d.errors, p.errorAt(fmt.Sprintf(format, args...), hint, 0))
	}
}

// full is true when it is not worth reading on.
func (d *decoder) full() bool { return d.exhausted || len(d.errors) >= MaxProblem }

// enter counts one value, and one level deeper until leave. false: a limit is
// reached, and the reading ends with an error that says so. Aliases are why
// the parser's limits are not enough: they repeat, and may hold themselves.
func (d *decoder) enter(at place) bool {
	d.values++
	d.depth++
	switch {
	case d.exhausted:
	case d.values > MaxValues:
		d.exhausted = true
		d.errors = append(d.errors, at.errorAt(fmt.Sprintf("more than %d values, those repeated by aliases counted each time", MaxValues), "", 0))
	case d.depth > MaxDepth:
		d.exhausted = true
		d.errors = append(d.errors, at.errorAt(fmt.Sprintf("nested deeper than %d: an alias that holds itself?", MaxDepth), "", 0))
	}
	return !d.full()
}

func (d *decoder) leave() { d.depth-- }

// decode reads n into v, a field's value; f is what the field's tags say, at
// where an error of the whole is shown.
func (d *decoder) decode(n ast.Node, v reflect.Value, f *field, at place) {
	defer d.leave()
	if !d.enter(at) {
		return
	}
	d.places[v.Addr().Interface()] = at
	if !d.decodeValue(n, v, f, at) {
		d.failed[v.Addr().Interface()] = true
	}
}

// decodeValue says whether the value, or what is in it, could be read.
func (d *decoder) decodeValue(n ast.Node, v reflect.Value, f *field, at place) bool {
	node := d.value(n)
	if node == nil {
		return false
	}
	if node.Type() == ast.NullType {
		d.at(at, "give it a value, or remove it", "%s has no value", f.key)
		return false
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		v.Set(p)
		return d.decodeValue(n, p.Elem(), f, at)
	case reflect.Struct:
		return d.decodeStruct(node, v, f, at)
	case reflect.Slice:
		if f.mapKey != "" {
			return d.decodeOrdered(node, v, f, at)
		}
		return d.decodeList(node, v, f, at)
	case reflect.Map:
		return d.decodeAny(node, v, f, at)
	default:
		return d.decodeScalar(node, v, f, at)
	}
}

func (d *decoder) decodeStruct(n ast.Node, v reflect.Value, f *field, at place) bool {
	sh := d.shapes.of(v.Type())
	if _, scalar := scalarText(n); scalar && sh.short != nil {
		alone := *sh.short
		alone.key = f.key
		d.decode(n, v.Field(sh.short.index), &alone, at)
		return true
	}
	entries, ok := d.entries(n)
	if !ok {
		d.wrongType(n, f, at, "a mapping (key: value)")
		return false
	}
	d.decodeEntries(entries, v, at, f.key)
	return true
}

// decodeEntries reads the keys of a mapping into the fields of v; what names
// the mapping in an error.
func (d *decoder) decodeEntries(entries []entry, v reflect.Value, at place, what string) {
	t := v.Type()
	given := make(map[string]bool, len(entries))
	for _, e := range entries {
		given[e.key] = true
		target, f := d.fieldFor(v, e.key)
		if f == nil {
			d.unknownKey(e, t)
			continue
		}
		d.decode(e.value, target, f, d.placeOf(e))
	}
	for _, f := range d.shapes.of(t).fields {
		if f.required && !f.inline && !given[f.key] {
			d.failed[v.Field(f.index).Addr().Interface()] = true
			d.at(at, "", "%s lacks %s: %s", what, f.key, f.doc)
		}
	}
}

// placeOf is where an error of an entry's value is shown: at the value when it
// is a single word, else at its key.
func (d *decoder) placeOf(e entry) place {
	n := e.value
	if a, ok := n.(*ast.AnchorNode); ok {
		n = a.Value
	}
	if _, scalar := scalarText(n); scalar {
		return startOf(d.src, n)
	}
	return e.at
}

// fieldFor finds the field of a key, inlined types included.
func (d *decoder) fieldFor(v reflect.Value, key string) (reflect.Value, *field) {
	sh := d.shapes.of(v.Type())
	if f := sh.byKey[key]; f != nil {
		return v.Field(f.index), f
	}
	for _, f := range sh.fields {
		if f.inline {
			if target, found := d.fieldFor(v.Field(f.index), key); found != nil {
				return target, found
			}
		}
	}
	return reflect.Value{}, nil
}

func (d *decoder) unknownKey(e entry, t reflect.Type) {
	keys := d.shapes.keys(t)
	near := nearest(e.key, keys)
	hint := didYouMean(e.key, keys)
	if d.full() {
		return
	}
	// What was meant as a secret is one, whatever the key is called.
	hideFrom := 0
	if f := d.shapes.of(t).byKey[near]; f != nil && f.secret {
		if p := startOf(d.src, e.value); p.line == e.at.line {
			hideFrom = p.column
		}
	}
	d.errors = append(d.errors, e.at.errorAt(fmt.Sprintf("unknown key %s", quote(e.key)), hint, hideFrom))
}

func (d *decoder) wrongType(n ast.Node, f *field, at place, want string) {
	d.wrongTypeHint(n, f, at, want, "")
}

func (d *decoder) wrongTypeHint(n ast.Node, f *field, at place, want, hint string) {
	if text, ok := scalarText(n); ok && strings.Contains(text, "{{") {
		d.at(at, jinjaHint, "%s holds an Ansible variable", f.key)
		return
	}
	d.at(at, hint, "%s is %s, not %s", f.key, kindOf(n), want)
}

const jinjaHint = "Ansible variables cannot be resolved here: write the value itself"

// quote is user text in an error: in quotes, short, on one line, without what
// looks like a secret, and harmless on a terminal.
func quote(s string) string { return `"` + short(s) + `"` }

// short is quote without the quotes, for what is to be typed.
func short(s string) string {
	s, _ = maskSecrets(s[:min(len(s), 4096)], 0)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:97], "") + "..."
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
