package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hvinstall/host"

	"github.com/vishvananda/netlink"
)

// rememberFiles records what the hand-over overwrites.
func (f *former) rememberFiles(p Plan, env Env) error {
	if f.Files != nil {
		return nil
	}
	f.Files = map[string]*string{}
	folder := liveFolder(env)
	names := []string{p.keepFile()}
	for _, u := range p.Units() {
		names = append(names, filepath.Join(folder, u.Name))
	}
	stale, err := p.staleUnits(folder)
	if err != nil {
		return err
	}
	for _, name := range append(names, stale...) {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			f.Files[name] = nil
			continue
		}
		if err != nil {
			return fmt.Errorf("reading networkd's files: %w", err)
		}
		content := string(text)
		f.Files[name] = &content
	}
	return nil
}

// restoreFiles puts networkd's files back, and tells it where any differed.
func (f *former) restoreFiles() error {
	changed := false
	for path, content := range f.Files {
		if content == nil {
			err := os.Remove(path)
			if err == nil {
				changed = true
			} else if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("removing what the move wrote: %w", err)
			}
			continue
		}
		same, err := host.FileIs(path, []byte(*content), 0o644)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		changed = true
		if err := host.WriteFile(path, []byte(*content), 0o644); err != nil {
			return err
		}
	}
	if !changed || !networkdRuns() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := reload(ctx, nil); err != nil {
		return err
	}
	return f.settle(ctx)
}

// settle waits for networkd to configure the NIC by its old file. A reload
// passes by a link that is just being configured by the new one, and that then
// fails for want of the bridge; so it is told once more.
func (f *former) settle(ctx context.Context) error {
	nic, err := netlink.LinkByName(f.NIC)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", f.NIC, err)
	}
	if !carrier(nic) {
		return nil
	}
	for tries := range 3 {
		state, file, err := linkState(nic.Attrs().Index)
		if err != nil {
			return err
		}
		if state == "unmanaged" && file == "" {
			return nil // as before: another program's interface
		}
		if tries > 0 {
			if _, err := (host.Cmd{Argv: []string{"networkctl", "reconfigure", f.NIC}}).Output(ctx); err != nil {
				return fmt.Errorf("telling networkd to configure %s again: %w", f.NIC, err)
			}
		}
		if awaitConfigured(ctx, nic, func(string) bool { return true }, 4*time.Second) == nil {
			break
		}
	}
	// A LAN without a DHCP server stays "configuring", as it was before.
	return nil
}
