package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// seedOnHost keeps the host's seed, beside the marks on its disks. Everybody
// may read it: a preview without root cannot read the disks.
const seedOnHost = "/etc/hvinstall/seed"

// seedStep keeps the seed on the host.
func (p Plan) seedStep(after ...string) step.Step {
	path, text := filepath.Join(p.Root, seedOnHost), p.Disk.Seed+"\n"
	return step.Step{
		ID: "host/seed", Title: "keep the host's identity", After: after,
		Detail: []string{"the seed " + p.Disk.Seed + " in " + seedOnHost + ": the host's name may change, its disks stay its own"},
		Check: func(context.Context) (step.State, string, error) {
			have, err := os.ReadFile(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, "not kept yet", nil
			case err != nil:
				return 0, "", err
			case string(have) != text:
				return step.Absent, "it says " + strings.TrimSpace(string(have)), nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error { return host.WriteFile(path, []byte(text), 0o644) },
	}
}
