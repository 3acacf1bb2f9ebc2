package nixos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// MarkerPath is written last: a system profile without it is an install that
// did not come to its end, and is taken up again. What nix has built or copied
// into the target's store by then is not built or copied again.
const MarkerPath = "/var/lib/hvinstall/nixos-installed.json"

// Marker tells what was installed.
type Marker struct {
	Source   string    `json:"source"`             // as the layout names it
	Locked   string    `json:"locked,omitempty"`   // the flake's locked URL
	Revision string    `json:"revision,omitempty"` // of the flake, where it has one
	System   string    `json:"system"`             // the system profile's store path
	Time     time.Time `json:"time"`
}

// installStep runs nixos-install.
func (j Job) installStep() step.Step {
	detail := []string{"from " + j.Source.called(), strings.Join(j.argv(), " ")}
	return step.Step{
		ID: "os/nixos/install", Title: "install NixOS", Detail: detail, Memory: 2 << 30,
		Check: func(context.Context) (step.State, string, error) { return j.installed() },
		Do: func(ctx context.Context, report step.Reporter) error {
			locked := metadata{}
			if j.Source.Flake != "" {
				var err error
				if locked, err = j.metadata(ctx, report.Log); err != nil {
					return err
				}
				report.Log("the flake is %s", locked.URL)
				if err := j.bootable(ctx, report.Log); err != nil {
					return err
				}
			}
			if err := j.nixosInstall(ctx, report); err != nil {
				return err
			}
			if err := j.channels(); err != nil {
				return err
			}
			system, err := systemProfile(j.Root)
			if err != nil {
				return fmt.Errorf("nixos-install ended without an error, yet: %w", err)
			}
			marker, err := json.MarshalIndent(Marker{j.Source.called(), locked.URL, locked.Revision, system, time.Now().UTC()}, "", "  ")
			if err != nil {
				return err
			}
			return host.WriteFile(filepath.Join(j.Root, MarkerPath), append(marker, '\n'), 0o644)
		},
	}
}

// installed looks whether the target holds a finished system.
func (j Job) installed() (step.State, string, error) {
	if release, err := os.ReadFile(filepath.Join(j.Root, "etc/os-release")); err == nil && !strings.Contains(string(release), "ID=nixos") {
		return step.Foreign, "another operating system than NixOS is in " + j.Root, nil
	}
	system, profileErr := systemProfile(j.Root)
	if j.Root == "/" {
		if profileErr != nil {
			return step.Foreign, "the running system is not NixOS", nil //nolint:nilerr // that is what the error means here
		}
		return step.Done, "NixOS runs: " + filepath.Base(system), nil
	}
	if profileErr == nil && j.Input.Layout.OS.Adopt {
		return step.Done, "NixOS is there and kept (adopt): " + filepath.Base(system), nil
	}
	data, err := os.ReadFile(filepath.Join(j.Root, MarkerPath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if profileErr == nil {
			return step.Absent, "an earlier nixos-install did not come to its end; what it has built is used again", nil
		}
		return step.Absent, "no system in " + j.Root + " yet", nil
	case err != nil:
		return step.Absent, "", fmt.Errorf("reading what was installed: %w", err)
	}
	var marker Marker
	if err := json.Unmarshal(data, &marker); err != nil || profileErr != nil {
		return step.Absent, "the record of the install, or the system it names, is damaged: installed again", nil //nolint:nilerr // either is answered by installing
	}
	why := filepath.Base(system) + " from " + marker.Source
	if marker.Revision != "" {
		why += " at " + marker.Revision
	}
	return step.Done, why, nil
}

// systemProfile gives the store path of the system profile below root,
// following the links as the installed system would.
func systemProfile(root string) (string, error) {
	const profile = "/nix/var/nix/profiles/system"
	path := profile
	for range 8 {
		target, err := os.Readlink(filepath.Join(root, path))
		if err != nil {
			return "", fmt.Errorf("there is no system profile %s: %w", filepath.Join(root, path), err)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		if strings.HasPrefix(target, "/nix/store/") {
			if _, err := os.Lstat(filepath.Join(root, target, "init")); err != nil {
				return "", fmt.Errorf("the system profile names %s, which holds no system: %w", target, err)
			}
			return target, nil
		}
		path = target
	}
	return "", fmt.Errorf("the system profile %s is a loop of links", filepath.Join(root, profile))
}

// lockPath is held by nixos-install itself: one that outlives a killed
// hvinstall is waited for, and not joined by a second.
const lockPath = "/var/lib/hvinstall/nixos-install.lock"

// argv is the command, as a person would type it.
func (j Job) argv() []string {
	argv := []string{"flock", "--no-fork", filepath.Join(j.Root, lockPath), "nixos-install", "--root", j.Root, "--no-root-password"}
	if channel := j.Input.Layout.OS.NixOS.Channel; strings.HasPrefix(channel, "/") {
		argv = append(argv, "--channel", channel)
	} else {
		argv = append(argv, "--no-channel-copy")
	}
	switch {
	case j.Source.Flake != "":
		argv = append(argv, "--flake", j.Source.Flake+"#"+j.Source.Attr)
	case !j.module():
		argv = append(argv, "--file", j.Source.File)
	}
	return argv
}

// module reports whether os.nixos.file is a NixOS module: --file wants an
// expression of a whole system, a module goes by NIXOS_CONFIG.
func (j Job) module() bool { return filepath.Base(j.Source.File) == "configuration.nix" }

// environment is what nix and nixos-install get of ours: where channels,
// certificates and proxies are, and the keys to a private flake.
func (j Job) environment() []string {
	var env []string
	for _, name := range []string{
		"NIX_PATH", "NIX_CONFIG", "NIX_USER_CONF_FILES", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND",
		"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
	} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	if j.module() {
		env = append(env, "NIXOS_CONFIG="+j.Source.File)
	}
	return env
}

func (j Job) nixosInstall(ctx context.Context, report step.Reporter) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Join(j.Root, lockPath)), 0o755); err != nil {
		return fmt.Errorf("making the folder of the lock: %w", err)
	}
	said := &progress{report: report}
	err := host.Cmd{Argv: j.argv(), Env: j.environment(), Stdout: said, Stderr: said, Log: report.Log}.Run(ctx)
	said.flush()
	if err != nil {
		return fmt.Errorf("%w\n%s\nwhat is built stays in %s/nix/store: mend the configuration and run the same command again", err, said.tail(), strings.TrimSuffix(j.Root, "/"))
	}
	return nil
}

// channels writes the channel that nix-channel --update follows, where the
// layout names one by its URL.
func (j Job) channels() error {
	channel := j.Input.Layout.OS.NixOS.Channel
	if channel == "" || strings.HasPrefix(channel, "/") {
		return nil
	}
	return host.WriteFile(filepath.Join(j.Root, "root/.nix-channels"), []byte(channel+" nixos\n"), 0o644)
}
