package spechost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hvinstall/testvm"
)

// Console is a person at the shell on a machine's serial console.
type Console struct{ *testvm.VM }

// Columns and Rows are the size of the console's terminal.
const Columns, Rows = 100, 40

// Expect waits until the console says it.
func (c Console) Expect(within time.Duration, expression string) error {
	_, err := c.VM.Expect(Slow(within), expression)
	return err
}

// Type types a line.
func (c Console) Type(line string) error { return c.Send(line + "\n") }

// Dialogue types a line after each text that is waited for; where the line is
// empty it types nothing.
func (c Console) Dialogue(within time.Duration, pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := c.Expect(within, pairs[i]); err != nil {
			return err
		}
		if pairs[i+1] == "" {
			continue
		}
		if err := c.Type(pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// The shell tells where a command's output begins and ends, and its exit code,
// by the titles of its window: a terminal shows nothing of them.
const (
	beginsAt = `\x1b\]0;begin\x07`
	endsAt   = `\x1b\]0;exit (\d+)\x07# `
	prompt   = `PS0='\e]0;begin\a' PS1='\[\e]0;exit $?\a\]# '`
)

// Settle makes the shell plain to follow: a short prompt, no bracketed paste,
// a known size.
func (c Console) Settle() error {
	if err := c.Type(fmt.Sprintf(`stty cols %d rows %d; export TERM=linux SYSTEMD_PAGER=; bind 'set enable-bracketed-paste off'; %s`, Columns, Rows, prompt)); err != nil {
		return err
	}
	return c.Expect(time.Minute, endsAt)
}

// Live waits for the shell of the live system.
func (c Console) Live(within time.Duration) error {
	if err := c.Dialogue(within, `hvinstall live system: turns this machine into a KVM hypervisor`, "", `root@hvinstall:~# `, ""); err != nil {
		return err
	}
	return c.Settle()
}

// failures are the lines in which systemd says what did not start, and why.
var failures = regexp.MustCompile(`\[(?: TIME |FAILED|DEPEND)\].*`)

// LogIn logs in to the installed host as its user, and becomes root.
func (c Console) LogIn(within time.Duration) error { return c.LogInTo("hypervisor", within) }

// LogInTo is LogIn to a host that has another name.
func (c Console) LogInTo(host string, within time.Duration) error {
	match, err := c.VM.Expect(Slow(within), host+` login: |emergency mode`)
	switch {
	case err != nil:
		return err
	case match[0] == "emergency mode":
		return fmt.Errorf("the host is in emergency mode:\n%s", strings.Join(failures.FindAllString(Plain(c.Transcript()), -1), "\n"))
	}
	if err := c.Type(User); err != nil {
		return err
	}
	if err := c.Dialogue(within, `Password: `, Password, User+`@`+host+`:~\$ `, "sudo -i",
		`password for `+User+`: `, Password, `root@`+host+`:~# `, ""); err != nil {
		return err
	}
	return c.Settle()
}

// Run types a command and returns what it prints and its exit code.
func (c Console) Run(within time.Duration, command string) (string, int, error) {
	if err := c.Type(command); err != nil {
		return "", 0, err
	}
	return c.Result(within)
}

// Result waits for the end of the command that was typed.
func (c Console) Result(within time.Duration) (string, int, error) {
	said, match, err := c.VM.Before(Slow(within), endsAt)
	if err != nil {
		return "", 0, err
	}
	code, err := strconv.Atoi(match[1])
	if at := regexp.MustCompile(beginsAt).FindStringIndex(said); at != nil {
		said = said[at[1]:]
	}
	return Plain(said), code, err
}

// Shows runs a command that must succeed and print the text.
func (c Console) Shows(within time.Duration, command, want string) error {
	out, code, err := c.Run(within, command)
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("%s: exit code %d:\n%s", command, code, out)
	case !strings.Contains(out, want):
		return fmt.Errorf("%s prints\n%s\nwithout %q", command, out, want)
	}
	return nil
}

// PowerOff powers off from the shell.
func (c Console) PowerOff() error {
	if err := c.Type("systemctl poweroff"); err != nil {
		return err
	}
	return c.Wait(Slow(5 * time.Minute))
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\x1b[=>]|\r`)

// Plain takes out what only a terminal understands.
func Plain(text string) string { return escapes.ReplaceAllString(text, "") }
