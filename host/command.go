// Package host is the only door to other programs, mounts, atomic files and
// locks.
//
// Secrets go to programs by file descriptor (Cmd.Secrets) and never by argv or
// environment. It decides nothing.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"
)

// Cmd is a program to run. Its argv is shown to people and kept in logs.
type Cmd struct {
	Argv    []string
	Stdin   io.Reader
	Stdout  io.Writer // nil: collected and returned by Output
	Stderr  io.Writer // nil: collected for the error
	Dir     string
	Env     []string // added to a minimal environment; never a secret
	Secrets [][]byte // each is readable by the program as /proc/self/fd/3, 4, …; see SecretPath
	// Confined is set for a program that reads what came from outside.
	Confined *Confinement
	Log      func(string, ...any) // gets the command as a user could type it; may be nil
}

// SecretPath is the path by which a program reads Secrets[i].
func SecretPath(i int) string { return fmt.Sprintf("/proc/self/fd/%d", 3+i) }

// CommandError is a program that failed, with what it said.
type CommandError struct {
	Argv   []string
	Stderr string
	Err    error
}

func (e *CommandError) Error() string {
	s := shellquote.Join(e.Argv...) + ": " + e.Err.Error()
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

func (e *CommandError) Unwrap() error { return e.Err }

// ExitCode is the program's exit code, or -1 when it did not exit by itself.
func (e *CommandError) ExitCode() int {
	var exit *exec.ExitError
	if errors.As(e.Err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// Run runs the program and waits for it.
func (c Cmd) Run(ctx context.Context) error {
	_, err := c.Output(ctx)
	return err
}

// Output runs the program and returns what it wrote to standard output. When
// ctx ends, the program gets SIGTERM, and SIGKILL ten seconds later.
func (c Cmd) Output(ctx context.Context) (output []byte, err error) {
	if c.Log != nil {
		c.Log("%s", shellquote.Join(c.Argv...))
	}
	argv := c.Argv
	if c.Confined != nil {
		confined, undo, err := c.Confined.argv(c.Argv)
		if err != nil {
			return nil, err
		}
		argv = confined
		defer func() { err = errors.Join(err, undo()) }()
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = c.Dir, c.Stdin
	// LC_ALL=C: some messages are read by our code, and an error that a person
	// looks up is found in English.
	cmd.Env = append([]string{"PATH=" + searchPath(), "LC_ALL=C", "HOME=/root"}, c.Env...)
	// A run that is killed must not leave a program behind that goes on writing
	// to a disk while the next run looks at it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	for _, secret := range c.Secrets {
		file, err := secretFile(secret)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return stdout.Bytes(), &CommandError{Argv: c.Argv, Stderr: strings.TrimSpace(stderr.String()), Err: err}
	}
	return stdout.Bytes(), nil
}

// secretFile holds a secret in sealed anonymous memory, which never reaches a
// disk other than by swap (live systems have none).
func secretFile(secret []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("hvinstall-secret", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "secret")
	if _, err := file.Write(secret); err != nil {
		file.Close()
		return nil, fmt.Errorf("writing a secret to memory: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		file.Close()
		return nil, fmt.Errorf("rewinding a secret: %w", err)
	}
	return file, nil
}

// Missing returns those of the programs that are not installed, sorted.
func Missing(programs ...string) []string {
	var missing []string
	for _, p := range programs {
		if _, err := LookPath(p); err != nil && !slices.Contains(missing, p) {
			missing = append(missing, p)
		}
	}
	slices.Sort(missing)
	return missing
}

// LookPath finds a program, also in the sbin folders that a user's PATH lacks.
func LookPath(program string) (string, error) {
	if strings.Contains(program, "/") {
		return exec.LookPath(program)
	}
	for dir := range strings.SplitSeq(searchPath(), ":") {
		path := dir + "/" + program
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", program, exec.ErrNotFound)
}

func searchPath() string {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/run/current-system/sw/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if !slices.Contains(strings.Split(path, ":"), dir) {
			path += ":" + dir
		}
	}
	return strings.TrimPrefix(path, ":")
}
