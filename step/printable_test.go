package step

import (
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Samsung SSD 970 — größer\n\tok": "Samsung SSD 970 — größer\n\tok",
		"404 \x1b]0;owned\x07":           `404 \x1b]0;owned\x07`,
		"a\rb\u009bm":                    `a\x0db\x9bm`,
		"exe\u202egpj":                   `exe\u202egpj`,
		"\xff\xferaw":                    `\xff\xferaw`,
		"a \ufffd that was there":        "a \ufffd that was there",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31m\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if !utf8.ValidString(got) || Printable(got) != got {
			t.Errorf("Printable(%q) = %q, which is not printable", s, got)
		}
	})
}
