package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/host/web"
	"hvinstall/osimage/live"
)

const (
	unattendedLog     = "/run/hvinstall/unattended.log"
	unattendedFailure = "/run/hvinstall/unattended.failure"
	unattendedPlan    = "/run/hvinstall/layout.yaml"
)

// runUnattended carries out the request of the kernel's command line, shows it
// on every console, and leaves the reason where the login greets if it fails.
func runUnattended(ctx context.Context) int {
	screen := live.Consoles()
	log, err := os.OpenFile(unattendedLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Fprintln(screen, "hvinstall:", showable(err.Error()))
		return exitFailed
	}
	defer log.Close()
	out := io.MultiWriter(screen, log)
	_ = os.Remove(unattendedFailure)

	request, code, err := attempt(ctx, out)
	if err != nil {
		fmt.Fprintf(out, "\nhvinstall: %s\n", showable(err.Error()))
		if err := os.WriteFile(unattendedFailure, []byte(showable(err.Error())+"\n"), 0o600); err != nil {
			fmt.Fprintln(out, "hvinstall:", showable(err.Error()))
		}
		return max(code, exitFailed)
	}
	if reminder := passphraseOnStick(request); reminder != "" {
		fmt.Fprintf(out, "\n%s\n", reminder)
	}
	verb := map[live.Then]string{live.Reboot: "reboot", live.PowerOff: "poweroff"}[request.Then]
	if verb == "" {
		fmt.Fprintf(out, "\nDone. Take the stick out and type: reboot\n")
		return exitDone
	}
	fmt.Fprintf(out, "\nDone: %s, as hvinstall.then= asks.\n", verb)
	if err := (host.Cmd{Argv: []string{"systemctl", verb}}).Run(ctx); err != nil {
		fmt.Fprintln(out, "hvinstall:", showable(err.Error()))
		return exitFailed
	}
	return exitDone
}

func attempt(ctx context.Context, out io.Writer) (live.Request, int, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return live.Request{}, exitFailed, err
	}
	request, err := live.ParseRequest(string(line))
	if err != nil {
		return request, exitUsage, err
	}
	fmt.Fprintf(out, "\nhvinstall: unattended installation by the kernel's command line: %s\n\n", showable(request.Plan))
	if request.Clear {
		fmt.Fprintf(out, "hvinstall: the passphrase came over the network, where others may have read it: change it once the host runs (docs/recovery.md)\n\n")
	}
	plan, code, err := namedPlan(ctx, out, request)
	if err != nil {
		return request, code, err
	}
	self, err := os.Executable()
	if err != nil {
		return request, exitFailed, err
	}
	// What it says last is the reason, when it fails.
	tail := &lastLines{}
	cmd := exec.CommandContext(ctx, self, request.Arguments(plan)...)
	cmd.Stdout, cmd.Stderr = out, io.MultiWriter(out, tail)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if request.Passphrase != "" {
		secret, err := passphrasePipe(request.Passphrase)
		if err != nil {
			return request, exitFailed, err
		}
		defer secret.Close()
		cmd.ExtraFiles = []*os.File{secret}
	}
	if err := cmd.Run(); err != nil {
		code := cmd.ProcessState.ExitCode()
		reason := strings.TrimSpace(tail.String())
		switch {
		case reason != "":
		case code == exitRefused:
			// The reasons are part of the preview, which is on the screen and in
			// the log.
			reason = "refused for safety; the reasons: grep -A99 REFUSED " + unattendedLog
		default:
			reason = err.Error()
		}
		return request, code, errors.New(reason)
	}
	return request, exitDone, nil
}

// passphraseOnStick reminds of the file that opens the host and is in a pocket.
func passphraseOnStick(request live.Request) string {
	if request.Passphrase == "" || request.Clear {
		return ""
	}
	if _, err := os.Stat(request.Passphrase); err != nil {
		return ""
	}
	return fmt.Sprintf("The host's passphrase is still on the stick, where anybody who finds it can read it: delete %s, and hvinstall.passphrase_file= from loader/entries/live.conf.", showable(request.Passphrase))
}

// passphrasePipe is a pipe with the content of the passphrase file in it.
func passphrasePipe(path string) (*os.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the passphrase: %w", err)
	}
	defer clear(data)
	const most = 4096 // fits into a pipe that nobody reads yet
	if len(data) == 0 || len(data) > most {
		return nil, fmt.Errorf("%s holds no passphrase: it has %d bytes", path, len(data))
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	if _, err := write.Write(data); err != nil {
		read.Close()
		return nil, fmt.Errorf("the passphrase: %w", err)
	}
	return read, nil
}

// lastLines keeps the end of what is written to it.
type lastLines struct{ kept []byte }

func (l *lastLines) Write(p []byte) (int, error) {
	const most = 2000
	l.kept = append(l.kept, p...)
	if extra := len(l.kept) - most; extra > 0 {
		l.kept = slices.Clone(l.kept[extra:])
		if i := bytes.IndexByte(l.kept, '\n'); i >= 0 {
			l.kept = l.kept[i+1:]
		}
	}
	return len(p), nil
}

func (l *lastLines) String() string { return string(l.kept) }

const (
	// largestPlan bounds what is taken from the network as a layout.
	largestPlan = 4 << 20
	// stallOfPlan is how long its server may be silent.
	stallOfPlan = 20 * time.Second
)

// fetchPlan asks again for two minutes: a machine that has just started may
// not have its address yet, nor the time.
func fetchPlan(ctx context.Context, client *web.Client, out io.Writer, url string) ([]byte, error) {
	defer client.Close()
	deadline := time.Now().Add(2 * time.Minute)
	told := false
	for {
		data, err := client.Text(ctx, url, largestPlan, stallOfPlan)
		var redirect *web.RedirectError
		if err == nil || errors.As(err, &redirect) || time.Now().After(deadline) || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("fetching the layout: %w", err)
			}
			return data, err
		}
		if !told {
			fmt.Fprintf(out, "waiting for %s (%s)\n", showable(url), showable(err.Error()))
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// namedPlan is a local file with the plan that the command line names. What has a
// sum is read once, and what was compared is what is used.
func namedPlan(ctx context.Context, out io.Writer, request live.Request) (string, int, error) {
	var data []byte
	var err error
	switch {
	case request.IsURL():
		data, err = fetchPlan(ctx, web.New("", stallOfPlan), out, request.Plan)
	case request.Sum != "":
		data, err = os.ReadFile(request.Plan)
	default:
		return request.Plan, exitDone, nil
	}
	if err != nil {
		return "", exitFailed, err
	}
	if err := isNamed(data, request.Sum); err != nil {
		return "", exitRefused, err
	}
	if err := host.WriteFile(unattendedPlan, data, 0o600); err != nil {
		return "", exitFailed, err
	}
	return unattendedPlan, exitDone, nil
}

// isNamed compares a layout with the sum that the kernel's command line has.
func isNamed(data []byte, sum string) error {
	if have := sha256.Sum256(data); sum != "" && hex.EncodeToString(have[:]) != sum {
		return fmt.Errorf("the layout's sha256 is %x, and hvinstall.plan_sha256= says %s: it is another file, or somebody else answered; nothing was written", have, sum)
	}
	return nil
}
