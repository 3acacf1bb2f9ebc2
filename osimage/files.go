package osimage

import (
	"embed"
	"fmt"
	"io/fs"

	"hvinstall/step"
)

// files are the image's own: the kernel hooks, and defaults of services. The
// binary has them, too: a host that was installed from an older image gets those
// of its hvinstall. What is the live system's alone is not among them.
//
//go:embed debian/files/etc/kernel debian/files/usr/lib/hvinstall debian/files/usr/lib/sysctl.d
//go:embed debian/files/usr/lib/systemd/*.conf.d debian/files/usr/lib/systemd/system/*.d
var files embed.FS

func fileEdits() []edit {
	const top = "debian/files"
	var edits []edit
	err := fs.WalkDir(files, top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if len(data) > 2 && string(data[:2]) == "#!" {
			mode = 0o755 // embed.FS has no modes
		}
		edits = append(edits, whole(path[len(top):], mode, string(data)))
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("reading what is compiled in: %v", err))
	}
	return edits
}

// filesStep keeps them current. A kernel that apt brings gets its boot entry by
// the hooks.
func filesStep(env Env, after []string) step.Step {
	return told(env, editStep(env.Root, "os/files", "write the kernel hooks, and defaults of services", after, fileEdits()...), nil,
		systemctl(
			[]string{"daemon-reload"},
			[]string{"restart", "systemd-sysctl.service", "systemd-journald.service"},
			[]string{"kill", "--signal=HUP", "systemd-logind.service"}, // it reads its files again
		))
}
