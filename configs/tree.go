package configs

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

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
		for _, e := range d.merged(m) {
			if _, given := first[e.key]; !given {
				first[e.key] = e.at
				list = append(list, e)
			}
		}
	}
	return list, true
}

// merged are the keys that a << brings in: of one mapping, or of each in a list,
// earlier ones first.
func (d *decoder) merged(n ast.Node) []entry {
	sources := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		sources = list.Values
	}
	var all []entry
	for _, s := range sources {
		node := d.value(s)
		if d.full() {
			break
		}
		if node == nil {
			continue
		}
		more, ok := d.entries(node)
		if !ok {
			d.at(startOf(d.src, s), "", "<< merges a mapping, and this is none")
		}
		all = append(all, more...)
	}
	return all
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
