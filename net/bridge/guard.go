package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"hvinstall/host"
)

// The guard is a second process that waits while the move is under way. When
// the first one dies (a crash, the OOM killer, kill -9) or does not come to an
// end in time, the guard puts everything back: the person whose SSH session
// went through the NIC could not.

// watch is what the guard reads, one line.
type watch struct {
	Former *former       `json:"former"`
	Env    Env           `json:"env"`
	Limit  time.Duration `json:"limit"`
}

const guardDone = "done\n"

// Guard is the guard's whole program: a command line that Env.Guard names must
// call it with its standard input. It returns when the move came to its end,
// or after it put everything back.
func Guard(stdin io.Reader) error {
	// The session that started the run may be torn down by the very move.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("guard: reading what to watch: %w", err)
	}
	var w watch
	if err := json.Unmarshal(line, &w); err != nil || w.Former == nil {
		return errors.Join(errors.New("guard: what to watch is not of the known form"), err)
	}
	// A later run waits until this one is out of the way.
	lock, err := host.AcquireLock(guardLock(w.Env, w.Former.Bridge))
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	defer func() { _ = lock.Release() }()
	word := make(chan string, 1)
	go func() {
		line, _ := in.ReadString('\n') // an end without a word is the case that matters
		word <- line
	}()
	select {
	case line := <-word:
		if line == guardDone {
			return nil
		}
	case <-time.After(w.Limit):
	}
	return rollback(w.Former, w.Env)
}

func guardLock(env Env, bridge string) string {
	return filepath.Join(env.State, "net-"+bridge+".guard")
}

// awaitGuard waits for the guard of an earlier run, which may be putting things
// back at this moment.
func awaitGuard(ctx context.Context, env Env, bridge string) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		lock, err := host.AcquireLock(guardLock(env, bridge))
		if err == nil {
			return lock.Release()
		}
		var held *host.HeldError
		if !errors.As(err, &held) || time.Now().After(deadline) {
			return fmt.Errorf("waiting for the guard of an earlier run: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// guard is the running guard as the move sees it.
type guard struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startGuard(env Env, was *former, limit time.Duration) (*guard, error) {
	if len(env.Guard) == 0 {
		return nil, nil // no guard was asked for
	}
	cmd := exec.Command(env.Guard[0], env.Guard[1:]...) // it must outlive this process
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// A session of its own: no terminal, no SIGHUP from one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	g := &guard{cmd, stdin}
	line, err := json.Marshal(watch{was, env, limit})
	if err == nil {
		_, err = stdin.Write(append(line, '\n'))
	}
	if err != nil {
		g.abandon()
		return nil, fmt.Errorf("telling the guard what to watch: %w", err)
	}
	return g, nil
}

// dismiss ends the guard; an error means that it has put everything back.
func (g *guard) dismiss() error {
	if g == nil {
		return nil
	}
	_, err := io.WriteString(g.stdin, guardDone)
	g.stdin.Close()
	if waited := g.cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return fmt.Errorf("the guard ended on its own and may have put everything back: %w; run again", err)
	}
	return nil
}

// abandon ends a guard that never had anything to watch.
func (g *guard) abandon() {
	g.stdin.Close()
	_ = g.cmd.Process.Kill() // it may be gone
	_ = g.cmd.Wait()         // its end is what was asked for
}
