package vmstore

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// element is one XML element. Domain XML is compared and read as a tree rather
// than through libvirtxml's types, which drop what they do not know.
type element struct {
	name     string
	space    string
	attrs    map[string]string
	text     string
	children []*element
	// start and end are the element's place in the text it was read from.
	start, end int64
}

// parseXML reads a document into its root element.
func parseXML(text string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	var root *element
	var open []*element
	for {
		before := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading XML: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local, space: t.Name.Space, start: before}
			if len(t.Attr) > 0 {
				e.attrs = make(map[string]string, len(t.Attr))
				for _, a := range t.Attr {
					if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
						e.attrs[a.Name.Local] = a.Value
					}
				}
			}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root == nil:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			last := open[len(open)-1]
			last.text = strings.TrimSpace(last.text)
			last.end = d.InputOffset()
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(t)
			}
		}
	}
	if root == nil {
		return nil, errors.New("reading XML: it is empty")
	}
	return root, nil
}

// at follows names down, taking the first child of each; nil when there is none.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		var next *element
		for _, c := range e.children {
			if c.name == name {
				next = c
				break
			}
		}
		e = next
	}
	return e
}

// all gives the children of one name.
func (e *element) all(name string) []*element {
	if e == nil {
		return nil
	}
	var found []*element
	for _, c := range e.children {
		if c.name == name {
			found = append(found, c)
		}
	}
	return found
}

// attr reads an attribute of an element that may be absent.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	return e.attrs[name]
}

// content is the element's text, empty for one that is absent.
func (e *element) content() string {
	if e == nil {
		return ""
	}
	return e.text
}
