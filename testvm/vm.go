package testvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// VM is a running machine.
type VM struct {
	*Console
	Config Config // with the defaults filled in; Drives know their paths

	logs   string // folder of the logs, kept on failure
	files  string // folder of disks and sockets, always removed
	cmd    *exec.Cmd
	cancel context.CancelFunc
	slot   *slot
	ended  chan struct{}
	err    error // of QEMU, once ended is closed

	qmpOnce sync.Once
	qmp     *qmp
	qmpErr  error
}

// Boot starts a machine that dies with the test. What fails is the test.
func Boot(t testing.TB, c Config) *VM {
	t.Helper()
	logs := filepath.Join(Root(), "build", "testvm", logFolder(t))
	vm, err := Start(t.Context(), c, logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Errorf("ending the guest: %v", err)
		}
		if t.Failed() || os.Getenv("HVINSTALL_KEEP_LOGS") != "" {
			t.Logf("the guest's logs are in %s", logs)
			return
		}
		if err := os.RemoveAll(logs); err != nil {
			t.Error(err)
		}
	})
	return vm
}

// logFolder names a test among those of all packages, which may run side by
// side: net-nfs/TestInGuest. A test runs in its package's folder.
func logFolder(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, err = filepath.Rel(Root(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.ReplaceAll(dir, "/", "-"), unusual.ReplaceAllString(t.Name(), "-"))
}

var unusual = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Start starts a machine whose logs go to a folder, which is emptied first. It
// runs until Close, PowerCut, its own end, or the end of ctx or of its time.
func Start(ctx context.Context, c Config, logs string) (*VM, error) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		return nil, errors.New("qemu-system-x86_64 is not installed: apt-get install qemu-system-x86")
	}
	vm := &VM{Config: c, logs: logs, ended: make(chan struct{})}
	if err := os.RemoveAll(logs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	files, err := os.MkdirTemp("", "testvm-")
	if err != nil {
		return nil, err
	}
	vm.files = files
	if err := vm.start(ctx); err != nil {
		return nil, errors.Join(err, vm.release())
	}
	return vm, nil
}

