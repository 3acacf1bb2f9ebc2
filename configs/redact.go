package configs

import (
	"cmp"
	"encoding/json"
	"net/url"
	"reflect"
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
type Redactor struct{ text, json *strings.Replacer }

// Text is a text as it may be shown.
func (r Redactor) Text(s string) string { return r.text.Replace(s) }

// JSON is the same for the text of JSON.
func (r Redactor) JSON(b []byte) []byte { return []byte(r.json.Replace(string(b))) }

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
	var plain, quoted []string
	for _, secret := range order {
		plain = append(plain, secret, secrets[secret])
		quoted = append(quoted, inJSON(secret), inJSON(secrets[secret]))
	}
	return Redactor{strings.NewReplacer(plain...), strings.NewReplacer(quoted...)}
}

// inJSON is a text as encoding/json writes it, without its quotes.
func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(b[1 : len(b)-1])
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
	default:
	}
}
