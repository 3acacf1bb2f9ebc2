package osimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hvinstall/configs"
)

func TestKnownLocale(t *testing.T) {
	root := t.TempDir()
	if err := KnownLocale(root, configs.Locale{Lang: "xx_XX.UTF-8", Timezone: "Mars/Olympus"}); err != nil {
		t.Errorf("a system without lists: %v", err)
	}
	for _, name := range []string{"zoneinfo/Europe/Brussels", "i18n/locales/en_GB", "i18n/locales/de_DE@euro"} {
		path := filepath.Join(root, "usr/share", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ lang, zone, want string }{
		{"en_GB.UTF-8", "Europe/Brussels", ""},
		{"de_DE.ISO-8859-15@euro", "Europe/Brussels", ""},
		{"de_DE@euro", "", ""},
		{"C.UTF-8", "Europe/Brussels", ""},
		{"", "", ""},
		{"en_GB.UTF-8", "Europe/Bruxelles", "locale.timezone Europe/Bruxelles"},
		{"en_XX.UTF-8", "Europe/Brussels", "glibc has no locale en_XX"},
	} {
		err := KnownLocale(root, configs.Locale{Lang: c.lang, Timezone: c.zone})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s: %v, want %q", c.lang, c.zone, err, c.want)
		}
	}
}
