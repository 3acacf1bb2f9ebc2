package osimage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/configs"
)

// KnownLocale finds fault with a language or a time zone that the system at root
// has not. The live system has what the host will have, so this is known before
// a disk is written to. A system without a list of them finds no fault.
func KnownLocale(root string, l configs.Locale) error {
	if missing(root, "usr/share/zoneinfo", l.Timezone) {
		return fmt.Errorf("locale.timezone %s is not a zone that the system knows; see timedatectl list-timezones", l.Timezone)
	}
	if needsLocaledef(l.Lang) && missing(root, "usr/share/i18n/locales", localeSource(l.Lang)) {
		return fmt.Errorf("locale.lang %s: glibc has no locale %s; choose one of those in /usr/share/i18n/SUPPORTED", l.Lang, localeSource(l.Lang))
	}
	return nil
}

// missing reports whether a folder that is there has not that file.
func missing(root, folder, name string) bool {
	if name == "" {
		return false
	}
	if _, err := os.Stat(filepath.Join(root, folder)); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(root, folder, name))
	return errors.Is(err, fs.ErrNotExist)
}

// localeSource is the file that localedef(1) makes a language from: en_GB of
// en_GB.UTF-8, de_DE@euro of de_DE.ISO-8859-15@euro.
func localeSource(lang string) string {
	name, modifier, found := strings.Cut(lang, "@")
	name, _, _ = strings.Cut(name, ".")
	if found {
		name += "@" + modifier
	}
	return name
}
