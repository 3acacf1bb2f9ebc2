package unlock

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const busybox = "/bin/busybox"

var errNoShell = errors.New("this initramfs has no shell in it; build it with --shell")

// shell runs busybox on the last console that the command line names, until it
// is left.
func (c *consoles) shell() {
	if _, err := os.Stat(busybox); errors.Is(err, fs.ErrNotExist) {
		c.warn("%v", errNoShell)
		return
	}
	file, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		c.warn("opening a shell: %v", err)
		return
	}
	defer file.Close()
	if err := exec.Command(busybox, "--install", "-s", "/bin").Run(); err != nil {
		c.debug("shell: %v", err)
	}
	c.important("a shell, as rd.hvinstall.shell asks; 'exit' goes on with the boot")
	cmd := exec.Command(busybox, "sh")
	cmd.Env = []string{"PATH=/bin", "PS1=initramfs# ", "ENV=/etc/shellrc", "TERM=linux"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		c.debug("shell: %v", err)
	}
}

// shellOrHalt is the end of a boot that cannot go on.
func (c *consoles) shellOrHalt(a arguments) {
	if a.has("rd.hvinstall.shell") {
		c.shell()
	}
	c.halt()
}

// halt waits until a person at any console has read why the boot cannot go on,
// and wants another one.
func (c *consoles) halt() {
	c.warn("the boot cannot go on; nothing on the disks was changed")
	for {
		p := c.ask("Press Enter to restart the machine: ")
		clear(<-p.answers)
		p.end()
		unix.Sync()
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
			c.warn("restarting: %v", err)
		}
	}
}
