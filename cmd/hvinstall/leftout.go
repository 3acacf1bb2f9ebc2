package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"hvinstall/configs"
	"hvinstall/host"

	"golang.org/x/term"
)

// complete gives the layout with the secrets that its copy on the stick lacks:
// a person is asked for them, before anything is looked at. A dry run goes on
// without.
func (f *installFlags) complete(ctx context.Context, t terminal, layout *configs.Layout) (*configs.Layout, error) {
	if layout.IsPublicCopy() && !f.dryRun {
		return nil, fmt.Errorf("%s is the copy for everybody's eyes, and no layout to run: its secrets are left out; use layout.yaml", f.plan)
	}
	f.leftOut = layout.LeftOut()
	if len(f.leftOut) == 0 {
		return layout, nil
	}
	var what []string
	for _, out := range f.leftOut {
		what = append(what, "  "+out.What)
	}
	list := strings.Join(what, "\n")
	if f.dryRun {
		fmt.Fprintf(t.err, "hvinstall: %s was kept without its secrets; a run asks for\n%s\n\n", showable(f.plan), showableLines(list))
		return layout, nil
	}
	input, isFile := t.in.(*os.File)
	if !isFile || !term.IsTerminal(int(input.Fd())) {
		return nil, fmt.Errorf("%s was kept without its secrets, and nobody is there to type them: use the layout itself. What is left out:\n%s", f.plan, list)
	}
	fmt.Fprintf(t.err, "This layout was kept without its secrets. Type each again; nothing of it is shown. @FILE takes it from a file.\n\n")
	if err := f.screenKeyboard(ctx, t, input, true); err != nil {
		return nil, err
	}
	answers := map[string]string{}
	for _, out := range f.leftOut {
		value, err := askLeftOut(ctx, t, input, out)
		if err != nil {
			return nil, err
		}
		answers[out.Mark] = value
	}
	fmt.Fprintln(t.err)
	return layout.Fill(answers)
}

func showableLines(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, showable(line))
	}
	return strings.Join(lines, "\n")
}

// askLeftOut asks for one secret. A password is typed as one types it at the
// login, twice; its hash is made anew.
func askLeftOut(ctx context.Context, t terminal, input *os.File, out configs.LeftOut) (string, error) {
	ask := func(prompt string) (string, error) {
		fmt.Fprint(t.err, showable(prompt))
		typed, err := answer(ctx, input, func() ([]byte, error) { return term.ReadPassword(int(input.Fd())) })
		fmt.Fprintln(t.err)
		return string(typed), err
	}
	prompt := out.What + ": "
	switch {
	case out.Form == "password_hash":
		prompt = "password (or its hash), " + out.What + ": "
	case out.Form == "user_data" || out.Form == "block":
		prompt = out.What + ", as @FILE: "
	case out.Part != "":
		prompt = out.What + ", all of " + out.Part + "...: "
	}
	for range tries {
		typed, err := ask(prompt)
		if err != nil {
			return "", err
		}
		if path, isFile := strings.CutPrefix(typed, "@"); isFile {
			text, err := os.ReadFile(path)
			if err != nil {
				fmt.Fprintf(t.err, "  %s\n", showable(err.Error()))
				continue
			}
			typed = string(text)
			if out.Form != "user_data" && out.Form != "block" {
				typed = strings.TrimSpace(typed)
			}
		}
		if typed == "" {
			continue
		}
		if out.Form != "password_hash" || strings.HasPrefix(typed, "$") {
			return typed, nil
		}
		again, err := ask("the same once more: ")
		if err != nil {
			return "", err
		}
		if again == typed {
			return hashPassword(ctx, typed)
		}
		fmt.Fprintln(t.err, "  the two differ; once more")
	}
	return "", fmt.Errorf("%s: nothing was given; nothing was written", out.What)
}

// hashPassword makes a crypt(5) hash by openssl, which comes with
// ca-certificates and reads it from its standard input.
func hashPassword(ctx context.Context, password string) (string, error) {
	if strings.ContainsAny(password, "\n\x00") {
		return "", errors.New("a password is one line")
	}
	out, err := (host.Cmd{Argv: []string{"openssl", "passwd", "-6", "-stdin"}, Stdin: bytes.NewReader([]byte(password + "\n"))}).Output(ctx)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w; give its hash instead", err)
	}
	return strings.TrimSpace(string(out)), nil
}
