package nixos

import (
	"fmt"
	"strings"
	"unicode"
)

// token is one lexical element of a Nix file. A string without antiquotations
// is one token whose text is its value, however it is written; one with
// antiquotations is "string(", its parts, and ")".
type token struct{ kind, text string }

// reader is a lexer of Nix written from the manual's grammar ("Data Types",
// "String"), apart from the printer: fuzzing holds the one against the other.
type reader struct {
	src    []rune
	at     int
	tokens []token
}

func read(src string) ([]token, error) {
	r := &reader{src: []rune(src)}
	if err := r.expression(0); err != nil {
		return nil, err
	}
	return r.tokens, nil
}

func (r *reader) peek(s string) bool {
	return strings.HasPrefix(string(r.src[r.at:min(len(r.src), r.at+len(s)+3)]), s)
}

// expression reads tokens until the bracket that closes it, or the end.
func (r *reader) expression(closing rune) error {
	for r.at < len(r.src) {
		c := r.src[r.at]
		switch {
		case c == closing && closing != 0:
			r.at++
			return nil
		case unicode.IsSpace(c):
			r.at++
		case c == '#':
			for r.at < len(r.src) && r.src[r.at] != '\n' && r.src[r.at] != '\r' {
				r.at++
			}
		case r.peek("/*"):
			end := strings.Index(string(r.src[r.at+2:]), "*/")
			if end < 0 {
				return fmt.Errorf("a comment does not end")
			}
			r.at += 2 + len([]rune(string(r.src[r.at+2:])[:end])) + 2
		case c == '"':
			r.at++
			if err := r.quoted(); err != nil {
				return err
			}
		case r.peek("''"):
			r.at += 2
			if err := r.indented(); err != nil {
				return err
			}
		case c == '(' || c == '[' || c == '{':
			r.at++
			r.tokens = append(r.tokens, token{"open", string(c)})
			shut := map[rune]rune{'(': ')', '[': ']', '{': '}'}[c]
			if err := r.expression(shut); err != nil {
				return err
			}
			r.tokens = append(r.tokens, token{"close", string(shut)})
		case c == ')' || c == ']' || c == '}':
			return fmt.Errorf("%q closes nothing", string(c))
		case isWord(c):
			start := r.at
			for r.at < len(r.src) && (isWord(r.src[r.at]) || strings.ContainsRune("0123456789-'", r.src[r.at])) {
				r.at++
			}
			r.tokens = append(r.tokens, token{"word", string(r.src[start:r.at])})
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("a control character %q stands outside of a string", c)
		default:
			r.tokens = append(r.tokens, token{"sign", string(c)})
			r.at++
		}
	}
	if closing != 0 {
		return fmt.Errorf("%q is missing", string(closing))
	}
	return nil
}

func isWord(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func (r *reader) quoted() error {
	return r.parts(func(b *strings.Builder) (bool, error) {
		switch c := r.src[r.at]; {
		case c == '"':
			r.at++
			return true, nil
		case c == '\\':
			if r.at+1 >= len(r.src) {
				return false, fmt.Errorf("a backslash ends the file")
			}
			next := r.src[r.at+1]
			switch next {
			case 'n':
				next = '\n'
			case 'r':
				next = '\r'
			case 't':
				next = '\t'
			}
			b.WriteRune(next)
			r.at += 2
		case c == '\r':
			// Nix reads a carriage return in a string as a line feed.
			b.WriteRune('\n')
			r.at++
		default:
			b.WriteRune(c)
			r.at++
		}
		return false, nil
	})
}

func (r *reader) indented() error {
	return r.parts(func(b *strings.Builder) (bool, error) {
		switch {
		case r.peek("'''"):
			b.WriteString("''")
			r.at += 3
		case r.peek("''$"):
			b.WriteString("$")
			r.at += 3
		case r.peek(`''\`):
			if r.at+3 >= len(r.src) {
				return false, fmt.Errorf("a backslash ends the file")
			}
			b.WriteRune(r.src[r.at+3])
			r.at += 4
		case r.peek("''"):
			r.at += 2
			return true, nil
		default:
			b.WriteRune(r.src[r.at])
			r.at++
		}
		return false, nil
	})
}

// parts reads a string's text and antiquotations; text reads one piece of the
// text, or the end.
func (r *reader) parts(text func(*strings.Builder) (bool, error)) error {
	begin := len(r.tokens)
	var b strings.Builder
	antiquoted := false
	for r.at < len(r.src) {
		switch {
		case r.peek("$${"), r.peek("$$"):
			b.WriteString("$$")
			r.at += 2
			// Of a run of dollars the last may still begin an antiquotation
			// only where their number before it is even.
			continue
		case r.peek("${"):
			if !antiquoted {
				r.tokens = append(r.tokens, token{"string(", ""})
				antiquoted = true
			}
			r.tokens = append(r.tokens, token{"text", b.String()}, token{"open", "${"})
			b.Reset()
			r.at += 2
			if err := r.expression('}'); err != nil {
				return err
			}
			r.tokens = append(r.tokens, token{"close", "}"})
			continue
		}
		done, err := text(&b)
		if err != nil {
			return err
		}
		if done {
			if !antiquoted {
				r.tokens = append(r.tokens[:begin], token{"string", b.String()})
			} else {
				r.tokens = append(r.tokens, token{"text", b.String()}, token{")", ""})
			}
			return nil
		}
	}
	return fmt.Errorf("a string does not end")
}

// shape is the tokens without the strings' text.
func shape(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		if t.kind == "string" {
			b.WriteString(" <string>")
			continue
		}
		b.WriteString(" " + t.kind + ":" + t.text)
	}
	return b.String()
}
