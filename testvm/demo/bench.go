package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// byHand is what a person types to see what status shows.
const byHand = `lsblk -o NAME,MODEL,SIZE,FSTYPE,MOUNTPOINT; ` +
	`for d in /dev/nvme?n1 /dev/sd?; do smartctl -H -A $d; done; ` +
	`for d in $(blkid -t TYPE=crypto_LUKS -o device); do cryptsetup luksDump $d; done; ` +
	`for m in / /mnt/vmstore /mnt/bulk; do btrfs filesystem usage $m; btrfs device stats $m; btrfs scrub status $m; done; ` +
	`ip address; networkctl status br0 --no-pager; exportfs -v; virsh list --all`

// benchStatus boots the machine of an earlier demo, whose disks stay as they
// are, and holds status against what a person would type.
func benchStatus(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := reopen(ctx, dir)
	if err != nil {
		return err
	}
	vm, err := testvm.Start(ctx, m.Trial(30*time.Minute, m.All()...), m.LogFolder())
	if err != nil {
		return err
	}
	defer vm.Close()
	c := spechost.Console{VM: vm}
	if err := c.LogIn(10 * time.Minute); err != nil {
		return err
	}
	// The appliance takes a CPU while it boots.
	const quiet = `until [ "$(awk '{s += $1 < 0.3} END {print s}' /proc/loadavg)" = 1 ]; do sleep 5; done`
	if err := c.Shows(15*time.Minute, "systemctl is-system-running --wait; "+quiet+"; virsh list --state-running", "appliance"); err != nil {
		return err
	}
	status, err := median(c, "hvinstall status")
	if err != nil {
		return err
	}
	hand, err := median(c, byHand)
	if err != nil {
		return err
	}
	fmt.Printf("the demo's host, its appliance running, in QEMU (TCG) of %d CPUs; median of %d\n", vm.Config.CPUs, rounds)
	fmt.Printf("  hvinstall status            %5.2f s\n", status.Seconds())
	fmt.Printf("  the same by other programs  %5.2f s   %.1f times as long\n", hand.Seconds(), hand.Seconds()/status.Seconds())
	return nil
}

const rounds = 9

// median times a command in the guest, by the guest's clock.
func median(c spechost.Console, command string) (time.Duration, error) {
	out, code, err := c.Run(10*time.Minute, fmt.Sprintf(
		`for i in $(seq %d); do t=$(date +%%s%%N); { %s; } >/dev/null 2>&1; echo took $(($(date +%%s%%N) - t)); done`, rounds, command))
	if err != nil {
		return 0, err
	}
	var times []time.Duration
	for line := range strings.Lines(out) {
		if ns, found := strings.CutPrefix(strings.TrimSpace(line), "took "); found {
			if n, err := strconv.ParseInt(ns, 10, 64); err == nil {
				times = append(times, time.Duration(n))
			}
		}
	}
	if code != 0 || len(times) != rounds {
		return 0, fmt.Errorf("timing %q: exit code %d:\n%s", command, code, out)
	}
	slices.Sort(times)
	return times[rounds/2], nil
}
