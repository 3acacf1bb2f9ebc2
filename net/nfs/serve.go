package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// serveStep makes the running server serve what the files say.
func (p Plan) serveStep(after []string) step.Step {
	return step.Step{
		ID: "nfs/serve", Title: "tell the running NFS server", After: after,
		Check: func(ctx context.Context) (step.State, string, error) {
			why, err := p.unserved(ctx)
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, "the server serves what is planned", nil
		},
		Do: p.serve,
	}
}

// unserved says what the running server and kernel lack, or "".
func (p Plan) unserved(ctx context.Context) (string, error) {
	loaded, err := loadedFilter(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case len(p.Exports) == 0 && loaded != "":
		return "the filter for NFS is still loaded", nil
	case len(p.Exports) > 0 && !strings.Contains(loaded, filterDigest(p.filterRules())):
		return "the filter for NFS is not loaded", nil
	}
	running, err := serverRuns()
	if err != nil {
		return "", err
	}
	if !running {
		if len(p.Exports) > 0 && systemdRuns() {
			return "the NFS server does not run", nil
		}
		return "", nil // it reads the files when it starts
	}
	if len(p.Exports) > 0 {
		if served, err := speaksV3(); err != nil || served {
			return "the server still speaks NFSv3", err
		}
		if mountdListens() {
			return "rpc.mountd listens, as for NFSv3", nil
		}
	}
	return p.etabDiffers()
}

// serverRuns: the kernel's server has threads.
func serverRuns() (bool, error) {
	text, err := os.ReadFile(serverProc)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking the kernel for its NFS server: %w", err)
	}
	threads, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return threads > 0, err
}

func speaksV3() (bool, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(serverProc), "versions"))
	if err != nil {
		return false, fmt.Errorf("asking the kernel which NFS it speaks: %w", err)
	}
	return strings.Contains(string(text), "+3"), nil // "-2 -3 +4 +4.1 +4.2"
}

// mountdListens: it was started without confText.
func mountdListens() bool { return host.Listens("/proc", "rpc.mountd") }

func systemdRuns() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// etabDiffers compares what exportfs last told the kernel with the plan: each
// line of etab is a path, a tab and client(options).
func (p Plan) etabDiffers() (string, error) {
	text, err := os.ReadFile(exportsTable)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading what is exported: %w", err)
	}
	served := map[string]string{}
	for line := range strings.Lines(string(text)) {
		path, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		client, options, _ := strings.Cut(rest, "(")
		served[path+" "+client] = options
	}
	for _, e := range p.Exports {
		for _, client := range e.Clients {
			key := escape(e.Path) + " " + client
			options, found := served[key]
			if !found && e.Pool.Away {
				continue // exportfs leaves out what is not mounted
			}
			if !found {
				return fmt.Sprintf("%s is not exported to %s", e.Path, client), nil
			}
			have := strings.Split(strings.TrimSuffix(options, ")"), ",")
			for _, want := range append(e.Options, e.Squash, "fsid="+e.FSID) {
				if !has(have, want) {
					return fmt.Sprintf("%s is exported to %s without %s", e.Path, client, want), nil
				}
			}
			delete(served, key)
		}
	}
	return stale(served)
}

// has knows that etab writes options that mean the same in one way.
func has(options []string, want string) bool {
	for _, o := range options {
		if o == want || strings.ReplaceAll(strings.TrimPrefix(o, "fsid="), "-", "") == strings.ReplaceAll(strings.TrimPrefix(want, "fsid="), "-", "") {
			return true
		}
	}
	return false
}

// stale finds an export that no file asks for any more.
func stale(served map[string]string) (string, error) {
	if len(served) == 0 {
		return "", nil
	}
	files, err := filepath.Glob("/etc/exports.d/*.exports")
	if err != nil {
		return "", err
	}
	asked := map[string]bool{}
	for _, file := range append(files, "/etc/exports") {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading other exports: %w", err)
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
			words := strings.Fields(line)
			for _, word := range words[min(1, len(words)):] {
				client, _, _ := strings.Cut(word, "(")
				asked[words[0]+" "+or(client, "*")] = true
			}
		}
	}
	for key, options := range served {
		// Ours have an fsid; what others wrote in another spelling is not ours.
		if path, client, _ := strings.Cut(key, " "); !asked[key] && strings.Contains(options, "fsid=") {
			return fmt.Sprintf("%s is still exported to %s", path, client), nil
		}
	}
	return "", nil
}

// loadedFilter is the filter in the kernel, as nft prints it; "" for none.
func loadedFilter(ctx context.Context) (string, error) {
	if len(host.Missing("nft")) > 0 {
		return "", nil
	}
	out, err := host.Cmd{Argv: []string{"nft", "list", "table", "inet", filterTable}}.Output(ctx)
	var failed *host.CommandError
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "No such file or directory") {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking at the filter for NFS: %w", err)
	}
	return string(out), nil
}

func (p Plan) serve(ctx context.Context, report step.Reporter) error {
	run := func(argv ...string) error {
		_, err := host.Cmd{Argv: argv, Log: report.Log}.Output(ctx)
		if err != nil {
			return fmt.Errorf("telling the NFS server: %w", err)
		}
		return nil
	}
	if missing := host.Missing("nft", "exportfs"); len(missing) > 0 && len(p.Exports) > 0 {
		return fmt.Errorf("%s not found; install nftables and nfs-kernel-server", strings.Join(missing, ", "))
	}
	if systemdRuns() {
		if err := run("systemctl", "daemon-reload"); err != nil {
			return err
		}
	}
	running, err := serverRuns()
	if err != nil {
		return err
	}
	if len(p.Exports) > 0 {
		// The filter before the exports: nobody gets in between.
		if err := run("nft", "-f", "/"+filterFile); err != nil {
			return err
		}
	}
	if running {
		if err := run("exportfs", "-ra"); err != nil {
			return err
		}
	}
	if len(p.Exports) == 0 {
		if loaded, err := loadedFilter(ctx); err != nil || loaded == "" {
			return err
		}
		return run("nft", "delete", "table", "inet", filterTable)
	}
	if !systemdRuns() {
		return nil
	}
	if !running {
		return run("systemctl", "start", serverUnit)
	}
	// The versions of NFS are read only when the server and mountd start.
	v3, err := speaksV3()
	if err != nil || !v3 && !mountdListens() {
		return err
	}
	report.Warn("the NFS server is restarted to speak NFSv4 alone; clients wait up to 90 s")
	return run("systemctl", "restart", "nfs-mountd.service", serverUnit)
}
