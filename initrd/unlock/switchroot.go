package unlock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// switchRoot gives way to the system in newRoot. It returns only when that
// cannot be done.
func switchRoot(con *consoles, a arguments, report *boot.Report) error {
	keep := ""
	if a.get("hvinstall.live") == "ram" {
		keep = ramImageFolder(a) // the live system still reads the image in it
	}
	init, err := findInit(a)
	if err != nil {
		return err
	}
	report.SwitchRoot = uptime()
	if err := writeReport(con, report); err != nil {
		con.warn("%v", err)
	}
	con.say("starting the system")
	con.giveBack() // while /proc is where it was

	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		target := newRoot + dir
		if err := unix.Mount(dir, target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("moving %s into the system: %w", dir, err)
		}
	}
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("entering the system: %w", err)
	}
	old, err := os.Open("/")
	if err != nil {
		return fmt.Errorf("opening the initramfs: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the system to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("entering the system: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the system: %w", err)
	}
	// The initramfs is memory that nobody could give back later.
	removeAll(int(old.Fd()), keep)
	old.Close()

	argv := append([]string{init}, initWords(os.Args[1:])...)
	return fmt.Errorf("starting %s: %w", init, unix.Exec(init, argv, initEnvironment(os.Getenv("TERM"))))
}

// initWords are the words that every init takes. The kernel hands on all that it
// does not know, and what comes after "--": "--unit=debug-shell.service".
func initWords(given []string) []string {
	usual := []string{"auto", "single", "s", "S", "-b", "b", "rescue", "emergency", "1", "2", "3", "4", "5"}
	return slices.DeleteFunc(slices.Clone(given), func(word string) bool { return !slices.Contains(usual, word) })
}

// initEnvironment is what the kernel gives an init by itself. It hands on every
// key=value of its command line that it does not know: LD_PRELOAD,
// SYSTEMD_UNIT_PATH and SYSTEMD_PROC_CMDLINE would be obeyed.
func initEnvironment(term string) []string {
	if term == "" || strings.Trim(term, "abcdefghijklmnopqrstuvwxyz0123456789+-") != "" {
		term = "linux"
	}
	return []string{"HOME=/", "TERM=" + term}
}

// findInit is the system's init, below newRoot: what init= names, or the first
// of the usual ones.
func findInit(a arguments) (string, error) {
	candidates := boot.Inits
	if named := a.get("init"); named != "" {
		candidates = []string{named}
	}
	for _, c := range candidates {
		if executable(newRoot, c) {
			return c, nil
		}
	}
	return "", fmt.Errorf("the root file system has no %v; boot the live stick and run 'hvinstall --plan' to mend it", candidates)
}

// executable says whether path is a program, with links resolved inside root.
func executable(root, path string) bool {
	file, err := openBelow(root, path, unix.O_PATH, 0)
	if err != nil {
		return false
	}
	defer unix.Close(file)
	var st unix.Stat_t
	return unix.Fstat(file, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}

// removeAll removes what is in the folder, but for one entry, without leaving
// its file system.
func removeAll(fd int, keep string) {
	var own unix.Stat_t
	if unix.Fstat(fd, &own) != nil {
		return
	}
	listing, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	dir := os.NewFile(uintptr(listing), ".")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != own.Dev || name == keep {
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			_ = unix.Unlinkat(fd, name, 0)
			continue
		}
		if sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			removeAll(sub, "")
			unix.Close(sub)
		}
		_ = unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
	}
}

// writeReport leaves the story of the boot for 'hvinstall status'.
func writeReport(con *consoles, report *boot.Report) error {
	con.mu.Lock()
	report.Warnings = append([]string(nil), con.warnings...)
	con.mu.Unlock()
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(boot.ReportPath), 0o755); err != nil {
		return fmt.Errorf("writing the boot's report: %w", err)
	}
	if err := os.WriteFile(boot.ReportPath, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the boot's report: %w", err)
	}
	return nil
}
