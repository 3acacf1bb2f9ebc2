package osimage

import (
	"bytes"
	"strings"

	"hvinstall/step"
)

const scrubService = `# Written by hvinstall: reads every block of a btrfs and repairs from the other
# copy what fails its checksum.
[Unit]
Description=btrfs scrub of %f
Documentation=man:btrfs-scrub(8)
ConditionPathIsMountPoint=%f

[Service]
Type=oneshot
ExecStart=/usr/bin/btrfs scrub start -B -c 3 %f
IOSchedulingClass=idle
Nice=19
`

const scrubTimerUnit = `# Written by hvinstall.
[Unit]
Description=monthly btrfs scrub of %f

[Timer]
OnCalendar=monthly
# The pools of a host do not all start at midnight of the first.
RandomizedDelaySec=3d
FixedRandomDelay=yes
Persistent=yes

[Install]
WantedBy=timers.target
`

// guestsConf is sourced by libvirt-guests.sh, see libvirt-guests(8). In parallel,
// the time is one for all VMs.
const guestsConf = `ON_BOOT=ignore
ON_SHUTDOWN=shutdown
PARALLEL_SHUTDOWN=100
SHUTDOWN_TIMEOUT=300`

// smartdDebian is what Debian's smartd.conf has, and smartdTests the same with
// tests: a short one each Saturday, and a long one each month, each disk's on
// another day, because a pool is slow while one of its disks is read.
const (
	smartdDebian = "DEVICESCAN -d removable -n standby -m root -M exec /usr/share/smartmontools/smartd-runner"
	smartdTests  = "DEVICESCAN -d removable -n standby -s (S/../../6/02|L/../01/./03:024-671) -m root -M exec /usr/share/smartmontools/smartd-runner"
)

// smartdConf has smartd test the disks, unless the owner has decided otherwise.
func smartdConf(old []byte) []byte {
	if len(old) == 0 {
		return []byte(smartdTests + "\n")
	}
	return bytes.ReplaceAll(old, []byte(smartdDebian+"\n"), []byte(smartdTests+"\n"))
}

// unitEdits are units, and settings of units, that depend on the plan, or on
// files that are the packages' own.
func (p Plan) unitEdits() []edit {
	edits := []edit{
		whole("/etc/systemd/system/hvinstall-scrub@.service", 0o644, scrubService),
		whole("/etc/systemd/system/hvinstall-scrub@.timer", 0o644, scrubTimerUnit),
		// Without it smartd fails on a host whose disks have no SMART.
		{"/etc/default/smartmontools", 0o644, func(old []byte) []byte { return block(old, `smartd_opts="--quit=never"`) }},
		{"/etc/smartd.conf", 0o644, smartdConf},
		{"/etc/default/libvirt-guests", 0o644, func(old []byte) []byte { return block(old, guestsConf) }},
	}
	return append(edits, p.shutdownEdits()...)
}

// shutdownEdits order the end of the host: first the VMs shut down, then what
// they live on ends. What starts in one order stops in the other, see
// systemd.unit(5); br0 is networkd's, and libvirt-guests comes after
// network.target anyway. A pool that was left out at boot is waited for by
// nothing: After= alone starts no unit.
func (p Plan) shutdownEdits() []edit {
	var pools []string
	for _, m := range p.Mounts {
		if m.Pool {
			pools = append(pools, escapePath(m.Target)+".mount")
		}
	}
	after := strings.Join(append([]string{"libvirtd.service", "nfs-server.service"}, pools...), " ")
	edits := []edit{whole("/etc/systemd/system/libvirt-guests.service.d/hvinstall.conf", 0o644,
		"# Written by hvinstall: at the end of the host, its VMs shut down while all that\n# they live on is there.\n[Unit]\nAfter="+after+"\n")}
	if len(pools) == 0 {
		return edits
	}
	return append(edits, whole("/etc/systemd/system/machine.slice.d/hvinstall.conf", 0o644,
		"# Written by hvinstall: a VM that has not shut down in time is ended before the\n# file system of its disk is unmounted.\n[Unit]\nAfter="+strings.Join(pools, " ")+"\n"))
}

// unitsStep writes them.
func (p Plan) unitsStep(env Env, after []string) step.Step {
	return told(env, editStep(env.Root, "os/units", "write the timers, and the VMs' shutdown", after, p.unitEdits()...), nil,
		systemctl([]string{"daemon-reload"}, []string{"try-restart", "smartmontools.service"}))
}
