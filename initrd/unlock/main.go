// Package unlock is the /init of the initramfs: it opens the host's LUKS
// volumes with the key of a stick or one passphrase, mounts the root and the
// pools, and gives way to the system's own init. On the live medium it mounts
// the medium's image instead.
//
// It waits for events of the kernel, never for time to pass, and runs no
// program. It reads every block device's first sectors, mounts key sticks
// read-only, and writes to no disk. It never ends: what cannot be done is said
// on every console, and waited for.
package unlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// IsInit says whether this process is the init of an initramfs that hvinstall
// built: process 1 elsewhere (in a container) is the ordinary program.
func IsInit() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := os.Lstat(boot.ModulesPath)
	return err == nil
}

// Main is the init. It returns never: process 1 ending is a kernel panic.
func Main() {
	started := uptime()
	// The collector would only make room for what comes after exec.
	debug.SetGCPercent(400)
	var con *consoles
	defer func() {
		if r := recover(); r != nil {
			con.warn("the init met a bug of its own: %v", r)
			for line := range strings.Lines(string(debug.Stack())) {
				con.debug("%s", strings.TrimRight(line, "\n"))
			}
			con.halt()
		}
	}()
	mountErr := mountEarly()
	arguments := readArguments()
	con = openConsoles(arguments)
	if mountErr != nil {
		con.warn("%v", mountErr)
	}
	con.warn("%v", start(con, arguments, started))
	con.shellOrHalt(arguments)
}

// start decides between the live medium and an installed host. It returns only
// with what keeps the boot from going on.
func start(con *consoles, arguments arguments, started float64) error {
	modules, err := readModules()
	if err != nil {
		return err
	}
	report := &boot.Report{Kernel: kernelVersion(), Init: started}
	hw, err := watchHardware(con, newLoader(modules, arguments, con))
	if err != nil {
		return err
	}
	if arguments.has("rd.hvinstall.shell") {
		con.shell()
	}
	data, err := os.ReadFile(boot.ConfigPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		report.Live = true
		con.say("hvinstall live - Linux %s", report.Kernel)
		if err := bootLive(con, hw, arguments, report); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("reading the boot plan: %w", err)
	default:
		config, err := boot.Parse(data)
		if err != nil {
			return fmt.Errorf("%w; boot the live stick and run 'hvinstall --plan' to mend it", err)
		}
		con.say("hvinstall - %s - Linux %s", config.Hostname, report.Kernel)
		if err := arguments.judge(); err != nil {
			return err
		}
		con.loadKeymap(config.Keymap)
		if err := bootHost(con, hw, config, arguments, report); err != nil {
			return err
		}
	}
	return switchRoot(con, arguments, report)
}

func kernelVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// uptime is the seconds since the kernel started.
func uptime() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return float64(t.Sec) + float64(t.Nsec)/1e9
}
