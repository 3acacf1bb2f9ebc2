package osimage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/step"
)

// localeStep sets the language and the keyboard, and makes the language's data.
func (p Plan) localeStep(env Env, after []string) step.Step {
	// Which files they are is known when the system is unpacked.
	files := func() step.Step {
		return editStep(env.Root, "os/locale", "set language "+p.Locale.Lang+" and keyboard "+p.Locale.Keymap, after, p.localeEdits(env.Root)...)
	}
	set := files()
	set.Check = func(ctx context.Context) (step.State, string, error) {
		state, why, err := files().Check(ctx)
		if err != nil || state != step.Done {
			return state, why, err
		}
		made, err := localeMade(ctx, env.Root, p.Locale.Lang)
		if err != nil {
			return step.Absent, "", err
		}
		if !made {
			return step.Absent, p.Locale.Lang + " is not made", nil
		}
		if !keyboardCached(env.Root) {
			return step.Absent, "the console's keyboard is not compiled", nil
		}
		return step.Done, "", nil
	}
	set.Do = func(ctx context.Context, report step.Reporter) error {
		if err := p.makeLocale(ctx, env.Root, report); err != nil {
			return err
		}
		if err := files().Do(ctx, report); err != nil {
			return err
		}
		// Else the first boot compiles it, which a slow machine takes minutes for.
		return host.Cmd{Argv: []string{"chroot", env.Root, "setupcon", "--save-only"}, Log: report.Log}.Run(ctx)
	}
	return set
}

// keyboardCached reports whether console-setup has compiled the keyboard after
// it was last changed: that is what its own service looks at.
func keyboardCached(root string) bool {
	source, err := os.Stat(filepath.Join(root, "etc/default/keyboard"))
	if err != nil {
		return false
	}
	compiled, err := os.Stat(filepath.Join(root, "etc/console-setup/cached_setup_terminal.sh"))
	return err == nil && compiled.ModTime().After(source.ModTime())
}

func (p Plan) makeLocale(ctx context.Context, root string, report step.Reporter) error {
	lang := p.Locale.Lang
	made, err := localeMade(ctx, root, lang)
	if err != nil || made {
		return err
	}
	if err := KnownLocale(root, configs.Locale{Lang: lang}); err != nil {
		return err
	}
	cmd := host.Cmd{Argv: []string{"chroot", root, "localedef", "-i", localeSource(lang), "-c", "-f", charset(lang), "-A", "/usr/share/locale/locale.alias", lang}, Log: report.Log}
	return cmd.Run(ctx)
}

// localeMade asks the system's own localedef what it has.
func localeMade(ctx context.Context, root, lang string) (bool, error) {
	if !needsLocaledef(lang) {
		return true, nil
	}
	if _, err := os.Stat(filepath.Join(root, "usr/lib/locale/locale-archive")); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	out, err := host.Cmd{Argv: []string{"chroot", root, "localedef", "--list-archive"}}.Output(ctx)
	if err != nil {
		return false, err
	}
	for have := range strings.FieldsSeq(string(out)) {
		if normalLang(have) == normalLang(lang) {
			return true, nil
		}
	}
	return false, nil
}

// normalLang is how glibc compares: en_GB.UTF-8 is en_GB.utf8.
func normalLang(lang string) string {
	name, rest, found := strings.Cut(lang, ".")
	if !found {
		return lang
	}
	set, modifier, hasModifier := strings.Cut(rest, "@")
	set = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(set))
	if hasModifier {
		set += "@" + modifier
	}
	return name + "." + set
}

// timezoneStep points /etc/localtime at the zone, see localtime(5), and writes
// /etc/timezone, which Debian keeps beside it.
func (p Plan) timezoneStep(env Env, after []string) step.Step {
	zone := p.Locale.Timezone
	link, target := filepath.Join(env.Root, "etc/localtime"), "/usr/share/zoneinfo/"+zone
	name := whole("/etc/timezone", 0o644, zone+"\n")
	return step.Step{
		ID: "os/timezone", Title: "set the time zone " + zone, After: after,
		Check: func(context.Context) (step.State, string, error) {
			have, err := os.Readlink(link)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
				return step.Absent, "it is not set", nil //nolint:nilerr // not a link: replaced
			}
			if strings.TrimPrefix(have, "..") != target {
				return step.Absent, "it is not set", nil
			}
			why, err := name.differs(env.Root)
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			if err := KnownLocale(env.Root, configs.Locale{Timezone: zone}); err != nil {
				return err
			}
			temporary := link + ".hvinstall"
			if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := os.Symlink(target, temporary); err != nil {
				return err
			}
			if err := os.Rename(temporary, link); err != nil {
				return err
			}
			return name.apply(env.Root)
		},
	}
}
