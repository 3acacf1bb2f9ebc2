package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"hvinstall/testvm"
)

// console is a shell on the machine's serial console.
type console struct {
	vm    *testvm.VM
	marks int
}

// slow stretches a time limit on a machine that others share:
// HVINSTALL_SLOW=3 makes it three times as long.
func slow(d time.Duration) time.Duration {
	if factor, err := strconv.Atoi(os.Getenv("HVINSTALL_SLOW")); err == nil && factor > 1 {
		return d * time.Duration(factor)
	}
	return d
}

func (c *console) expect(within time.Duration, expression string) error {
	_, err := c.vm.Expect(slow(within), expression)
	return err
}

// dialogue is a line to type after each text that is waited for.
func (c *console) dialogue(within time.Duration, pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := c.expect(within, pairs[i]); err != nil {
			return err
		}
		if pairs[i+1] == "" {
			continue
		}
		if err := c.vm.Send(pairs[i+1] + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// run types a command, as a person would, and returns what it prints and its
// exit code. The mark cannot be found in the echo of what is typed.
func (c *console) run(within time.Duration, command string) (string, int, error) {
	c.marks++
	if err := c.vm.Send(fmt.Sprintf("%s; echo \"[exit\"\" $? %d]\"\n", command, c.marks)); err != nil {
		return "", 0, err
	}
	match, err := c.vm.Expect(slow(within), fmt.Sprintf(`(?s)(.*)\[exit (\d+) %d\]`, c.marks))
	if err != nil {
		return "", 0, err
	}
	code, err := strconv.Atoi(match[2])
	return plain(match[1]), code, err
}

// shows runs a command that must succeed and print the text.
func (c *console) shows(within time.Duration, command, want string) error {
	out, code, err := c.run(within, command)
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

// settle makes a shell's output plain to follow: a short prompt, no bracketed
// paste, the size of the recording.
func (c *console) settle() error {
	line := fmt.Sprintf("stty cols %d rows %d; export TERM=linux SYSTEMD_PAGER= ; bind 'set enable-bracketed-paste off'; PS1='# '\n", columns, rows)
	if err := c.vm.Send(line); err != nil {
		return err
	}
	_, _, err := c.run(time.Minute, "true")
	return err
}

// login logs in to the installed host and becomes root.
func (c *console) login() error {
	if err := c.dialogue(8*time.Minute, `hypervisor login: `, user, `Password: `, password, `me@hypervisor:~\$ `, "sudo -i",
		`password for me: `, password, `root@hypervisor:~# `, ""); err != nil {
		return err
	}
	return c.settle()
}
