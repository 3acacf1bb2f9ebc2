package step

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is a text as a terminal may get it. What comes from outside (a
// server's answer, a disk's model, a file's name) may hold what a terminal takes
// for a command, or what shows other text than there is: control characters,
// bytes that are no UTF-8, and invisible or direction-changing ones (Unicode's
// Cf, Zl and Zp) are written as they would be in Go. Newlines and tabs stay.
func Printable(s string) string {
	if !strings.ContainsFunc(s, isUnprintable) { // invalid bytes are utf8.RuneError
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r != utf8.RuneError && isUnprintable(r):
			if r < 0x100 {
				fmt.Fprintf(&b, `\x%02x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isUnprintable(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}
