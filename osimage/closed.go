package osimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// sshdConf: of two values of a keyword, sshd takes the first.
const sshdConf = `# Written by hvinstall; see sshd_config(5). Passwords are for the console.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
X11Forwarding no
`

const sshdConfPath = "/etc/ssh/sshd_config.d/hvinstall.conf"

// sshStep makes sshd take keys alone, of users and not of root.
func sshStep(env Env, after []string) step.Step {
	return told(env, editStep(env.Root, "os/ssh", "take keys alone for ssh", after, whole(sshdConfPath, 0o644, sshdConf)),
		sshdDiffers,
		func(ctx context.Context, report step.Reporter) error {
			if !sshdRuns() {
				return nil // it reads them when it starts
			}
			if err := (host.Cmd{Argv: []string{"sshd", "-t"}, Log: report.Log}).Run(ctx); err != nil {
				return fmt.Errorf("sshd finds fault with its configuration: %w", err)
			}
			return host.Cmd{Argv: []string{"systemctl", "try-reload-or-restart", "ssh.service"}, Log: report.Log}.Run(ctx)
		})
}

// sshdRuns: its folder in /run is ssh.service's.
func sshdRuns() bool {
	_, err := os.Stat("/run/sshd")
	return err == nil && len(host.Missing("sshd")) == 0
}

// sshdDiffers asks sshd what it takes of all its files: a file that it reads
// before ours may say otherwise.
func sshdDiffers(ctx context.Context) (string, error) {
	if os.Geteuid() != 0 || !sshdRuns() {
		return "", nil // it reads its host keys, and wants its folder
	}
	out, err := host.Cmd{Argv: []string{"sshd", "-T"}}.Output(ctx)
	if err != nil {
		return "", fmt.Errorf("asking sshd for its configuration: %w", err)
	}
	return sshdOverruled(string(out)), nil
}

// sshdOverruled compares what 'sshd -T' prints with sshdConf.
func sshdOverruled(effective string) string {
	lines := strings.Split(strings.ToLower(effective), "\n")
	for want := range strings.Lines(strings.ToLower(sshdConf)) {
		want = strings.TrimSpace(want)
		if !strings.HasPrefix(want, "#") && !slices.Contains(lines, want) {
			word, _, _ := strings.Cut(want, " ")
			return fmt.Sprintf("another file overrules %q of %s; find it: grep -ri %s /etc/ssh/sshd_config.d /etc/ssh/sshd_config", want, sshdConfPath, word)
		}
	}
	return ""
}

// resolvedConf: names on the LAN are asked of its DNS server, and never of
// whoever answers first.
const resolvedConf = "# Written by hvinstall; see resolved.conf(5).\n[Resolve]\nLLMNR=no\nMulticastDNS=no\n"

// masked are units that serve NFSv3 alone. nfs-server.service starts rpcbind
// whether it needs it or not.
var masked = []string{"rpcbind.service", "rpcbind.socket", "rpc-statd.service", "rpc-statd-notify.service"}

// silentStep ends what answers the LAN and is needed by nothing.
func silentStep(env Env, after []string) step.Step {
	s := editStep(env.Root, "os/silent", "answer no LLMNR, mDNS and rpcbind", after,
		whole("/etc/systemd/resolved.conf.d/hvinstall.conf", 0o644, resolvedConf))
	check, do := s.Check, s.Do
	s.Check = func(ctx context.Context) (step.State, string, error) {
		state, why, err := check(ctx)
		for _, unit := range masked {
			there, own := isMasked(env.Root, unit)
			switch {
			case own:
				return step.Foreign, unitPath(unit) + " is a unit of this host's owner; move it away, or NFSv3's services stay reachable", nil
			case !there && state == step.Done:
				state, why = step.Absent, unit+" is not masked"
			}
		}
		return state, why, err
	}
	s.Do = func(ctx context.Context, report step.Reporter) error {
		if err := do(ctx, report); err != nil {
			return err
		}
		for _, unit := range masked {
			path := filepath.Join(env.Root, unitPath(unit))
			if err := os.Symlink(os.DevNull, path); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("masking %s: %w", unit, err)
			}
		}
		return nil
	}
	return told(env, s, nil, systemctl([]string{"daemon-reload"}, append([]string{"stop"}, masked...), []string{"try-restart", "systemd-resolved.service"}))
}

// systemctl runs it once for each of these arguments, and stops at an error.
func systemctl(arguments ...[]string) func(context.Context, step.Reporter) error {
	return func(ctx context.Context, report step.Reporter) error {
		for _, a := range arguments {
			if err := (host.Cmd{Argv: append([]string{"systemctl"}, a...), Log: report.Log}).Run(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func unitPath(unit string) string { return "/etc/systemd/system/" + unit }

// isMasked reports whether the unit is masked, and whether something of the
// owner's is in the mask's place.
func isMasked(root, unit string) (there, own bool) {
	path := filepath.Join(root, unitPath(unit))
	if _, err := os.Lstat(path); err != nil {
		return false, false
	}
	target, err := os.Readlink(path)
	there = err == nil && target == os.DevNull
	return there, !there
}

// untold is where the running host keeps which services still read their old
// files: a run may end between the writing and the telling.
const untold = "/run/hvinstall/untold"

// told makes a step also tell the running services of what it has written, on
// the installed host. differs, if given, asks them whether they heed it.
func told(env Env, s step.Step, differs func(context.Context) (string, error), tell func(context.Context, step.Reporter) error) step.Step {
	if env.Root != "/" {
		return s
	}
	mark := filepath.Join(untold, filepath.Base(s.ID))
	check, do := s.Check, s.Do
	s.Check = func(ctx context.Context) (step.State, string, error) {
		state, why, err := check(ctx)
		if err != nil || state != step.Done {
			return state, why, err
		}
		if _, err := os.Lstat(mark); err == nil {
			return step.Absent, "the running services are not told yet", nil
		}
		if differs == nil {
			return state, why, nil
		}
		if why, err := differs(ctx); err != nil || why != "" {
			return step.Foreign, why, err
		}
		return state, why, nil
	}
	s.Do = func(ctx context.Context, report step.Reporter) error {
		if err := host.WriteFile(mark, nil, 0o600); err != nil {
			return err
		}
		if err := do(ctx, report); err != nil {
			return err
		}
		if err := tell(ctx, report); err != nil {
			return err
		}
		return os.Remove(mark)
	}
	return s
}
