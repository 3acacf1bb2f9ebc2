package vmstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// UnitName is the systemd unit that converges the VMs at each boot.
const UnitName = "hvinstall-vms.service"

// unitTimeout bounds a boot's convergence: a first boot may still have an
// image to download.
const unitTimeout = "2h"

// Unit is the text of hvinstall-vms.service. At the first boot it defines and
// starts what the installation staged; at every later boot it finds nothing to
// do, or starts the VMs in their boot_order. None of this waits for the host's
// own lease. When something is refused, the VMs that libvirt has are started all
// the same: a host that comes up at night must not stay without all of them
// because of one. Then the network is waited for, and all is tried again: an image
// may be missing. binary and layout are paths in the installed system; pool is
// where the pool that holds libvirt_vmstore_root is mounted, empty where it lies
// on no pool.
func Unit(binary, layout, pool string) string {
	return fmt.Sprintf(`[Unit]
Description=Converge the virtual machines of %[2]s
Documentation=file:%[2]s
After=libvirtd.service virtqemud.service libvirtd.socket virtqemud.socket network.target nfs-server.service
Wants=network-online.target libvirtd.service
%[3]sConditionPathExists=%[2]s
StartLimitIntervalSec=10min
StartLimitBurst=5

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '"$$0" --plan "$$1" --only vms --yes && exit; "$$0" %[5]s --plan "$$1"; systemctl start network-online.target; exec "$$0" --plan "$$1" --only vms --yes' %[1]s %[2]s
ExecStopPost=/bin/sh -c 'test "$SERVICE_RESULT" = success || exec %[1]s %[5]s --plan %[2]s'
TimeoutStartSec=%[4]s
# libvirtd may accept connections a moment after its unit is up. What was
# refused will be refused again.
Restart=on-failure
RestartSec=15s
RestartPreventExitStatus=2 3

[Install]
WantedBy=multi-user.target
`, unitPath(binary), unitPath(layout), poolCondition(pool), unitTimeout, StartCommand)
}

// poolCondition keeps the unit from taking a pool that is not mounted for one
// without VMs. The init has mounted the pool before systemd started, or has
// said why not; RequiresMountsFor= would wait for its device once more.
func poolCondition(pool string) string {
	if pool == "" {
		return ""
	}
	return "ConditionPathIsMountPoint=" + unitPath(pool) + "\n"
}

// unitPath writes a path as systemd reads it: % begins a specifier, and a
// space would end the word.
func unitPath(path string) string {
	return strings.NewReplacer("%", "%%", " ", `\x20`, `\`, `\\`).Replace(path)
}

// InstallUnit is the step that writes and enables the unit below root.
func InstallUnit(root, binary, layout, pool string) step.Step {
	const dir = "etc/systemd/system"
	path := filepath.Join("/", root, dir, UnitName)
	link := filepath.Join("/", root, dir, "multi-user.target.wants", UnitName)
	target := filepath.Join("/", dir, UnitName)
	text := []byte(Unit(binary, layout, pool))
	return step.Step{
		ID: "vms/unit", Title: "enable " + UnitName,
		Check: func(context.Context) (step.State, string, error) {
			same, err := host.FileIs(path, text, 0o644)
			if err != nil {
				return step.Absent, "", err
			}
			if !same {
				return step.Absent, "it is not there, or says something else", nil
			}
			have, err := os.Readlink(link)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return step.Absent, "it is not enabled", nil
			case err != nil:
				return step.Absent, "", err
			case have != target && have != "../"+UnitName:
				return step.Foreign, link + " leads to " + have, nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			if err := host.WriteFile(path, text, 0o644); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				return err
			}
			if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("enabling the unit: %w", err)
			}
			return syncDir(filepath.Dir(link))
		},
	}
}
