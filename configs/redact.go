package configs

import (
	"cmp"
	"encoding/json"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// hiddenText stands in what is shown for text that is left out.
const hiddenText = "(hidden)"

// shortestSecret is the length from which text is looked for in what is shown:
// a shorter one would be found in words.
const shortestSecret = 6

// Redactor takes out of a text what the layout holds and the public copy does
// not: an error of another program may have the whole of an address in it.
type Redactor struct {
	text *strings.Replacer
	// exact is for a text that is a secret and nothing else, however short.
	exact map[string]string
}

// Text is a text as it may be shown. It is without the layout's secrets, and
// without what an address may hold that no layout names, as one that a server
// leads on to.
func (r Redactor) Text(s string) string {
	if r.text != nil {
		s = r.text.Replace(s)
	}
	return PublicText(s)
}

var literalInJSON = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// JSON is the same for the text of JSON.
func (r Redactor) JSON(b []byte) []byte {
	return literalInJSON.ReplaceAllFunc(b, func(literal []byte) []byte {
		var text string
		if json.Unmarshal(literal, &text) != nil {
			return literal
		}
		shown, known := r.exact[text]
		if !known {
			shown = r.Text(text)
		}
		if shown == text {
			return literal
		}
		out, err := json.Marshal(shown)
		if err != nil {
			return []byte(`""`)
		}
		return out
	})
}

var (
	// An escaped character, as in an address that is quoted, is a part of it.
	urlInText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://(?:\\.|[^\s"<>\\])+`)
	// What net/http and net/url say of an address that has no host, as a
	// redirect's, or that they cannot read.
	quotedInText = regexp.MustCompile(`\b(parse|Location header|Get|Head) "((?:\\.|[^"\\])*[?#@](?:\\.|[^"\\])*)"`)
)

// PublicText is a text with the public part of every address that is in it.
// The errors of net/http name the address that they were led to, with its query.
func PublicText(s string) string {
	if !strings.ContainsAny(s, "?#@") {
		return s
	}
	s = quotedInText.ReplaceAllStringFunc(s, func(found string) string {
		parts := quotedInText.FindStringSubmatch(found)
		if shown := PublicURL(parts[2]); shown != "" {
			return parts[1] + ` "` + shown + `"`
		}
		return parts[1] + " " + hiddenText
	})
	if !strings.Contains(s, "://") {
		return s
	}
	return urlInText.ReplaceAllStringFunc(s, func(found string) string {
		address := strings.TrimRight(found, ".,;:!?)]}'`\\\"")
		shown := PublicURL(address)
		if shown == "" {
			scheme, _, _ := strings.Cut(address, "://")
			shown = scheme + "://" + hiddenText
		}
		return shown + found[len(address):]
	})
}

// Redactor is for what is shown of a run with this layout.
func (l *Layout) Redactor() Redactor {
	secrets := map[string]string{}
	collectSecrets(newDecoder().shapes, reflect.ValueOf(l).Elem(), secrets)
	var order []string
	for secret := range secrets {
		if len(secret) >= shortestSecret {
			order = append(order, secret)
		}
	}
	// Of two that begin alike the longer one is meant.
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var plain []string
	for _, secret := range order {
		plain = append(plain, secret, secrets[secret])
	}
	return Redactor{strings.NewReplacer(plain...), secrets}
}

func collectSecrets(s shapes, v reflect.Value, secrets map[string]string) {
	for _, f := range s.of(v.Type()).fields {
		collectFrom(s, f, v.Field(f.index), secrets)
	}
}

func collectFrom(s shapes, f field, v reflect.Value, secrets map[string]string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collectFrom(s, f, v.Elem(), secrets)
		}
	case reflect.Struct:
		collectSecrets(s, v, secrets)
	case reflect.Slice:
		for i := range v.Len() {
			collectFrom(s, f, v.Index(i), secrets)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			collectFrom(s, f, v.MapIndex(key), secrets)
		}
	case reflect.String:
		text := v.String()
		shown, ok := publicText(f, text)
		if f.form == "ssh_key" || f.form == "nix_import" { // names and public keys
			return
		}
		if f.form == "user_data" || f.form == "block" {
			if strings.HasPrefix(text, "/") && !strings.Contains(text, "\n") {
				return // the path of a file
			}
			shown, ok = hiddenText, true
		}
		if !ok {
			shown = hiddenText
		}
		if shown == text {
			return
		}
		secrets[text] = shown
		// As net/url writes it in its errors.
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			secrets[u.String()], secrets[u.Redacted()] = shown, shown
		}
		for _, part := range addressSecrets(text) {
			secrets[part] = hiddenText
		}
	default:
	}
}

// addressSecrets are the parts of an address that its public form lacks: a
// server or a proxy may say one of them alone.
func addressSecrets(text string) []string {
	at := urlInText.FindString(text)
	u, err := url.Parse(at)
	if at == "" || err != nil {
		return nil
	}
	parts := []string{u.RawQuery, u.Fragment}
	if password, has := u.User.Password(); has {
		parts = append(parts, password, u.User.String())
	}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	return slices.DeleteFunc(parts, func(part string) bool { return part == "" })
}
