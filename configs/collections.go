package configs

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// decodeList reads a list, or for a field that says so a single value.
func (d *decoder) decodeList(n ast.Node, v reflect.Value, f *field, at place) bool {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if _, scalar := scalarText(n); scalar && f.single {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			d.decode(n, v.Index(0), f, at)
			return true
		}
		hint := ""
		if text, scalar := scalarText(n); scalar {
			hint = fmt.Sprintf("write %s: [%s]", f.key, short(text))
		}
		if f.secret {
			hint = ""
		}
		d.wrongTypeHint(n, f, at, "a list", hint)
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	element := *f
	element.key = "an entry of " + f.key
	for i, value := range seq.Values {
		if d.full() {
			break
		}
		d.decode(value, v.Index(i), &element, startOf(d.src, value))
	}
	return true
}

// decodeOrdered reads a mapping into a list whose elements hold their key.
func (d *decoder) decodeOrdered(n ast.Node, v reflect.Value, f *field, at place) bool {
	entries, ok := d.entries(n)
	if !ok {
		d.wrongTypeHint(n, f, at, "a mapping", fmt.Sprintf("write each with its name: %s: {NAME: ...}", f.key))
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(entries), len(entries)))
	for i, e := range entries {
		element := v.Index(i)
		name := element.FieldByName(f.mapKey)
		d.places[name.Addr().Interface()] = e.at
		d.places[element.Addr().Interface()] = e.at
		name.SetString(e.key)
		if problem, hint := formOf(f.keyForm).check(e.key); problem != "" {
			d.failed[name.Addr().Interface()] = true
			d.at(e.at, hint, "%s", problem)
		}
		target := element
		inner := field{key: e.key}
		if f.mapValue != "" {
			target = element.FieldByName(f.mapValue)
			inner.form = f.form
		}
		p := d.placeOf(e)
		if !d.decodeValue(e.value, target, &inner, p) {
			d.failed[target.Addr().Interface()] = true
		}
		d.places[target.Addr().Interface()] = p
	}
	return true
}

// decodeAny reads values of any kind, as NixOS options have.
func (d *decoder) decodeAny(n ast.Node, v reflect.Value, f *field, at place) bool {
	entries, ok := d.entries(n)
	if !ok {
		d.wrongType(n, f, at, "a mapping (key: value)")
		return false
	}
	m := map[string]any{}
	good := true
	for _, e := range entries {
		if problem, hint := formOf(f.keyForm).check(e.key); problem != "" {
			d.at(e.at, hint, "%s", problem)
			good = false
			continue
		}
		m[e.key] = d.free(e.value)
	}
	v.Set(reflect.ValueOf(m))
	return good
}

// free is a value of any kind: nil, bool, int64, uint64, float64, string,
// []any or map[string]any.
func (d *decoder) free(n ast.Node) any {
	defer d.leave()
	if !d.enter(startOf(d.src, n)) {
		return nil
	}
	node := d.value(n)
	switch v := node.(type) {
	case nil:
		return nil
	case *ast.SequenceNode:
		list := make([]any, 0, len(v.Values))
		for _, one := range v.Values {
			list = append(list, d.free(one))
		}
		return list
	case *ast.IntegerNode:
		return v.Value
	case *ast.FloatNode:
		return v.Value
	case *ast.BoolNode:
		return v.Value
	case *ast.NullNode:
		return nil
	case *ast.InfinityNode, *ast.NanNode:
		d.at(startOf(d.src, n), "", "%s is no value of an option", v.GetToken().Value)
		return nil
	}
	if text, ok := scalarText(node); ok {
		return text
	}
	entries, _ := d.entries(node)
	m := map[string]any{}
	for _, e := range entries {
		m[e.key] = d.free(e.value)
	}
	return m
}
