package vmstore

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hvinstall/configs"
	"hvinstall/host"
)

// probeHost reads what the machine can do. Nothing here opens a device.
func probeHost(want configs.VMPlan, root string, facts *Facts) {
	h := &facts.Host
	h.Known = true
	h.RAM, h.Swap = memory()
	h.CPUs = runtime.NumCPU()
	u := qemuUser()
	h.QEMUUser, h.QEMUFound = u.name, u.found
	h.KVM = probeKVM(u)
	h.Bridges = bridges()
	h.Firmware = firmwares()
	h.AppArmor, h.AppArmorReads = appArmor()
	h.USB, h.USBPlaces = usbDevices("/sys/bus/usb/devices")
	h.BootUnit = unitEnabled(root)
	for _, program := range []string{"qemu-img", "xz"} {
		if len(host.Missing(program)) == 0 {
			h.Programs = append(h.Programs, program)
		}
	}
	path := filepath.Join(root, want.VMStoreRoot)
	_, err := os.Stat(path)
	h.RootMissing = err != nil
	if free, _, err := freeSpace(path); err == nil {
		h.Free = free
	}
	h.Blocked = blockedAt(path, u)
}

func memory() (ram, swap int64) {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0, 0
	}
	return int64(info.Totalram) * int64(info.Unit), int64(info.Totalswap) * int64(info.Unit)
}

// identity is the user that QEMU runs as.
type identity struct {
	name   string
	found  bool
	uid    int
	groups []int
}

// qemuUser finds it: qemu.conf says, else it has one name on Debian, another
// on NixOS and a third elsewhere.
func qemuUser() identity {
	names := []string{"libvirt-qemu", "qemu-libvirtd", "qemu"}
	for line := range lines("/etc/libvirt/qemu.conf") {
		key, value, found := strings.Cut(line, "=")
		if found && strings.TrimSpace(key) == "user" {
			names = []string{strings.TrimPrefix(strings.Trim(strings.TrimSpace(value), `"`), "+")}
		}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			u, err = user.LookupId(name)
		}
		if err != nil {
			continue
		}
		id := identity{name: u.Username, found: true}
		id.uid, _ = strconv.Atoi(u.Uid)
		groups, _ := u.GroupIds()
		for _, g := range append(groups, u.Gid) {
			n, _ := strconv.Atoi(g)
			id.groups = append(id.groups, n)
		}
		return id
	}
	return identity{name: names[0]}
}

// lines reads a small file; one that is not there has none.
func lines(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		file, err := os.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		for s := bufio.NewScanner(file); s.Scan(); {
			line := strings.TrimSpace(s.Text())
			if line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
	}
}

// may reports whether a mode gives the user one of the three permissions.
func (id identity) may(info fs.FileInfo, bit fs.FileMode) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || id.uid == 0 {
		return true
	}
	switch {
	case int(st.Uid) == id.uid:
		return info.Mode()&(bit<<6) != 0
	case slices.Contains(id.groups, int(st.Gid)):
		return info.Mode()&(bit<<3) != 0
	}
	return info.Mode()&bit != 0
}

// probeKVM judges /dev/kvm by its permissions alone: opening it is QEMU's.
func probeKVM(u identity) Device {
	info, err := os.Stat("/dev/kvm")
	if err != nil {
		return Device{}
	}
	d := Device{Present: true, Usable: true}
	if u.found && (!u.may(info, 4) || !u.may(info, 2)) {
		d.Usable = false
		d.Why = fmt.Sprintf("the user %s of the VMs may not open it (%s)", u.name, info.Mode())
	}
	return d
}

