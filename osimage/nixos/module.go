package nixos

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// module is one file: a NixOS module, or any function or set.
type module struct {
	header []string // comment lines at the top
	args   []string // the function's arguments; nil: a plain set
	lets   attrs
	body   attrs
}

func (m module) String() string {
	var p printer
	p.comments(m.header)
	if m.args != nil {
		p.line("{ %s }:", strings.Join(append(slices.Clone(m.args), "..."), ", "))
	}
	if len(m.lets) > 0 {
		p.line("let")
		p.depth++
		p.bindings(m.lets)
		p.depth--
		p.line("in")
	}
	p.attrs(m.body)
	p.WriteByte('\n')
	return p.String()
}

const stampPrefix = "# Written by hvinstall from layout.yaml; sha256 of the rest: "

// stamped puts the first line on a file: by whom it was written, and the sum
// of what was written, so that a later run can tell a file that nobody has
// touched since from one that somebody has.
func stamped(content string) string {
	return stampPrefix + sum(content) + "\n" + content
}

// untouched reports whether content is as hvinstall wrote it.
func untouched(content string) bool {
	rest, found := strings.CutPrefix(content, stampPrefix)
	if !found {
		return false
	}
	stamp, rest, found := strings.Cut(rest, "\n")
	return found && stamp == sum(rest)
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:8])
}

var shellSafe = regexp.MustCompile(`^[a-zA-Z0-9_./:+-]+$`)

// blockSafe reports whether text can stand in an indented string as it is.
func blockSafe(text string) bool {
	return !strings.Contains(text, "''") && !strings.Contains(text, "$") && !strings.Contains(text, "'\n") &&
		!strings.HasSuffix(text, "'") && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' })
}

// textOf gives text as an indented string where that is safe and reads
// better, else as a quoted one. The text ends with a line feed.
func textOf(lines []string) any {
	if len(lines) == 0 {
		return ""
	}
	if text := strings.Join(lines, "\n"); blockSafe(text) && !slices.ContainsFunc(lines, startsBlank) {
		return block(lines)
	}
	return strings.Join(lines, "\n") + "\n"
}

// startsBlank: an indented string strips what its lines have in common, so a
// line that begins with a space or is empty is kept out of one.
func startsBlank(s string) bool { return s == "" || s[0] == ' ' }
