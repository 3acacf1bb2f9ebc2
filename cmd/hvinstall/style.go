package main

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"hvinstall/step"

	"golang.org/x/term"
)

// style is how text looks on one output: colours where they are wanted and
// shown, and how wide it may be.
type style struct {
	colour bool
	width  int  // columns
	all    bool // show also what stays as it is
}

const (
	widest    = 100 // columns; longer lines are hard to read
	narrowest = 60
)

// styleOf looks at an output: colours only on a terminal, never with NO_COLOR
// (https://no-color.org) or TERM=dumb.
func styleOf(w io.Writer) style {
	s := style{width: widest}
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
		s.width = max(narrowest, min(columns, widest))
	}
	return s
}

func (s style) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.paint("1", text) }
func (s style) dim(text string) string    { return s.paint("2", text) }
func (s style) good(text string) string   { return s.paint("32", text) }
func (s style) danger(text string) string { return s.paint("1;31", text) }
func (s style) warn(text string) string   { return s.paint("33", text) }

// painted is what paint writes.
var painted = regexp.MustCompile(`\x1b\[(?:0|1|2|32|33|1;31)m`)

// screen is text that is ready for the terminal, with what else the terminal
// would obey written out: what libvirt says of a VM, and names of files, are in
// the facts as they are.
func (s style) screen(text string) string {
	if !s.colour {
		return step.Printable(text)
	}
	var b strings.Builder
	at := 0
	for _, code := range painted.FindAllStringIndex(text, -1) {
		b.WriteString(step.Printable(text[at:code[0]]))
		b.WriteString(text[code[0]:code[1]])
		at = code[1]
	}
	b.WriteString(step.Printable(text[at:]))
	return b.String()
}

// wrap breaks text at spaces so that no line is wider than columns, where its
// words allow it. It stands before all that is shown of a machine and of a run,
// and before colours.
func wrap(text string, columns int) []string {
	var lines []string
	line, width := "", 0
	for _, word := range strings.Fields(showable(text)) {
		w := utf8.RuneCountInString(word)
		if width > 0 && width+1+w > columns {
			lines, line, width = append(lines, line), "", 0
		}
		if width > 0 {
			line, width = line+" ", width+1
		}
		line, width = line+word, width+w
	}
	return append(lines, line)
}

// pad fills text with spaces up to columns, counting what a person sees.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(text)))
}

// quantity is "1 disk", "3 disks".
func quantity(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
