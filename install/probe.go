package install

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"hvinstall/disk"
	"hvinstall/host"
	"hvinstall/net/bridge"
	"hvinstall/net/filter"
	"hvinstall/osimage"
	"hvinstall/osimage/nixos"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Probe reads the machine that it runs on. It writes nothing, opens no device
// for writing, and works without root as far as the system allows.
func Probe(ctx context.Context) (Facts, error) {
	f := Facts{
		Version: FactsVersion, Taken: time.Now().UTC().Truncate(time.Second),
		CPUs: runtime.NumCPU(), Root: os.Geteuid() == 0,
		Vendor: line("/sys/class/dmi/id/sys_vendor"), Product: line("/sys/class/dmi/id/product_name"),
		Kernel: line("/proc/sys/kernel/osrelease"), KVM: kvmUsable(),
	}
	if f.Hostname, _ = os.Hostname(); f.Hostname == "(none)" { // the kernel's word before any is set
		f.Hostname = ""
	}
	_, err := os.Stat("/sys/firmware/efi")
	f.UEFI = err == nil
	f.Memory = parseMeminfo(text("/proc/meminfo"))
	f.CPUVendor = parseCPUVendor(text("/proc/cpuinfo"))
	f.Virtualisation = virtualisation(f.Vendor, f.Product, text("/proc/cpuinfo"))
	f.OS = parseOSRelease(text("/etc/os-release"))
	if f.OS == "" {
		f.OS = parseOSRelease(text("/usr/lib/os-release"))
	}
	mounts, err := host.Mounts()
	if err != nil {
		return Facts{}, err
	}
	if f.Live = isLive(mounts); !f.Live {
		f.Seed = line(seedOnHost)
	}
	var side errgroup.Group
	side.Go(func() (err error) {
		if f.Disks, err = disk.Probe(ctx, "/"); err != nil {
			return fmt.Errorf("looking at the disks: %w", err)
		}
		return nil
	})
	side.Go(func() error {
		f.Modules = nixos.DriverModules(os.DirFS("/"))
		return nil
	})
	side.Go(func() (err error) {
		if f.Network, err = bridge.Probe(ctx); err != nil {
			return fmt.Errorf("looking at the network: %w", err)
		}
		return nil
	})
	if !f.Live {
		f.Filter = filter.Probe("/", "/proc")
		f.Accounts = osimage.ProbeAccounts("/")
	}
	if err := side.Wait(); err != nil {
		return Facts{}, err
	}
	f.LiveImage, err = probeLiveImage()
	f.makePrintable()
	return f, err
}

// liveImage is where the live stick has the system image; its sum is beside it.
const liveImage = "/run/hvinstall/live/hvinstall/root.squashfs"

func probeLiveImage() (*LiveImage, error) {
	sum, err := osimage.LiveSum(liveImage)
	if err != nil || sum == "" {
		return nil, err
	}
	return &LiveImage{Path: liveImage, SHA256: sum}, nil
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func line(path string) string {
	return strings.TrimSpace(strings.SplitN(text(path), "\n", 2)[0])
}

// kvmUsable asks without opening the device: an open starts the module's work.
func kvmUsable() bool {
	var stat unix.Stat_t
	return unix.Stat("/dev/kvm", &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFCHR &&
		unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil
}

// parseMeminfo reads /proc/meminfo, which counts in KiB.
func parseMeminfo(text string) Memory {
	var m Memory
	for row := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(row)
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 53)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			m.Total = n << 10
		case "MemAvailable:":
			m.Available = n << 10
		}
	}
	return m
}

func parseCPUVendor(text string) string {
	for row := range strings.SplitSeq(text, "\n") {
		if key, value, found := strings.Cut(row, ":"); found && strings.TrimSpace(key) == "vendor_id" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// virtualisation tells from DMI and the CPU's hypervisor flag what the machine
// runs in, as systemd-detect-virt does.
func virtualisation(vendor, product, cpuinfo string) string {
	names := []struct{ dmi, name string }{
		{"QEMU", "qemu"},
		{"KVM", "kvm"},
		{"VMware", "vmware"},
		{"VirtualBox", "oracle"},
		{"innotek", "oracle"},
		{"Xen", "xen"},
		{"Bochs", "bochs"},
		{"Parallels", "parallels"},
		{"Virtual Machine", "microsoft"},
		{"Amazon EC2", "amazon"},
		{"Google Compute Engine", "google"},
		{"OpenStack", "kvm"},
		{"BHYVE", "bhyve"},
	}
	for _, n := range names {
		if strings.Contains(vendor+" "+product, n.dmi) {
			return n.name
		}
	}
	for row := range strings.SplitSeq(cpuinfo, "\n") {
		if key, value, found := strings.Cut(row, ":"); found && strings.TrimSpace(key) == "flags" {
			if slices.Contains(strings.Fields(value), "hypervisor") {
				return "other"
			}
			break
		}
	}
	return ""
}

// parseOSRelease gives os-release(5)'s ID and VERSION_ID.
func parseOSRelease(text string) string {
	values := map[string]string{}
	for row := range strings.SplitSeq(text, "\n") {
		if key, value, found := strings.Cut(row, "="); found {
			values[key] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return strings.TrimSpace(values["ID"] + " " + values["VERSION_ID"])
}

// isLive reports whether the running system's root is in memory, or an overlay
// whose lower part is an image.
func isLive(mounts []host.Mount) bool {
	for _, m := range slices.Backward(mounts) {
		if m.Target != "/" {
			continue
		}
		switch m.FSType {
		case "overlay", "tmpfs", "ramfs", "rootfs", "squashfs", "erofs", "iso9660":
			return true
		}
		return false
	}
	return false
}
