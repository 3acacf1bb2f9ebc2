package appliance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// drivers are loaded in this order; the paths are below kernel/.
var drivers = []string{
	"drivers/virtio/virtio_ring.ko", "drivers/virtio/virtio.ko",
	"drivers/virtio/virtio_pci_modern_dev.ko", "drivers/virtio/virtio_pci_legacy_dev.ko", "drivers/virtio/virtio_pci.ko",
	"net/core/failover.ko", "drivers/net/net_failover.ko", "drivers/net/virtio_net.ko",
	"drivers/input/evdev.ko", "drivers/acpi/button.ko",
}

// init is the appliance: a line when it is up, a line for its lease, and a
// power button that works.
const initScript = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1 </dev/console
for m in %s; do insmod /lib/$m || echo "appliance: no $m"; done
echo "appliance: %s is up"
for d in /sys/bus/pci/devices/*; do echo "appliance: pci ${d##*/} $(cat $d/class) $(cat $d/vendor) $(cat $d/device)"; done
for n in /sys/class/net/eth*; do echo "appliance: nic ${n##*/} $(cat $n/address) $(readlink -f $n/device)"; done
echo "appliance: uuid $(cat /sys/class/dmi/id/product_uuid), BIOS $(cat /sys/class/dmi/id/bios_version)"
(for e in /dev/input/event*; do (head -c 1 $e >/dev/null && echo "appliance: power button" && poweroff -f) & done; wait) &
if [ -d /sys/class/net/eth0 ]; then
  ip link set eth0 up
  udhcpc -i eth0 -q -n -t 10 -T 1 -s /bin/lease >/dev/null 2>&1 || echo "appliance: no lease"
fi
echo "appliance: %s is ready"
while sleep 10; do cat /lease 2>/dev/null; done
`

const leaseScript = `#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add $ip/${mask:-24} dev $interface
echo "appliance: lease $ip" | tee /lease >/dev/console
`

// initramfs is a cpio archive of busybox, the drivers and the script.
func initramfs(name, modules string) ([]byte, error) {
	var a archive
	for _, dir := range []string{"bin", "lib", "proc", "sys", "dev"} {
		a.add(dir, 0o40755, nil)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, err
	}
	a.add("bin/busybox", 0o100755, busybox)
	var loaded []string
	for _, driver := range drivers {
		data, err := os.ReadFile(filepath.Join(modules, "kernel", driver))
		if err != nil {
			return nil, err
		}
		a.add("lib/"+filepath.Base(driver), 0o100644, data)
		loaded = append(loaded, filepath.Base(driver))
	}
	a.add("bin/lease", 0o100755, []byte(leaseScript))
	a.add("init", 0o100755, fmt.Appendf(nil, initScript, strings.Join(loaded, " "), name, name))
	a.add("TRAILER!!!", 0, nil)
	return a.Bytes(), nil
}

// archive is a cpio archive of the form "newc".
type archive struct {
	bytes.Buffer
	inode int
}

func (a *archive) add(name string, mode int, data []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}
