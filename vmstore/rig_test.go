//go:build libvirt

package vmstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The tests run in a world of their own: PID, mount and network name spaces
// with a real libvirtd, its own dbus and virtlogd, no /dev/kvm, and a bridge
// br0. Nothing of it is visible outside, and all of it ends with the tests.
//
// libvirtd must not see a /dev/kvm that QEMU cannot use: it would probe QEMU
// anew at every definition, a minute each.

const stageKey = "VMSTORE_RIG"

func TestMain(m *testing.M) {
	switch os.Getenv(stageKey) {
	case "":
		os.Exit(outside())
	case "init":
		os.Exit(initOfRig())
	case "child":
		os.Exit(child())
	}
	stop, err := startDaemons()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

// outside starts this test binary again in new name spaces.
func outside() int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "rig: the libvirt tests need root")
		return 1
	}
	need := map[string]string{
		"libvirtd": "libvirt-daemon-system", "virtlogd": "libvirt-daemon-system", "dbus-daemon": "dbus", "qemu-img": "qemu-utils",
		"qemu-system-x86_64": "qemu-system-x86", "virt-xml-validate": "libvirt-clients", "xz": "xz-utils", "zstd": "zstd",
		"swtpm": "swtpm", "isoinfo": "genisoimage", "blkid": "util-linux", "mkfs.btrfs": "btrfs-progs",
	}
	for program, pack := range need {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintf(os.Stderr, "rig: %s is missing: apt-get install %s\n", program, pack)
			return 1
		}
	}
	cmd := reexec("init", os.Args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	return exitCode(cmd.Run())
}

func reexec(stage string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), stageKey+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "rig:", err)
	return 1
}

// initOfRig is process 1 of the name space: it sets the world up, starts the
// tests, and reaps what becomes an orphan. When it ends, the kernel ends all.
func initOfRig() int {
	if err := setUpWorld(); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	signal.Ignore(syscall.SIGINT)
	cmd := reexec("ready", os.Args[1:]...)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "rig:", err)
			return 1
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		case pid == cmd.Process.Pid:
			fmt.Fprintln(os.Stderr, "rig: the tests were ended by", status.Signal())
			return 1
		}
	}
}

func setUpWorld() error {
	mount := func(source, target, kind string, flags uintptr, data string) error {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			return fmt.Errorf("mounting %s at %s: %w", kind, target, err)
		}
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	// The old /sys goes with its cgroups: libvirt would try to use those, and
	// they are not this world's.
	_ = unix.Unmount("/sys", unix.MNT_DETACH)
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	// A /dev without kvm. The nodes are bound from the old one.
	dev, err := os.MkdirTemp("", "rig-dev-")
	if err != nil {
		return err
	}
	if err := mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := os.WriteFile(filepath.Join(dev, name), nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, filepath.Join(dev, name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding /dev/%s: %w", name, err)
		}
	}
	loops, _ := filepath.Glob("/dev/loop*")
	for _, node := range append(loops, "/dev/net/tun") {
		info, err := os.Stat(node)
		if err != nil {
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		target := filepath.Join(dev, strings.TrimPrefix(node, "/dev/"))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if info.IsDir() {
			continue
		}
		if err := unix.Mknod(target, st.Mode, int(st.Rdev)); err != nil {
			return fmt.Errorf("making %s: %w", node, err)
		}
	}
	for _, step := range []func() error{
		func() error {
			return mount("devpts", dev+"/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620,gid=5")
		},
		func() error { return mount("tmpfs", dev+"/shm", "tmpfs", 0, "mode=1777") },
		func() error { return os.Symlink("pts/ptmx", dev+"/ptmx") },
		func() error { return os.Symlink("/proc/self/fd", dev+"/fd") },
		func() error { return unix.Mount(dev, "/dev", "", unix.MS_MOVE, "") },
		func() error { return os.Remove(dev) },
		func() error { return mount("tmpfs", "/run", "tmpfs", 0, "mode=755") },
		func() error { return mount("tmpfs", "/var/log/libvirt", "tmpfs", 0, "mode=755") },
		func() error { return mount("tmpfs", "/var/cache/libvirt", "tmpfs", 0, "mode=755") },
		func() error { return mount("tmpfs", "/etc/libvirt/qemu", "tmpfs", 0, "mode=700") },
		func() error { return mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755") },
		func() error { return mount("tmpfs", "/etc/systemd/system", "tmpfs", 0, "mode=755") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	// QEMU's folder below /var/lib/libvirt belongs to its user.
	info, err := os.Stat("/var/lib/libvirt/qemu")
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := mount("tmpfs", "/var/lib/libvirt", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir("/var/lib/libvirt/qemu", 0o750), os.Chown("/var/lib/libvirt/qemu", int(owner.Uid), int(owner.Gid)),
		os.Symlink("/run", "/run/var-run"), os.MkdirAll("/run/dbus", 0o755)); err != nil {
		return err
	}
	return setUpNetwork()
}

// setUpNetwork makes the loopback and br0, with the host's end of it at
// 192.168.77.1.
func setUpNetwork() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	address, err := netlink.ParseAddr("192.168.77.1/24")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(lo), netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge), netlink.AddrAdd(bridge, address))
}

// daemon is a running program of the rig.
type daemon struct{ cmd *exec.Cmd }

func startDaemon(log string, argv ...string) (*daemon, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return &daemon{cmd}, nil
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(5*time.Second, func() { _ = d.cmd.Process.Kill() })
	_ = d.cmd.Wait()
	timer.Stop()
}

const libvirtSocket = "/run/libvirt/libvirt-sock"

// theLibvirtd is the running daemon; tests restart it.
var theLibvirtd *daemon

func startLibvirtd() error {
	_ = os.Remove(libvirtSocket)
	d, err := startDaemon("/run/libvirtd.log", "libvirtd")
	if err != nil {
		return err
	}
	theLibvirtd = d
	return waitFor(20*time.Second, "libvirtd to answer", func() bool {
		c, err := newConnection(defaultURI)
		if err != nil {
			return false
		}
		defer c.close()
		l, err := c.get()
		if err != nil {
			return false
		}
		_, err = l.ConnectGetLibVersion()
		return err == nil
	})
}

func startDaemons() (stop func(), err error) {
	bus, err := startDaemon("/run/dbus.log", "dbus-daemon", "--system", "--nofork", "--nopidfile")
	if err != nil {
		return nil, err
	}
	log, err := startDaemon("/run/virtlogd.log", "virtlogd")
	if err != nil {
		return nil, err
	}
	if err := startLibvirtd(); err != nil {
		text, _ := os.ReadFile("/run/libvirtd.log")
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return func() {
		theLibvirtd.stop()
		log.stop()
		bus.stop()
	}, nil
}

func waitFor(limit time.Duration, what string, ready func() bool) error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ready() {
			return nil
		}
	}
	return fmt.Errorf("waited %v for %s", limit, what)
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
