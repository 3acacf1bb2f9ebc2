package disk

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

const replacePoll = 2 * time.Second

// replacing is how far a btrfs replace is. The kernel keeps that on the disks,
// and goes on with it when the file system is mounted again.
type replacing struct {
	running   bool
	suspended bool  // the target was not there at the mount
	tenths    int64 // of a percent
}

// finishReplace waits for a replace that an earlier run began: the kernel goes
// on with it by itself. One that cannot go on is given up, to be begun anew.
func finishReplace(ctx context.Context, mountpoint string, report step.Reporter) error {
	for {
		s, err := replaceStatus(ctx, mountpoint)
		switch {
		case err != nil:
			return err
		case s.suspended:
			return host.Cmd{Argv: []string{"btrfs", "replace", "cancel", mountpoint}, Log: report.Log}.Run(ctx)
		case !s.running:
			return nil
		}
		report.Progress(s.tenths, 1000, "‰")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(replacePoll):
		}
	}
}

func replaceStatus(ctx context.Context, mountpoint string) (replacing, error) {
	out, err := host.Cmd{Argv: []string{"btrfs", "replace", "status", "-1", mountpoint}}.Output(ctx)
	if err != nil {
		return replacing{}, err
	}
	return parseReplaceStatus(string(out)), nil
}

// parseReplaceStatus reads what btrfs-progs prints (cmds/replace.c): "Never
// started", "12.3% done, 0 write errs, 0 uncorr. read errs", "Started on …,
// finished on …", "… suspended on …" or "… canceled on …".
func parseReplaceStatus(text string) replacing {
	var s replacing
	s.suspended = strings.Contains(text, "suspended on")
	if percent, _, found := strings.Cut(text, "% done"); found {
		var whole, tenth int64
		_, _ = fmt.Sscanf(strings.TrimSpace(percent), "%d.%d", &whole, &tenth)
		s.running, s.tenths = true, whole*10+tenth
	}
	return s
}
