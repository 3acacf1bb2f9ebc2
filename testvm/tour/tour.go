package tour

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// Run is the whole way, on a machine whose live stick has the layout.
func Run(ctx context.Context, m *spechost.Machine, s *Show) error {
	m.Mirror = s
	if err := install(ctx, m, s); err != nil {
		return err
	}
	return firstBoot(ctx, m, s)
}

func boot(ctx context.Context, m *spechost.Machine, limit time.Duration, drives ...string) (spechost.Console, error) {
	vm, err := testvm.Start(ctx, m.Config(limit, drives...), m.LogFolder())
	return spechost.Console{VM: vm}, err
}

// install boots the live stick and installs the host.
func install(ctx context.Context, m *spechost.Machine, s *Show) error {
	s.Heading("Boot the live stick on a machine with seven blank disks")
	c, err := boot(ctx, m, 30*time.Minute, append(m.All(), spechost.LiveStick)...)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Live(8 * time.Minute); err != nil {
		return err
	}
	if err := Screenshot(c.VM, m.Dir, "live"); err != nil {
		return err
	}
	s.Heading("See what is there, and install")
	if err := c.Shows(2*time.Minute, "hvinstall discover", "ST4000VN008_BULK4000"); err != nil {
		return err
	}
	if err := c.Type("hvinstall --plan /run/hvinstall/live/layout.yaml"); err != nil {
		return err
	}
	if err := c.Dialogue(2*time.Minute, `Type yes to go on: `, "yes",
		`Passphrase for every volume: `, spechost.Passphrase, `The same once more: `, spechost.Passphrase); err != nil {
		return err
	}
	if err := ended(c, 20*time.Minute, "hypervisor is installed"); err != nil {
		return err
	}
	s.Heading("Power off, and take the live stick out")
	return c.PowerOff()
}

// firstBoot is the host's life: it unlocks itself, and is changed by its plan.
func firstBoot(ctx context.Context, m *spechost.Machine, s *Show) error {
	s.Heading("The host boots and unlocks itself: nobody types anything")
	c, err := boot(ctx, m, 60*time.Minute, m.All()...)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.LogIn(8 * time.Minute); err != nil {
		return err
	}
	if err := Screenshot(c.VM, m.Dir, "host"); err != nil {
		return err
	}
	s.Heading("The LAN is on br0, the pools are mounted, the exports are served")
	for _, show := range [][2]string{
		{"systemctl is-system-running --wait", "running"},
		{"ip -brief -4 address show br0", "192.168.1."},
		{"findmnt -t btrfs -o TARGET,SOURCE", "/mnt/bulk"},
		{"exportfs -s", "/mnt/bulk/homeassistant-vm"},
		{"virsh list --all", "appliance"},
		{"hvinstall status", "Everything is as the layout wants it."},
	} {
		if err := c.Shows(10*time.Minute, show[0], show[1]); err != nil {
			failed, _, _ := c.Run(time.Minute, "systemctl --failed --no-legend --plain; journalctl -b -p warning --no-pager -n 30")
			return fmt.Errorf("%w\nwhat failed, and the journal's warnings:\n%s", err, failed)
		}
	}
	s.Heading("The same command again: nothing to do")
	if err := c.Shows(3*time.Minute, "hvinstall --plan /etc/hvinstall/layout.yaml", "nothing to do"); err != nil {
		return err
	}
	s.Heading("A VM is added to the plan")
	if err := c.Shows(time.Minute, "cat >>/etc/hvinstall/layout.yaml <<'END'\n"+spechost.SecondVM+"END", ""); err != nil {
		return err
	}
	if err := apply(c, "yes"); err != nil {
		return err
	}
	if err := c.Shows(time.Minute, "virsh list --all", "second"); err != nil {
		return err
	}
	s.Heading("And taken out again")
	if err := c.Shows(time.Minute, `sed -i '/name: second/a\    state: absent' /etc/hvinstall/layout.yaml`, ""); err != nil {
		return err
	}
	if err := apply(c, "delete"); err != nil {
		return err
	}
	if out, _, err := c.Run(time.Minute, "virsh list --all; ls /mnt/vmstore"); err != nil || strings.Contains(out, "second") {
		return fmt.Errorf("the VM that was taken out is still there (%w):\n%s", err, out)
	}
	s.Heading("The appliance has a lease of its own from the LAN")
	if err := lease(c); err != nil {
		return err
	}
	s.Heading("Power off: the VMs shut down before what they live on ends")
	if err := c.PowerOff(); err != nil {
		return err
	}
	return endsInOrder(spechost.Plain(c.Transcript()))
}

// endings are what systemd says of what VMs live on, see docs/vms.md.
var endings = []string{`Stopp(ing|ed) .*NFS server and services`, `Unmount(ing|ed) .*/mnt/vmstore`, `Stopp(ing|ed) .*Network Configuration`}

// endsInOrder looks for the VM that ran, and for nothing of it being taken away
// before its end.
func endsInOrder(said string) error {
	_, after, found := strings.Cut(said, "Starting shutdown on guest: appliance")
	alive, after, complete := strings.Cut(after, "Shutdown of guest appliance complete")
	if !found || !complete {
		return fmt.Errorf("the host did not wait for its VM:\n%s", said[max(0, len(said)-4000):])
	}
	for _, ending := range endings {
		expression := regexp.MustCompile(ending)
		if early := expression.FindString(alive); early != "" {
			return fmt.Errorf("while the VM shut down: %s", early)
		}
		if !expression.MatchString(after) {
			return fmt.Errorf("after the VM's end, nothing that matches %s:\n%s", ending, after)
		}
	}
	return nil
}

// apply runs the plan, and consents by the word that is asked for.
func apply(c spechost.Console, word string) error {
	if err := c.Type("hvinstall --plan /etc/hvinstall/layout.yaml"); err != nil {
		return err
	}
	if err := c.Dialogue(3*time.Minute, `Type `+word+` to go on: `, word); err != nil {
		return err
	}
	return ended(c, 8*time.Minute, "changed something, in")
}

// ended waits for a command that must succeed and say so.
func ended(c spechost.Console, within time.Duration, want string) error {
	out, code, err := c.Result(within)
	switch {
	case err != nil:
		return err
	case code != 0 || !strings.Contains(out, want):
		return fmt.Errorf("exit code %d, without %q:\n%s", code, want, out)
	}
	return nil
}

// lease looks at the appliance's console, which says again and again what
// address it got.
func lease(c spechost.Console) error {
	if err := c.Type("virsh console appliance"); err != nil {
		return err
	}
	if err := c.Expect(15*time.Minute, `appliance: lease 192\.168\.1\.\d+`); err != nil {
		return err
	}
	if err := c.Send("\x1d"); err != nil { // Ctrl-]
		return err
	}
	_, _, err := c.Result(time.Minute)
	return err
}
