package configs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a layout. They are far beyond a layout of thousands of VMs,
// and keep a file that is none from using up the machine: the parser's time
// grows with the square of nesting and of the keys of one mapping.
const (
	MaxBytes   = 4 << 20 // of a file
	MaxDepth   = 32      // mappings and lists inside each other
	MaxKeys    = 1000    // of one mapping
	MaxTokens  = 500_000 // words and marks of a file
	MaxValues  = 200_000 // values read, those repeated by aliases counted each time
	MaxProblem = 1000    // errors collected before giving up
)

// parse reads one YAML document. Of a file without content the node is nil.
func parse(src *source, data []byte) (node ast.Node, problem *Error) {
	at := func(line, column int, hint, format string, args ...any) *Error {
		return place{src, line, column}.errorAt(fmt.Sprintf(format, args...), hint, 0)
	}
	if len(data) > MaxBytes {
		return nil, &Error{File: src.name, order: src.order, Message: fmt.Sprintf("larger than %d MiB, which no layout is", MaxBytes>>20)}
	}
	if line, column, what := badCharacter(data); what != "" {
		return nil, at(line, column, "save the file as UTF-8 text", "%s", what)
	}
	if bytes.HasPrefix(data, []byte("$ANSIBLE_VAULT")) {
		return nil, at(1, 1, "decrypt it first: ansible-vault view FILE > vms.yml", "a file encrypted by Ansible's vault")
	}
	// A panic of the parser is a file that cannot be read, not a crash.
	defer func() {
		if r := recover(); r != nil {
			node, problem = nil, &Error{File: src.name, order: src.order, Message: "not readable as YAML", Hint: "the YAML parser gave up without saying where"}
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if problem := withinLimits(tokens, at); problem != nil {
		return nil, problem
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxError(src, err, at)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if node != nil {
			p := startOf(src, doc.Body)
			return nil, at(p.line, p.column, "a layout is one document: remove the --- and what follows, or move it to a file of its own", "a second document")
		}
		node = doc.Body
	}
	return node, nil
}

// badCharacter finds the first byte that is not UTF-8, or a control character
// that YAML does not allow. A carriage return alone is one too: it would end a
// line for the parser and for no editor.
func badCharacter(data []byte) (line, column int, what string) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return 1, 1, "not text in UTF-8, but in UTF-16"
	}
	line, column = 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, "not text in UTF-8"
		case r == '\r' && (i == len(data) || data[i] != '\n'):
			return line, column, "a carriage return without a line feed"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return line, column, fmt.Sprintf("the control character %U", r)
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return 0, 0, ""
}

// withinLimits looks at the words before the parser does.
func withinLimits(tokens token.Tokens, at func(line, column int, hint, format string, args ...any) *Error) *Error {
	type level struct {
		column int // of a block's first word; 0 in a flow mapping or list
		keys   int
	}
	levels := []level{{}}
	flow := 0
	for _, t := range tokens {
		p := t.Position
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			levels = append(levels, level{})
			flow++
		case token.MappingEndType, token.SequenceEndType:
			if flow > 0 {
				levels = levels[:len(levels)-1]
				flow--
			}
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType:
			column := p.Column
			if t.Type == token.MappingValueType && t.Prev != nil && t.Prev.Position.Line == p.Line {
				column = t.Prev.Position.Column
			}
			if flow == 0 {
				for len(levels) > 1 && levels[len(levels)-1].column > column {
					levels = levels[:len(levels)-1]
				}
				if levels[len(levels)-1].column < column {
					levels = append(levels, level{column: column})
				}
			}
			if t.Type == token.MappingValueType {
				top := &levels[len(levels)-1]
				top.keys++
				if top.keys > MaxKeys {
					return at(p.Line, p.Column, "", "more than %d keys in one mapping, which no layout has", MaxKeys)
				}
			}
		default: // words, which open and close nothing
		}
		if len(levels) > MaxDepth {
			return at(p.Line, p.Column, "", "nested deeper than %d, which no layout is", MaxDepth)
		}
	}
	if len(tokens) > MaxTokens {
		return at(0, 0, "", "more than %d words, which no layout has", MaxTokens)
	}
	return nil
}

// plainer are the parser's words for what people do most.
var plainer = []struct{ theirs, ours, hint string }{
	{"could not find flow map content", "a key is missing here", "is there a comma or bracket too many?"},
	{"found character '\t' that cannot start any token", "a tab where YAML wants spaces", "indent with spaces"},
	{"found a tab character", "a tab where YAML wants spaces", "indent with spaces"},
	{"sequence end token ']' not found", "a [ without its ]", "close the list with ]"},
	{"',' or ']' must be specified", "a list without its ], or without a comma", "close the list with ]"},
	{"',' or '}' must be specified", "a mapping without its }, or without a comma", "close the mapping with }"},
	{"could not find flow mapping end token '}'", "a { without its }", "close the mapping with }"},
	{"found an invalid key for this map", "a key that is not a word", ""},
	{"could not find end character of double-quoted text", "a \" without its end", "close the text with \""},
	{"could not find end character of single-quoted text", "a ' without its end", "close the text with '"},
	{"mapping value is not allowed in this context", "a : that cannot stand here", "are this line and the next indented right? text that holds \": \" goes in quotes"},
	{"unexpected key name", "neither a key with its value nor an entry of a list", "write key: value; is the line indented right?"},
	{"non-map value is specified", "neither a key with its value nor an entry of a list", "write key: value, with a space after the colon"},
	{"value is not allowed in this context", "a value that cannot stand here", "is the line indented right? does a quote or bracket end too early?"},
}

func syntaxError(src *source, err error, at func(line, column int, hint, format string, args ...any) *Error) *Error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return &Error{File: src.name, order: src.order, Message: "not readable as YAML"}
	}
	p, message, hint := y.GetToken().Position, y.GetMessage(), ""
	for _, w := range plainer {
		if strings.HasPrefix(message, w.theirs) {
			message, hint = w.ours, w.hint
			break
		}
	}
	problem := at(p.Line, max(1, p.Column), hint, "%s", message)
	if strings.Contains(problem.Source, "{{") {
		problem.Hint = "is this an Ansible variable? hvinstall cannot resolve it: write the value"
	}
	return problem
}

// startOf is where a node begins. The parser's own place of a mapping is its
// first colon.
func startOf(src *source, n ast.Node) place {
	for {
		switch m := n.(type) {
		case *ast.MappingNode:
			if !m.IsFlowStyle && len(m.Values) > 0 {
				n = m.Values[0]
				continue
			}
		case *ast.MappingValueNode:
			n = m.Key
			continue
		}
		break
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return place{in: src}
	}
	p := place{src, max(1, t.Position.Line), max(1, t.Position.Column)}
	// A value that is not written stands after its colon.
	if t.Type == token.ImplicitNullType {
		p.column = max(1, p.column-1)
	}
	return p
}
