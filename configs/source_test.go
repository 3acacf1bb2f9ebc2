package configs

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

var typeOfVM = reflect.TypeFor[VM]()

// TestShown has lines as an error may show them; ^ stands before the column's
// character, in the line and in what is shown of it.
func TestShown(t *testing.T) {
	for line, want := range map[string]string{
		"^key: value":                       "^key: value",
		"key: ^value":                       "key: ^value",
		"key: value^":                       "key: value^",
		"password: ^hunter2":                "password: ^<hidden>",
		"^password: hunter2":                "^password: <hidden>",
		"password: hun^ter2":                "password: ^<hidden>",
		"password: hunter2 ^and more":       "password: ^<hidden>",
		"{password: hunter2, ^x: y}":        "{password: <hidden>, ^x: y}",
		"{password: 'hunter2, {', ^x: y}":   "{password: <hidden>, ^x: y}",
		"{a: {api_token: hunter2}, ^x: y}":  "{a: {api_token: <hidden>}, ^x: y}",
		"- $6$abc$hunter2 ^# x":             "- <hidden> ^# x",
		"url: ^https://me:hunter2@h/":       "url: ^https://<hidden>@h/",
		"url: https://me:hunter2@h/^x":      "url: https://<hidden>@h/^x",
		"password_hash: &a ^hunter2":        "password_hash: ^<hidden>",
		"{password_hash: [hunter2], ^x: y}": "{password_hash: ^<hidden>",
		"a: b\r^":                           "a: b^",
		"a\x1bb: ^c":                        "a�b: ^c",
		"a\u202eb: ^c":                      "a�b: ^c",
		"ünï: ^日本":                          "ünï: ^日本",
		strings.Repeat("a", 150) + "^" + strings.Repeat("b", 150): "…" + strings.Repeat("a", 50) + "^" + strings.Repeat("b", 50) + "…",
		strings.Repeat("a", 150) + "^":                            "…" + strings.Repeat("a", 100) + "^",
		"^" + strings.Repeat("a", 150):                            "^" + strings.Repeat("a", 100) + "…",
	} {
		before, after, _ := strings.Cut(line, "^")
		got, column := shown(before+after, len([]rune(before))+1, 0)
		runes := []rune(got)
		if column < 1 || column > len(runes)+1 {
			t.Errorf("shown(%q): column %d of %q", line, column, got)
			continue
		}
		if marked := string(runes[:column-1]) + "^" + string(runes[column-1:]); marked != want {
			t.Errorf("shown(%q) = %q, want %q", line, marked, want)
		}
	}
}

// TestErrorsAs: a caller finds each error with its place and its parts.
func TestErrorsAs(t *testing.T) {
	_, err := Load("layout.yaml", []byte("hostname: h\nos: {disk: /dev/sda}\n"))
	var one *Error
	if !errors.As(err, &one) {
		t.Fatalf("Load = %v, want an *Error in it", err)
	}
	want := Error{File: "layout.yaml", Line: 2, Column: 1, Message: "os needs image or nixos: what is to be installed", Hint: "add image: {url: ...} or nixos: {flake: ...}", Source: "os: {disk: /dev/sda}", caret: 1}
	if *one != want {
		t.Errorf("the first error is %+v, want %+v", *one, want)
	}
}
