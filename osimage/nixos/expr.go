package nixos

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Nix value is one of: string, bool, int64, int, float64, nil, list, attrs,
// raw (an expression of our own) and block (an indented string of our own).
type (
	list  []any
	raw   string
	block []string
	attrs []binding
)

// binding is one name of an attribute set with what it is bound to. A comment
// stands above it; an empty path makes a free-standing comment or blank line.
type binding struct {
	path    []string
	rawPath string // printed as it is, for names that are expressions
	value   any
	comment []string
	gap     bool // a blank line before it
}

// set binds a dotted path written in code; values from a layout go through
// binding.path.
func set(path string, value any, comment ...string) binding {
	return binding{path: strings.Split(path, "."), value: value, comment: comment}
}

// after puts a blank line before the binding.
func after(b binding) binding {
	b.gap = true
	return b
}

// printer writes Nix in the form that nixfmt (RFC 166) gives it: two spaces,
// one element a line where a list has several.
type printer struct {
	strings.Builder
	depth int
}

func (p *printer) line(format string, args ...any) {
	if format == "" {
		p.WriteByte('\n')
		return
	}
	p.indent()
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

func (p *printer) indent() { p.WriteString(strings.Repeat("  ", p.depth)) }

// comments writes comment lines. A comment ends with its line, so no text may
// hold a line break of any kind.
func (p *printer) comments(lines []string) {
	for _, l := range lines {
		p.line("%s", strings.TrimRight("# "+plain(l), " "))
	}
}

// plain makes text fit for a comment.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

func (p *printer) bindings(bindings attrs) {
	for _, b := range bindings {
		if b.gap {
			p.line("")
		}
		p.comments(b.comment)
		name := b.rawPath
		if name == "" {
			if len(b.path) == 0 {
				continue
			}
			name = attrPath(b.path)
		}
		p.indent()
		p.WriteString(name + " =")
		// An expression that begins with a line break stands below its name.
		if r, is := b.value.(raw); !is || !strings.HasPrefix(string(r), "\n") {
			p.WriteByte(' ')
		}
		p.value(b.value)
		p.WriteString(";\n")
	}
}

func (p *printer) value(v any) {
	switch v := v.(type) {
	case nil:
		p.WriteString("null")
	case string:
		p.WriteString(quote(v))
	case bool:
		p.WriteString(strconv.FormatBool(v))
	case int:
		p.WriteString(number(int64(v)))
	case int64:
		p.WriteString(number(v))
	case float64:
		p.WriteString(decimal(v))
	case raw:
		p.lines(string(v))
	case block:
		p.block(v)
	case list:
		p.list(v)
	case attrs:
		p.attrs(v)
	default:
		panic(fmt.Sprintf("nixos: %T is no Nix value", v))
	}
}

// lines writes an expression of several lines at the current depth.
func (p *printer) lines(s string) {
	for i, l := range strings.Split(s, "\n") {
		if i > 0 {
			p.WriteByte('\n')
			if l != "" {
				p.indent()
			}
		}
		p.WriteString(l)
	}
}

// block writes an indented string. Its lines are ours: antiquotations in them
// are meant.
func (p *printer) block(lines block) {
	p.WriteString("''\n")
	p.depth++
	for _, l := range lines {
		p.line("%s", l)
	}
	p.depth--
	p.indent()
	p.WriteString("''")
}

func (p *printer) list(l list) {
	switch {
	case len(l) == 0:
		p.WriteString("[ ]")
	case len(l) == 1 && !isAttrs(l[0]):
		p.WriteString("[ ")
		p.value(l[0])
		p.WriteString(" ]")
	case len(l) == 1 && short(l[0].(attrs)):
		b := l[0].(attrs)[0]
		p.WriteString("[ { " + attrPath(b.path) + " = ")
		p.value(b.value)
		p.WriteString("; } ]")
	default:
		p.WriteString("[\n")
		p.depth++
		for _, e := range l {
			p.indent()
			p.value(e)
			p.WriteByte('\n')
		}
		p.depth--
		p.indent()
		p.WriteByte(']')
	}
}

func isAttrs(v any) bool {
	_, is := v.(attrs)
	return is
}

// short reports whether a set is one plain binding, which fits on a line.
func short(a attrs) bool {
	if len(a) != 1 || a[0].comment != nil || a[0].path == nil {
		return false
	}
	_, is := a[0].value.(string)
	return is
}

func (p *printer) attrs(a attrs) {
	if len(a) == 0 {
		p.WriteString("{ }")
		return
	}
	p.WriteString("{\n")
	p.depth++
	p.bindings(a)
	p.depth--
	p.indent()
	p.WriteByte('}')
}

// number writes an integer. Nix has no negative literals, only negation,
// which needs parentheses in a list; and the smallest integer cannot be
// written as the negation of one.
func number(n int64) string {
	switch {
	case n == -1<<63:
		return "(-9223372036854775807 - 1)"
	case n < 0:
		return fmt.Sprintf("(%d)", n)
	}
	return strconv.FormatInt(n, 10)
}

// decimal writes a float in Nix's form, which wants a point and digits before
// an exponent.
func decimal(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	mantissa, exponent, found := strings.Cut(s, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if found {
		mantissa += "e" + exponent
	}
	if f < 0 {
		return "(" + mantissa + ")"
	}
	return mantissa
}

// quote writes a Nix string: everything in it is text. ${ and a preceding
// backslash are the ways out of one; a raw carriage return would be read as a
// line feed.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '$' && i+1 < len(s) && s[i+1] == '{':
			b.WriteString(`\$`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_'-]*$`)

var keywords = map[string]bool{
	"assert": true, "else": true, "if": true, "in": true, "inherit": true, "let": true, "or": true,
	"rec": true, "then": true, "with": true,
}

// attrName writes one attribute name, quoted where it must be.
func attrName(name string) string {
	if identifier.MatchString(name) && !keywords[name] {
		return name
	}
	return quote(name)
}

func attrPath(path []string) string {
	names := make([]string, len(path))
	for i, name := range path {
		names[i] = attrName(name)
	}
	return strings.Join(names, ".")
}

// texts is a list of strings.
func texts(items ...string) list {
	l := make(list, len(items))
	for i, item := range items {
		l[i] = item
	}
	return l
}
