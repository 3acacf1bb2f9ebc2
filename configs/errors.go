package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Error is one thing wrong with a layout, and where.
type Error struct {
	File    string
	Line    int // from 1; 0: the file as a whole
	Column  int // from 1, in characters
	Message string
	Hint    string // the way out; may be empty
	Source  string // the line as it may be shown: secrets masked, control characters replaced

	order int // of the file among those read
	caret int // column in Source
}

// Error gives the place, the message, the line with a caret under the column,
// and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": " + e.Message)
	margin := "  "
	if e.Line > 0 && e.Source != "" {
		number := strconv.Itoa(e.Line)
		blank := strings.Repeat(" ", len(number))
		fmt.Fprintf(&b, "\n  %s | %s", number, e.Source)
		fmt.Fprintf(&b, "\n  %s | %s^", blank, indentTo(e.Source, e.caret))
		margin += blank + "   "
	}
	for _, line := range wrap(e.Hint, hintWidth) {
		b.WriteString("\n" + margin + line)
	}
	return b.String()
}

// hintWidth keeps a hint and its margin within 80 columns.
const hintWidth = 72

// wrap breaks text at spaces into lines of at most width bytes, where it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		// A sum or an address is better too long than torn from its verb.
		if line != "" && len(line)+1+len(word) > width && len(word) < 60 {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// indentTo is blank as far as the caret's column: tabs stay tabs, so that they
// end where they end in the line above, and wide characters count twice.
func indentTo(line string, column int) string {
	// Without the locale's say: East Asian ambiguous width is a guess at best.
	width := runewidth.Condition{StrictEmojiNeutral: true}
	var b strings.Builder
	for _, r := range line {
		if column--; column < 1 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
			continue
		}
		b.WriteString(strings.Repeat(" ", width.RuneWidth(r)))
	}
	return b.String()
}

// Errors is everything wrong with a layout, in the order of the file.
type Errors []*Error

// maxShown keeps the errors of a file that is no layout at all readable.
const maxShown = 50

// Error gives all of them, an empty line between two, and their number.
func (e Errors) Error() string {
	var b strings.Builder
	for i, one := range e {
		if i == maxShown {
			fmt.Fprintf(&b, "\n\nand %d more", len(e)-maxShown)
			break
		}
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(one.Error())
	}
	if len(e) > 1 {
		fmt.Fprintf(&b, "\n\n%d errors", len(e))
		if len(e) >= MaxProblem {
			b.WriteString(" so far; the rest was not read")
		}
	}
	return b.String()
}

// Unwrap gives each error to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// sorted puts the errors in the file's order and drops those said twice, as an
// alias makes them.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		for _, d := range []int{a.order - b.order, a.Line - b.Line, a.Column - b.Column} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	return slices.CompactFunc(e, func(a, b *Error) bool {
		return a.order == b.order && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
}
