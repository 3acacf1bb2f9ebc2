package configs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLimits: what would use up the machine is refused, and soon.
func TestLimits(t *testing.T) {
	laughs := "hostname: h\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'j'; c++ {
		p := string(c - 1)
		laughs += fmt.Sprintf("%c: &%c [*%s, *%s, *%s, *%s, *%s, *%s, *%s, *%s, *%s, *%s]\n", c, c, p, p, p, p, p, p, p, p, p, p)
	}
	merges := "hostname: h\nlibvirt_vms:\n  - &a {name: a}\n"
	for c := 'b'; c <= 'z'; c++ {
		merges += fmt.Sprintf("  - &%c {<<: [*%c, *%c, *%c, *%c], name: %c}\n", c, c-1, c-1, c-1, c-1, c)
	}
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d: v\n", i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"a line of 100 MB", "hostname: " + strings.Repeat("x", 100<<20), "larger than 4 MiB"},
		{"a line of 4 MB", "hostname: " + strings.Repeat("x", 4<<20-20), "not a host name"},
		{"nested lists", strings.Repeat("[", 1<<17), "nested deeper than 32"},
		{"nested mappings", strings.Repeat("{a: ", 1<<15), "nested deeper than 32"},
		{"nested dashes", strings.Repeat("- ", 1<<17), "nested deeper than 32"},
		{"nested blocks", func() string {
			var b strings.Builder
			for i := range 1000 {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.String()
		}(), "nested deeper than 32"},
		{"keys", keys(100_000), "more than 1000 keys"},
		{"keys in a flow mapping", "{" + strings.ReplaceAll(keys(100_000), "\n", ", ") + "}", "more than 1000 keys"},
		{"colons", strings.Repeat(": ", 1<<17), "nested deeper than 32"},
		{"questions", strings.Repeat("? ", 1<<17), "nested deeper"},
		{"anchors", strings.Repeat("&a ", 1<<18), "more than"},
		{"tags", strings.Repeat("! ", 600_000), "more than"},
		{"words", "hostname: [" + strings.Repeat("x,", 300_000) + "]", "more than 500000 words"},
		{"documents", strings.Repeat("---\n", 1<<14), ""},
		{"entries", "hostname: h\nlibvirt_vms:\n" + strings.Repeat("- a\n", 1<<13), "and 950 more\n\n1000 errors"},
		{"a billion laughs", laughs, "unknown key"},
		{"a billion laughs in options", "hostname: h\nos:\n  disk: /dev/disk/by-id/a\n  nixos:\n    file: /c\n    options:\n" + indent(strings.TrimPrefix(laughs, "hostname: h\n"), "      "), "more than 200000 values"},
		{"merges upon merges", merges, "more than 200000 values"},
		{"merge of itself", "hostname: h\nlibvirt_vms: [&a {<<: *a, name: a, state: absent}]", "nested deeper"},
		{"alias of itself", "hostname: h\nos: {nixos: {options: {a: &a [*a, *a]}}}", "nested deeper"},
		{"not UTF-8", "hostname: \xff\xfe", "not text in UTF-8"},
		{"UTF-16", "\xff\xfeh\x00o\x00", "not text in UTF-8"},
		{"line ends of an old Mac", "hostname: h\rseed: s\r", "a carriage return without a line feed"},
		{"binary", "\x7fELF\x00\x00", "the control character U+007F"},
		{"escape sequences", "hostname: \x1b[2J", "the control character U+001B"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			start := time.Now()
			_, err := Load("layout.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				text := fmt.Sprint(err)
				t.Errorf("Load = %s, want %q", text[:min(len(text), 2000)], c.want)
			}
			if err != nil && len(err.Error()) > 100_000 {
				t.Errorf("the error has %d bytes, want fewer than 100000", len(err.Error()))
			}
			t.Logf("%v", time.Since(start).Round(time.Millisecond))
		})
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

// TestByteOrderMark: Windows' editors write one.
func TestByteOrderMark(t *testing.T) {
	if l := mustLoad(t, "\ufeffhostname: h\r\nseed: s\r\n"); l.Hostname != "h" || l.Seed != "s" {
		t.Errorf("Load = %q, %q, want h, s", l.Hostname, l.Seed)
	}
}
