package configs

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// source is the text of one file, for showing lines of it.
type source struct {
	name  string
	order int
	lines []string
}

// place is a position in a source; line and column count from 1.
type place struct {
	in           *source
	line, column int
}

func newSource(name string, order int, text string) *source {
	return &source{name, order, strings.Split(text, "\n")}
}

// errorAt makes an error of a place. hideFrom, where not 0, masks the line from
// that column on, for a secret whose key does not say that it is one.
func (p place) errorAt(message, hint string, hideFrom int) *Error {
	e := &Error{File: p.in.name, Line: p.line, Column: p.column, Message: message, Hint: hint, order: p.in.order}
	if p.line > 0 && p.line <= len(p.in.lines) {
		e.Source, e.caret = shown(p.in.lines[p.line-1], p.column, hideFrom)
	}
	return e
}

// secretPatterns find what no error may show. They err on the side of hiding:
// a line of an unreadable file has no keys yet that could be looked up.
var secretPatterns = []*regexp.Regexp{
	// a key that sounds like a secret, and its value; in a flow mapping up to
	// the next comma, elsewhere to the end of the line
	regexp.MustCompile(`(?i)[\w-]*(?:pas+w|pass|passwd|pwd|hash|secret|token|credential|private|psk)[\w-]*["']?\s*[:=]\s*()("[^"]*"?|'[^']*'?|[\[{].*|[^\s,}{"'\[][^,}]*)`),
	// crypt(5)
	regexp.MustCompile(`()(\$(?:[0-9][a-z]?|y|gy|7|sha1|argon2id?)\$[^\s"']*)`),
	// user:password@ in a URL
	regexp.MustCompile(`[a-z]://()([^\s/@"']*:[^\s/@"']*)@`),
	regexp.MustCompile(`()(-----BEGIN.*)`),
}

const masked = "<hidden>"

// maxWidth is how much of a long line is shown around the column.
const maxWidth = 100

// shown is a line as it may be printed and the column in it that stands for
// the given one.
func shown(line string, column, hideFrom int) (string, int) {
	line = strings.TrimSuffix(line, "\r")
	if hideFrom > 0 {
		line = line[:byteOffset(line, hideFrom)] + masked
	}
	at := byteOffset(line, column)
	// Patterns are not run over megabytes: what they have to see is near.
	line, at = window(line, at, 4096)
	line, at = maskSecrets(line, at)
	line, at = window(line, at, maxWidth)
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsGraphic(r) {
			return '\ufffd'
		}
		return r
	}, line), utf8.RuneCountInString(line[:at]) + 1
}

// maskSecrets hides what looks like a secret; at moves along with the text.
func maskSecrets(line string, at int) (string, int) {
	for i, p := range secretPatterns {
		matches := p.FindAllStringSubmatchIndex(line, -1)
		if matches == nil {
			continue
		}
		flow := strings.ContainsRune(line, '{')
		var b strings.Builder
		last, moved := 0, at
		for _, m := range matches {
			start, end := m[4], m[5]
			if i == 0 && !flow {
				end = len(line)
			}
			if start < last {
				break
			}
			b.WriteString(line[last:start] + masked)
			last = end
			switch {
			case at >= end:
				moved += len(masked) - (end - start)
			case at > start:
				moved -= at - start
			}
		}
		b.WriteString(line[last:])
		line, at = b.String(), min(moved, b.Len())
	}
	return line, at
}

// byteOffset is where the column's character starts.
func byteOffset(line string, column int) int {
	for i := range line {
		if column--; column < 1 {
			return i
		}
	}
	return len(line)
}

// window cuts a long line to about width bytes around at, at characters.
func window(line string, at, width int) (string, int) {
	if utf8.RuneCountInString(line) <= width {
		return line, at
	}
	start := max(0, min(at-width/2, len(line)-width))
	end := min(len(line), start+width)
	// At most three bytes to the next character: what is not UTF-8 has none.
	for range utf8.UTFMax - 1 {
		if start > 0 && !utf8.RuneStart(line[start]) {
			start--
		}
		if end < len(line) && !utf8.RuneStart(line[end]) {
			end++
		}
	}
	cut, at := line[start:end], at-start
	if end < len(line) {
		cut += "…"
	}
	if start > 0 {
		cut, at = "…"+cut, at+len("…")
	}
	return cut, at
}
