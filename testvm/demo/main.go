// Command demo shows the whole of hvinstall in one go, in a QEMU machine: from
// blank disks to a running VM, with its own assertions on the way. 'make demo'
// builds what it needs and runs it.
//
// It writes below the folder that it is given, starts one guest at a time,
// serves images on loopback only, and has a time limit for everything.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"hvinstall/testvm"

	"github.com/spf13/pflag"
)

func main() {
	dir := pflag.String("dir", filepath.Join(testvm.Root(), "build/demo"), "where the machine's files are kept")
	live := pflag.String("live", filepath.Join(testvm.Root(), "build/live.img"), "the live stick's image")
	shell := pflag.Bool("shell", false, "boot the machine of an earlier demo and hand over its console")
	pflag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := demo
	if *shell {
		run = handOver
	}
	if err := run(ctx, *dir, *live); err != nil {
		fmt.Fprintf(os.Stderr, "\x1b[0m\n\ndemo: %v\n\nThe guest's console and QEMU's words are in %s\n", err, filepath.Join(*dir, "logs"))
		os.Exit(1)
	}
}

// demo is the whole way.
func demo(ctx context.Context, dir, live string) error {
	m := &machine{dir: dir}
	if err := m.makeDisks(); err != nil {
		return err
	}
	s, err := newShow(os.Stdout, dir)
	if err != nil {
		return err
	}
	m.mirror = s
	s.heading("Make an appliance image and an ISO, and serve them on loopback")
	if err := images(ctx, filepath.Join(dir, "images")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	port, err := serve(ctx, filepath.Join(dir, "images"))
	if err != nil {
		return err
	}
	m.forward = []string{fmt.Sprintf("guestfwd=tcp:192.168.1.100:80-cmd:busybox nc 127.0.0.1 %d", port)}
	if err := m.makeLive(ctx, live, layout("http://192.168.1.100")); err != nil {
		return err
	}
	if err := install(ctx, m, s); err != nil {
		return err
	}
	if err := firstBoot(ctx, m, s); err != nil {
		return err
	}
	s.heading("Done")
	s.say("%s", s.times())
	s.say("The host's disks, its console's log, this recording (demo.cast, for asciinema) and pictures of")
	s.say("its screen are in %s.", dir)
	s.say("Look around on it by: make demo-shell   (log in as %s, password %s; Ctrl-A X ends it)", user, password)
	return nil
}

// install boots the live stick and installs the host, typing what a person
// would type.
func install(ctx context.Context, m *machine, s *show) error {
	s.heading("Boot the live stick on a machine with seven blank disks")
	vm, err := m.boot(ctx, 30*time.Minute, true)
	if err != nil {
		return err
	}
	defer vm.Close()
	c := &console{vm: vm}
	if err := c.dialogue(8*time.Minute, `hvinstall live system`, "", `root@hvinstall:~# `, ""); err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	if err := screenshot(vm, m.dir, "live"); err != nil {
		return err
	}
	s.heading("See what is there, and install")
	if err := c.shows(2*time.Minute, "hvinstall discover", "ST4000VN008_BULK4000"); err != nil {
		return err
	}
	if err := vm.Send("hvinstall --plan /run/hvinstall/live/layout.yaml\n"); err != nil {
		return err
	}
	if err := c.dialogue(20*time.Minute, `Type yes to go on: `, "yes", `Passphrase for every volume: `, passphrase, `The same once more: `, passphrase,
		`hypervisor is installed`, "", `\n# `, ""); err != nil {
		return err
	}
	s.heading("Power off, and take the live stick out")
	if err := vm.Send("systemctl poweroff\n"); err != nil {
		return err
	}
	return vm.Wait(slow(3 * time.Minute))
}

// firstBoot is the host's life: it unlocks itself, and is changed by its plan.
func firstBoot(ctx context.Context, m *machine, s *show) error {
	s.heading("The host boots and unlocks itself: nobody types anything")
	vm, err := m.boot(ctx, 60*time.Minute, false)
	if err != nil {
		return err
	}
	defer vm.Close()
	c := &console{vm: vm}
	if err := c.login(); err != nil {
		return err
	}
	if err := screenshot(vm, m.dir, "host"); err != nil {
		return err
	}
	s.heading("The LAN is on br0, the pools are mounted, the exports are served")
	for _, show := range [][2]string{
		{"systemctl is-system-running --wait", "running"},
		{"ip -brief -4 address show br0", "192.168.1."},
		{"findmnt -t btrfs -o TARGET,SOURCE", "/mnt/bulk"},
		{"exportfs -s", "/mnt/bulk/homeassistant-vm"},
		{"virsh list --all", "appliance"},
		{"hvinstall status", "Everything is as the layout wants it."},
	} {
		if err := c.shows(10*time.Minute, show[0], show[1]); err != nil {
			return err
		}
	}
	s.heading("The appliance has a lease of its own from the LAN")
	if err := lease(c); err != nil {
		return err
	}
	s.heading("The same command again: nothing to do")
	if err := c.shows(3*time.Minute, "hvinstall --plan /etc/hvinstall/layout.yaml", "nothing to do"); err != nil {
		return err
	}
	s.heading("A VM is added to the plan")
	if err := c.shows(time.Minute, "cat >>/etc/hvinstall/layout.yaml <<'END'\n"+second()+"END", ""); err != nil {
		return err
	}
	if err := apply(c, "yes"); err != nil {
		return err
	}
	if err := c.shows(time.Minute, "virsh list --all", "second"); err != nil {
		return err
	}
	s.heading("And taken out again")
	if err := c.shows(time.Minute, `sed -i '/name: second/a\    state: absent' /etc/hvinstall/layout.yaml`, ""); err != nil {
		return err
	}
	if err := apply(c, "delete"); err != nil {
		return err
	}
	if err := c.shows(time.Minute, "virsh list --all --name | grep -c second; ls /mnt/vmstore; true", "appliance"); err != nil {
		return err
	}
	s.heading("Power off")
	if err := vm.Send("systemctl poweroff\n"); err != nil {
		return err
	}
	return vm.Wait(slow(5 * time.Minute))
}

// second is one more VM, from the image that is known already.
func second() string {
	return `  - name: second
    vcpu: 1
    ram_mb: 256
    disk_image: {url: "http://192.168.1.100/appliance.qcow2.xz", dest: /mnt/vmstore/second/second.qcow2}
    running: false
`
}

// apply runs the plan, and consents by the word that is asked for.
func apply(c *console, word string) error {
	if err := c.vm.Send("hvinstall --plan /etc/hvinstall/layout.yaml\n"); err != nil {
		return err
	}
	return c.dialogue(8*time.Minute, `Type `+word+` to go on: `, word, `changed something, in`, "", `\n# `, "")
}

// lease waits for the line that the appliance prints once it has its address.
// It may have said so before anybody listened: then it is reset, and says it
// again.
func lease(c *console) error {
	const listen = `timeout %d sh -c 'cat $(virsh ttyconsole appliance) | grep -m1 --line-buffered "appliance: lease"'`
	if err := c.shows(2*time.Minute, fmt.Sprintf(listen, 5)+" || virsh reset appliance", ""); err != nil {
		return err
	}
	return c.shows(12*time.Minute, fmt.Sprintf(listen, 600), "appliance: lease 192.168.1.")
}
