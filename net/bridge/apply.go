package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"hvinstall/host"
	"hvinstall/step"
)

// unitsStep writes the networkd files for later boots.
func (p Plan) unitsStep(env Env) step.Step {
	var detail []string
	for _, u := range p.Units() {
		detail = append(detail, "/"+unitFolder+"/"+u.Name)
	}
	return step.Step{
		ID:     "net/units",
		Title:  "write " + p.Bridge + " for later boots",
		Detail: detail,
		Check: func(context.Context) (step.State, string, error) {
			if err := p.checkValues(); err != nil {
				return step.Absent, "", err
			}
			if errors, _, err := p.conflicts(env.Root); err != nil {
				return step.Absent, "", err
			} else if len(errors) > 0 {
				return step.Foreign, strings.Join(errors, "; "), nil
			}
			unit, err := p.differingUnit(env.Root)
			if err != nil {
				return step.Absent, "", err
			}
			if unit != "" {
				return step.Absent, unit + " is not as planned", nil
			}
			return step.Done, "the networkd files are as planned", nil
		},
		Do: func(_ context.Context, report step.Reporter) error {
			_, notes, err := p.conflicts(env.Root)
			if err != nil {
				return err
			}
			for _, note := range notes {
				report.Warn("%s", note)
			}
			folder := filepath.Join(env.Root, unitFolder)
			return p.writeUnits(folder, p.keptIdentity(folder))
		},
	}
}

// differingUnit names a file that is missing or not as planned.
func (p Plan) differingUnit(root string) (string, error) {
	folder := filepath.Join(root, unitFolder)
	for _, u := range p.units(p.keptIdentity(folder)) {
		same, err := host.FileIs(filepath.Join(folder, u.Name), []byte(u.Text), 0o644)
		if err != nil {
			return "", err
		}
		if !same {
			return "/" + unitFolder + "/" + u.Name, nil
		}
	}
	// A bridge renamed in the layout leaves the old one's files: two bridges
	// would fight for the NIC at boot.
	stale, err := p.staleUnits(folder)
	if err != nil || len(stale) == 0 {
		return "", err
	}
	return stale[0], nil
}

// staleUnits are files of a bridge that the layout no longer has.
func (p Plan) staleUnits(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "0[56]-hvinstall-*"))
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && !p.isOurs(filepath.Base(file)) {
			stale = append(stale, file)
		}
	}
	return stale, nil
}

func (p Plan) writeUnits(folder string, who identity) error {
	for _, u := range p.units(who) {
		if err := host.WriteFile(filepath.Join(folder, u.Name), []byte(u.Text), 0o644); err != nil {
			return err
		}
	}
	stale, err := p.staleUnits(folder)
	if err != nil {
		return err
	}
	for _, file := range stale {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("removing the file of a former bridge: %w", err)
		}
	}
	return nil
}

var iaidLine = regexp.MustCompile(`(?m)^IAID=([0-9]+)$`)

// keptIdentity is the DHCP identity in the file that is there, so that a
// second run writes the same.
func (p Plan) keptIdentity(folder string) identity {
	text, err := os.ReadFile(filepath.Join(folder, p.unitName("network")))
	if err != nil {
		return identity{}
	}
	if m := iaidLine.FindSubmatch(text); m != nil {
		return identity{IAID: string(m[1])}
	}
	return identity{}
}

// networkdStep sees that later boots start networkd, which reads the files.
func (p Plan) networkdStep(env Env) step.Step {
	// The links that 'systemctl enable systemd-networkd' makes and that matter.
	links := []string{
		"etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
		"etc/systemd/system/dbus-org.freedesktop.network1.service",
		"etc/systemd/system/sockets.target.wants/systemd-networkd.socket",
	}
	unit := "usr/lib/systemd/system/systemd-networkd.service"
	return step.Step{
		ID:     "net/networkd",
		Title:  "start systemd-networkd at boot",
		Detail: []string{"systemctl enable systemd-networkd"},
		Check: func(context.Context) (step.State, string, error) {
			if !existsBelow(env.Root, unit) && !existsBelow(env.Root, strings.TrimPrefix(unit, "usr/")) {
				if env.Root != "/" {
					// A system that is being installed: looked at before it is unpacked.
					return step.Absent, "the system is not unpacked yet", nil
				}
				return step.Foreign, "that system has no systemd-networkd; install the package systemd (Debian) or configure the bridge by that system's own means", nil
			}
			for _, link := range links {
				if !linkBelow(env.Root, link) {
					return step.Absent, "systemd-networkd is not enabled", nil
				}
			}
			return step.Done, "systemd-networkd is enabled", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error {
			_, err := host.Cmd{
				Argv: []string{"systemctl", "--root=" + env.Root, "enable", "systemd-networkd.service"},
				Log:  report.Log,
			}.Output(ctx)
			if err != nil {
				return fmt.Errorf("enabling systemd-networkd: %w", err)
			}
			return nil
		},
	}
}

// linkBelow does not follow the link: it points into the target's own root.
func linkBelow(root, name string) bool {
	_, err := os.Lstat(filepath.Join(root, name))
	return err == nil
}

func existsBelow(root, name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return !errors.Is(err, fs.ErrNotExist)
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return 0, 0
}