func (vm *VM) start(ctx context.Context) error {
	if err := vm.prepare(); err != nil {
		return err
	}
	held, err := acquireSlot(ctx)
	if err != nil {
		return err
	}
	vm.slot = held
	ctx, vm.cancel = context.WithTimeoutCause(ctx, vm.Config.Timeout,
		fmt.Errorf("the guest's time of %v is over", vm.Config.Timeout))
	args := vm.args()
	vm.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	// A guest must not outlive a test binary that is killed.
	vm.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := os.WriteFile(vm.LogPath("qemu.cmdline"), []byte(strings.Join(vm.cmd.Args, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	stderr, err := os.Create(vm.LogPath("qemu.log"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	transcript, err := os.Create(vm.LogPath("console.log"))
	if err != nil {
		return err
	}
	vm.cmd.Stderr = stderr
	stdin, err := vm.cmd.StdinPipe()
	if err != nil {
		return err
	}
	output, input := io.Pipe()
	vm.cmd.Stdout = input
	vm.Console = newConsole(stdin, output, transcript, vm.Config.Mirror)

	started := make(chan error)
	go func() {
		// Pdeathsig counts the death of the thread that started QEMU: keep it.
		lockThread()
		if err := vm.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		err := vm.cmd.Wait()
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
			err = context.Cause(ctx)
		}
		vm.err = err
		_ = input.Close() // of a pipe in memory
		vm.Console.wait()
		vm.slot.release()
		close(vm.ended)
	}()
	if err := <-started; err != nil {
		_ = input.Close() // of a pipe in memory
		return fmt.Errorf("starting QEMU: %w", err)
	}
	return nil
}

// defaultCPUs is 2, or what HVINSTALL_GUEST_CPUS says. Where guests run side by
// side, those of one CPU are done sooner: under TCG each CPU is a thread, and
// waits for the others' when code is translated or a lock is held.
func defaultCPUs() (int, error) {
	const name = "HVINSTALL_GUEST_CPUS"
	text := or(os.Getenv(name), "2")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%s is %q, not a number of CPUs", name, text)
}

// prepare fills in defaults and makes the files of the machine.
func (vm *VM) prepare() error {
	c := &vm.Config
	cpus, err := defaultCPUs()
	if err != nil {
		return err
	}
	c.Memory, c.CPUs = or(c.Memory, 2048), or(c.CPUs, cpus)
	c.Timeout = or(c.Timeout, 10*time.Minute)
	c.Drives = append([]Drive(nil), c.Drives...)
	ports := 0
	for i := range c.Drives {
		d := &c.Drives[i]
		d.ID = or(d.ID, fmt.Sprintf("drive%d", i))
		d.Format = or(d.Format, "raw")
		if d.Model == SATA || d.Model == CDROM {
			// Each port of q35's AHCI takes one drive, and QEMU does not look
			// for a free one by itself. There are six.
			d.Port = or(d.Port, fmt.Sprintf("ide.%d", ports))
			ports++
		}
		if d.Model == USB {
			d.Port = or(d.Port, "xhci.0")
		}
		d.Path = or(d.Path, filepath.Join(vm.files, d.ID+".img"))
		if _, err := os.Stat(d.Path); err == nil || !os.IsNotExist(err) {
			continue
		}
		if err := Sparse(d.Path, d.Size); err != nil {
			return err
		}
	}
	if c.OVMF {
		c.Vars = or(c.Vars, filepath.Join(vm.files, "vars.fd"))
		if _, err := os.Stat(c.Vars); os.IsNotExist(err) {
			data, err := os.ReadFile(ovmfVars)
			if err != nil {
				return fmt.Errorf("%w: apt-get install ovmf", err)
			}
			if err := os.WriteFile(c.Vars, data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sparse makes a file of size bytes that takes no room. A size of zero is an
// error: a drive without a file needs one.
func Sparse(path string, size int64) error {
	if size <= 0 {
		return fmt.Errorf("%s is not there, and no size is given to make it", path)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// LogPath is a file among the machine's logs.
func (vm *VM) LogPath(name string) string { return filepath.Join(vm.logs, name) }

// SecondSerialPath is where ttyS1's output goes.
func (vm *VM) SecondSerialPath() string { return vm.LogPath("serial2.log") }

// OutputPath is where the output of Config.Output's port goes.
func (vm *VM) OutputPath() string { return vm.LogPath("output.log") }

// DrivePath is the file behind a drive.
func (vm *VM) DrivePath(id string) string {
	for _, d := range vm.Config.Drives {
		if d.ID == id {
			return d.Path
		}
	}
	return ""
}

func (vm *VM) qmpPath() string { return filepath.Join(vm.files, "qmp") }

// Wait waits for the machine to end by itself, as when the guest powers off.
func (vm *VM) Wait(timeout time.Duration) error {
	select {
	case <-vm.ended:
		if vm.err != nil {
			return fmt.Errorf("QEMU: %w: %s", vm.err, vm.said())
		}
		return nil
	case <-time.After(timeout):
		return fmt.Errorf("the guest still runs after %v; its last lines:\n%s", timeout, vm.Tail(20))
	}
}

// Ended is closed when the machine has ended.
func (vm *VM) Ended() <-chan struct{} { return vm.ended }

func (vm *VM) said() string {
	text, err := os.ReadFile(vm.LogPath("qemu.log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// PowerCut ends the machine as if somebody pulled its plug. Its drives' files
// stay until Close.
func (vm *VM) PowerCut() {
	vm.cancel()
	<-vm.ended
}

// Close ends the machine, if it runs, and removes its files.
func (vm *VM) Close() error { return vm.release() }

func (vm *VM) release() error {
	if vm.cancel != nil {
		vm.cancel()
	}
	if vm.cmd != nil && vm.cmd.Process != nil {
		<-vm.ended
	}
	if vm.qmp != nil {
		vm.qmp.close()
	}
	vm.slot.release()
	return os.RemoveAll(vm.files)
}

// Root is the module's folder.
func Root() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
	}
	return dir
}

// or is a, unless that is the zero value.
func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}
