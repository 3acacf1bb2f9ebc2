package vmstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// readTree reads a domain's description as a tree that keeps all of it: order,
// comments, name spaces, and elements that nothing here knows.
func readTree(text string) (*etree.Document, error) {
	doc := etree.NewDocument()
	doc.ReadSettings.PreserveCData = true
	doc.ReadSettings.PreserveDuplicateAttrs = true // libvirt refuses them
	doc.WriteSettings.AttrSingleQuote = true       // as libvirt writes
	if err := doc.ReadFromString(text); err != nil {
		return nil, fmt.Errorf("reading XML: %w", err)
	}
	if len(doc.ChildElements()) != 1 {
		return nil, errors.New("reading XML: want one root element")
	}
	return doc, nil
}

// below follows names down, the first child of each; nil where one is missing.
// Elements of another name space (qemu:commandline) are not meant.
func below(e *etree.Element, names ...string) *etree.Element {
	for _, name := range names {
		e = firstChild(e, name)
	}
	return e
}

func firstChild(e *etree.Element, name string) *etree.Element {
	if e == nil {
		return nil
	}
	for c := range e.ChildElementsSeq() {
		if c.Tag == name && c.Space == "" {
			return c
		}
	}
	return nil
}

// every gives the children of one name.
func every(e *etree.Element, name string) []*etree.Element {
	if e == nil {
		return nil
	}
	var found []*etree.Element
	for c := range e.ChildElementsSeq() {
		if c.Tag == name && c.Space == "" {
			found = append(found, c)
		}
	}
	return found
}

// value reads an attribute of an element that may be absent.
func value(e *etree.Element, name string) string {
	if e == nil {
		return ""
	}
	return e.SelectAttrValue(name, "")
}

// content is an element's text, empty for one that is absent.
func content(e *etree.Element) string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(e.Text())
}

// pathOf is an element's XPath: a name that is there more than once has its
// place among its like, counted from 1.
func pathOf(e *etree.Element) string {
	if e == nil || e.Tag == "" {
		return ""
	}
	parent := e.Parent()
	step := e.FullTag()
	if parent == nil || parent.Tag == "" {
		return "/" + step
	}
	like := slices.DeleteFunc(parent.ChildElements(), func(c *etree.Element) bool { return c.FullTag() != step })
	if len(like) > 1 || isList(parent) {
		step += fmt.Sprintf("[%d]", slices.Index(like, e)+1)
	}
	return pathOf(parent) + "/" + step
}

// isList: devices are numbered even when there is only one of a kind, so that
// adding another does not rename the first.
func isList(e *etree.Element) bool { return e.Tag == "devices" && e.Space == "" }

// insert puts a child behind the last of its name, else at the end, indented
// as its neighbours are.
func insert(parent, child *etree.Element) {
	like := slices.DeleteFunc(parent.ChildElements(), func(c *etree.Element) bool { return c.FullTag() != child.FullTag() })
	depth := 0
	for p := parent; p != nil && p.Tag != ""; p = p.Parent() {
		depth++
	}
	settings := etree.NewIndentSettings()
	settings.Spaces = 2
	child.IndentWithSettings(settings)
	for _, t := range child.FindElements(".//*") {
		deepen(t, depth)
	}
	closeAt(child, depth)
	lead := etree.NewText("\n" + strings.Repeat("  ", depth))
	if len(like) > 0 {
		at := like[len(like)-1].Index() + 1
		parent.InsertChildAt(at, lead)
		parent.InsertChildAt(at+1, child)
		return
	}
	at := len(parent.Child)
	if at > 0 {
		if text, ok := parent.Child[at-1].(*etree.CharData); ok && text.IsWhitespace() {
			at--
		}
	} else {
		parent.AddChild(etree.NewText("\n" + strings.Repeat("  ", depth-1)))
	}
	parent.InsertChildAt(at, lead)
	parent.InsertChildAt(at+1, child)
}

// deepen indents what stands before an element by so many levels more.
func deepen(e *etree.Element, levels int) {
	parent, at := e.Parent(), e.Index()
	if at == 0 {
		return
	}
	if text, ok := parent.Child[at-1].(*etree.CharData); ok && text.IsWhitespace() {
		text.SetData(text.Data + strings.Repeat("  ", levels))
	}
}

// closeAt indents the end tags within an element by so many levels more.
func closeAt(e *etree.Element, levels int) {
	for _, c := range e.ChildElements() {
		closeAt(c, levels)
	}
	if n := len(e.Child); n > 1 {
		if text, ok := e.Child[n-1].(*etree.CharData); ok && text.IsWhitespace() {
			text.SetData(text.Data + strings.Repeat("  ", levels))
		}
	}
}

// remove takes an element out, with the white space before it.
func remove(e *etree.Element) {
	parent, at := e.Parent(), e.Index()
	if at > 0 {
		if text, ok := parent.Child[at-1].(*etree.CharData); ok && text.IsWhitespace() {
			parent.RemoveChildAt(at - 1)
		}
	}
	parent.RemoveChild(e)
}

// shown is an element in one line, for a person.
func shown(e *etree.Element) string {
	var parts []string
	for _, a := range e.Attr {
		parts = append(parts, a.FullKey()+"="+a.Value)
	}
	if text := content(e); text != "" {
		parts = append(parts, text)
	}
	for _, c := range e.ChildElements() {
		if s := shown(c); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}
