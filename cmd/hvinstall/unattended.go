package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"hvinstall/host"
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
	plan := request.Plan
	if request.IsURL() {
		data, err := fetchPlan(ctx, out, plan)
		if err != nil {
			return request, exitFailed, err
		}
		plan = unattendedPlan
		if err := host.WriteFile(plan, data, 0o600); err != nil {
			return request, exitFailed, err
		}
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

// largestPlan bounds what is taken from the network as a layout.
const largestPlan = 4 << 20

// fetchPlan asks again for two minutes: a machine that has just started may
// not have its address yet.
func fetchPlan(ctx context.Context, out io.Writer, url string) ([]byte, error) {
	client := &http.Client{Timeout: 20 * time.Second}
	deadline := time.Now().Add(2 * time.Minute)
	told := false
	for {
		data, err := fetchOnce(ctx, client, url)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
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

func fetchOnce(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answered %s", url, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, largestPlan+1))
	if err == nil && len(data) > largestPlan {
		err = fmt.Errorf("%s is larger than %d MiB: not a layout", url, largestPlan>>20)
	}
	return data, err
}
