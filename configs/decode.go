package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
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

// resolveAliases finds what each alias stands for: the anchor of that name
// last seen before it.
func (d *decoder) resolveAliases(root ast.Node) {
	ast.Walk(anchors{d, map[string]ast.Node{}}, root)
}

type anchors struct {
	d    *decoder
	seen map[string]ast.Node
}

func (a anchors) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AnchorNode:
		a.seen[n.Name.GetToken().Value] = n.Value
	case *ast.AliasNode:
		a.d.aliases[n] = a.seen[n.Value.GetToken().Value]
	}
	return a
}

// value is the node itself, behind anchors, aliases and tags. nil: an error
// was reported.
func (d *decoder) value(n ast.Node) ast.Node {
	for range MaxDepth {
		switch v := n.(type) {
		case nil:
			return nil
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			target := d.aliases[v]
			if target == nil {
				d.at(startOf(d.src, v), "", "no anchor &%s before this", v.Value.GetToken().Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			tag := v.Start.Value
			hint := "write the value without a tag, in quotes if it must be text"
			if tag == "!vault" {
				d.at(startOf(d.src, v), "hvinstall cannot decrypt Ansible's vault: write the value here, or keep it out of the layout", "an Ansible vault value")
			} else {
				d.at(startOf(d.src, v), hint, "the tag %s, which a layout does not use", tag)
			}
			return nil
		default:
			return n
		}
	}
	d.at(startOf(d.src, n), "", "an alias that leads nowhere")
	return nil
}

// entry is one key of a mapping and its value.
type entry struct {
	key   string
	at    place
	value ast.Node
}

// entries are the keys of a mapping in the file's order, those merged by <<
// last. ok is false when n is no mapping; that is not reported.
func (d *decoder) entries(n ast.Node) (list []entry, ok bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	defer d.leave()
	if !d.enter(startOf(d.src, n)) {
		return nil, true
	}
	first := make(map[string]place, len(values))
	var merged []ast.Node
	for _, v := range values {
		if v.Key == nil {
			continue
		}
		if v.Key.IsMergeKey() {
			merged = append(merged, v.Value)
			continue
		}
		p := startOf(d.src, v.Key)
		key, isText := keyText(v.Key)
		if !isText && d.lenient {
			continue
		}
		if !isText {
			d.at(p, "", "a key that is not a word")
			continue
		}
		if before, twice := first[key]; twice {
			if d.lenient && !strings.HasPrefix(key, "libvirt_") {
				continue
			}
			d.at(p, fmt.Sprintf("the first is in line %d; keep one", before.line), "key %q given twice", key)
			continue
		}
		first[key] = p
		list = append(list, entry{key, p, v.Value})
	}
	for _, m := range merged {
		sources := []ast.Node{m}
		if s, isList := m.(*ast.SequenceNode); isList {
			sources = s.Values
		}
		for _, s := range sources {
			node := d.value(s)
			if d.full() {
				return list, true
			}
			if node == nil {
				continue
			}
			more, isMap := d.entries(node)
			if !isMap {
				d.at(startOf(d.src, s), "", "<< merges a mapping, and this is none")
			}
			for _, e := range more {
				if _, given := first[e.key]; !given {
					first[e.key] = e.at
					list = append(list, e)
				}
			}
		}
	}
	return list, true
}

func keyText(n ast.Node) (string, bool) {
	for {
		switch k := n.(type) {
		case *ast.MappingKeyNode:
			n = k.Value
		case *ast.AnchorNode:
			n = k.Value
		case *ast.StringNode:
			return k.Value, true
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			return k.GetToken().Value, true
		default:
			return "", false
		}
	}
}

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
	d.errors = append(d.errors, e.at.errorAt(fmt.Sprintf("unknown key %q", short(e.key)), hint, hideFrom))
}

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

// scalarText is what a scalar is when taken as text: as written, so that
// 0x1a86 and 0755 stay so.
func scalarText(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// quoted is true of text that was written as such.
func quoted(n ast.Node) bool {
	if _, block := n.(*ast.LiteralNode); block {
		return true
	}
	t := n.GetToken()
	return t != nil && (t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType)
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

// kindOf names a node's kind for an error.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	default:
		return "text"
	}
}

// short is text cut so that it fits into a message, on one line, without what
// looks like a secret, and harmless on a terminal.
func short(s string) string {
	s, _ = maskSecrets(s[:min(len(s), 4096)], 0)
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "..."
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