// blockedAt finds the first directory on the way that the qemu user cannot
// pass. A directory that is not there yet will be made passable.
func blockedAt(path string, u identity) string {
	if !u.found {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	at := "/"
	for _, part := range strings.Split(strings.Trim(real, "/"), "/") {
		at = filepath.Join(at, part)
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		if info.IsDir() && !u.may(info, 1) {
			return at
		}
	}
	return ""
}

func bridges() []string {
	var found []string
	entries, _ := filepath.Glob("/sys/class/net/*/bridge")
	for _, e := range entries {
		found = append(found, filepath.Base(filepath.Dir(e)))
	}
	return found
}

// firmwareDirs are where libvirt looks, the first one first.
var firmwareDirs = []string{"/etc/qemu/firmware", "/usr/share/qemu/firmware", "/run/current-system/sw/share/qemu/firmware", "/run/libvirt/nix-ovmf/firmware"}

func firmwares() []Firmware {
	var found []Firmware
	for _, dir := range firmwareDirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, path := range paths {
			if f, ok := readFirmware(path); ok {
				found = append(found, f)
			}
		}
	}
	return found
}

// readFirmware reads a descriptor (docs/interop/firmware.json in QEMU).
func readFirmware(path string) (Firmware, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Firmware{}, false
	}
	var d struct {
		Interfaces []string `json:"interface-types"`
		Features   []string `json:"features"`
		Mapping    struct {
			Executable struct {
				Filename string `json:"filename"`
			} `json:"executable"`
			Template struct {
				Filename string `json:"filename"`
			} `json:"nvram-template"`
		} `json:"mapping"`
		Targets []struct {
			Architecture string   `json:"architecture"`
			Machines     []string `json:"machines"`
		} `json:"targets"`
	}
	if json.Unmarshal(text, &d) != nil {
		return Firmware{}, false
	}
	q35 := false
	for _, t := range d.Targets {
		for _, m := range t.Machines {
			q35 = q35 || t.Architecture == "x86_64" && strings.HasPrefix(m, "pc-q35")
		}
	}
	if !q35 {
		return Firmware{}, false
	}
	f := Firmware{
		Path: path, Code: d.Mapping.Executable.Filename, UEFI: slices.Contains(d.Interfaces, "uefi"),
		SecureBoot: slices.Contains(d.Features, "secure-boot"), Enrolled: slices.Contains(d.Features, "enrolled-keys"),
	}
	for _, file := range []string{d.Mapping.Executable.Filename, d.Mapping.Template.Filename} {
		if _, err := os.Stat(file); file != "" && err != nil {
			f.Missing = true
		}
	}
	return f, true
}

// appArmor reports whether libvirt's helper is confined, and what it may read.
func appArmor() (bool, []string) {
	enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	if err != nil || !strings.HasPrefix(string(enabled), "Y") {
		return false, nil
	}
	const profile = "/etc/apparmor.d/usr.lib.libvirt.virt-aa-helper"
	if _, err := os.Stat(profile); err != nil {
		return false, nil
	}
	return true, append(appArmorReads(profile), appArmorReads("/etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper")...)
}

// appArmorReads takes the path rules that allow reading: "/**.qcow{,2} r,".
func appArmorReads(profile string) []string {
	var found []string
	for line := range lines(profile) {
		fields := strings.Fields(strings.TrimSuffix(line, ","))
		if len(fields) != 2 || !strings.HasPrefix(fields[0], "/") || !strings.Contains(fields[1], "r") {
			continue
		}
		found = append(found, fields[0])
	}
	return found
}

// usbDevices counts what is plugged in, by vendor and product, and says where.
func usbDevices(sysfs string) (count map[string]int, places map[string]string) {
	count, places = map[string]int{}, map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(sysfs, "*", "idVendor"))
	for _, path := range paths {
		dir := filepath.Dir(path)
		read := func(name string) string {
			text, _ := os.ReadFile(filepath.Join(dir, name))
			return strings.TrimSpace(string(text))
		}
		vendor, product := read("idVendor"), read("idProduct")
		if vendor == "" || product == "" {
			continue
		}
		id := USB{Vendor: vendor, Product: product}.String()
		count[id]++
		places[read("busnum")+"."+read("devnum")] = id
		places[filepath.Base(dir)] = id
	}
	return count, places
}

// unitEnabled reports whether the boot unit will run: systemd's link on
// Debian, the store's on NixOS.
func unitEnabled(root string) bool {
	_, err := os.Lstat(filepath.Join(root, "/etc/systemd/system/multi-user.target.wants", UnitName))
	return err == nil
}
