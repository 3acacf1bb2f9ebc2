package keymap

import (
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for name, want := range map[string]XKB{
		"us":                   {Layout: "us"},
		"be":                   {Layout: "be"},
		"be-latin1":            {Layout: "be"},
		"de-latin1-nodeadkeys": {Layout: "de", Variant: "nodeadkeys"},
		"de-nodeadkeys":        {Layout: "de", Variant: "nodeadkeys"},
		"uk":                   {Layout: "gb"},
		"fr-bepo":              {Layout: "fr", Variant: "bepo"},
		"us-intl":              {Layout: "us", Variant: "intl"},
		"us-alt-intl":          {Layout: "us", Variant: "alt-intl"},
		"dvorak":               {Layout: "us", Variant: "dvorak"},
		"br-abnt2":             {Layout: "br"},
		"jp106":                {Layout: "jp"},
		"sv-latin1":            {Layout: "se"},
		"ru":                   {"us,ru", ",", "grp:alt_shift_toggle"},
		"bg_pho-utf8":          {"us,bg", ",phonetic", "grp:alt_shift_toggle"},
		"sr-latin":             {Layout: "rs", Variant: "latin"},
	} {
		if have, found := Find(name); !found || have != want {
			t.Errorf("Find(%q) = %+v, %v; want %+v", name, have, found, want)
		}
	}
	for _, name := range []string{"", "belgian", "be-nosuch", "-", "us-", "us,ru", "de-latin1-nodeadkey"} {
		if have, found := Find(name); found {
			t.Errorf("Find(%q) = %+v: there is no such keyboard", name, have)
		}
	}
}

// ofExtras are variants that X has in its symbols and not in its list.
var ofExtras = strings.Fields("carpalx carpalx-full 3l adnw bone koy neo_qwertz wang tt bak prog phonetic_dvorak dvorak_a5")

func TestEveryConsoleKeymapIsAnXKeyboard(t *testing.T) {
	for name, keyboard := range console {
		layout, variant, _ := strings.Cut(keyboard, " ")
		variants, found := xkb()[layout]
		if !found {
			t.Errorf("%s: X has no layout %s", name, layout)
		}
		if variant != "" && !slices.Contains(variants, variant) && !slices.Contains(ofExtras, variant) {
			t.Errorf("%s: X has no variant %s of %s", name, variant, layout)
		}
	}
}

func TestLike(t *testing.T) {
	have := Like("be-nosuch")
	for _, want := range []string{"be", "be-latin1", "be-nodeadkeys"} {
		if !slices.Contains(have, want) {
			t.Errorf("Like(be-nosuch) = %q, without %s", have, want)
		}
	}
	if have := Like("nonsense"); len(have) != 0 {
		t.Errorf("Like(nonsense) = %q", have)
	}
}
