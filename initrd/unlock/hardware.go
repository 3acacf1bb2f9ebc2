package unlock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// hardware tells of block devices as they come and go, and sees to their
// drivers.
type hardware struct {
	con    *consoles
	loader *loader
	events *kernelEvents

	// devices tells of every block device, and again when it changes.
	devices chan deviceEvent

	// trials are keys being tried: what can wait does not take the processors
	// from them.
	trials trials
}

type deviceEvent struct {
	device device
	gone   bool
}

// stickModules are what mounting a stick takes: the kernel's own requests for
// modules find no modprobe here.
var stickModules = []string{"vfat", "nls_cp437", "nls_ascii"}

// coldBuses are those whose devices can have storage or a keyboard behind
// them. Walking all of /sys would take longer than it takes to boot.
var coldBuses = []string{"pci", "virtio", "usb", "scsi", "hid", "serio", "mmc", "acpi", "platform", "vmbus", "xen", "cpu"}

// watchHardware listens to the kernel and then looks at what is there: in this
// order nothing can be missed, and twice does no harm.
func watchHardware(con *consoles, l *loader) (*hardware, error) {
	events, err := listenKernel()
	if err != nil {
		return nil, err
	}
	hw := &hardware{con: con, loader: l, events: events, devices: make(chan deviceEvent, 64), trials: newTrials()}
	guard(con, hw.listen)
	guard(con, hw.loadAll)
	return hw, nil
}

// loadAll loads modules in the order in which the boot waits for them. Where
// processors are few, all at once would be the slowest of orders.
func (hw *hardware) loadAll() {
	var usb, disks, rest []string
	for _, bus := range coldBuses {
		for _, modalias := range coldModaliases(bus) {
			switch {
			case pciClass(modalias, "bc0Csc03"):
				usb = append(usb, modalias)
			case pciClass(modalias, "bc01"), bus == "virtio", bus == "scsi":
				disks = append(disks, modalias)
			default:
				rest = append(rest, modalias)
			}
		}
	}
	var wait sync.WaitGroup
	// The kernel tests a cipher when its module is loaded: on one processor, and
	// longer than everything else here takes.
	wait.Go(guarded(hw.con, func() { hw.loader.loadCiphers(usualCipher) }))
	// A stick takes a second or more to come to life after its controller does:
	// everything else is loaded meanwhile.
	hw.loader.loadFor(usb...)
	wait.Go(guarded(hw.con, func() { hw.loader.load("sd_mod", "usb_storage") }))
	wait.Go(guarded(hw.con, func() { hw.loader.load(stickModules...) }))
	// A controller's driver may sleep until its disks have answered.
	guard(hw.con, func() { hw.loader.loadFor(disks...) })
	guard(hw.con, hw.look)
	wait.Wait()
	for _, modalias := range rest {
		hw.trials.letEnd()
		hw.loader.loadFor(modalias)
	}
	// btrfs, whose raid6_pq measures itself first, is needed last.
	hw.trials.letEnd()
	hw.loader.loadAlways()
}

// pciClass says whether a modalias is that of a PCI device of the class, as
// bc01 (storage) or bc0Csc03 (USB host controller).
func pciClass(modalias, class string) bool {
	return strings.HasPrefix(modalias, "pci:") && strings.Contains(modalias, class)
}

// listen follows the kernel's events for ever.
func (hw *hardware) listen() {
	for {
		e, err := hw.events.next()
		if errors.Is(err, errMissed) {
			guard(hw.con, hw.look)
			continue
		}
		if err != nil {
			hw.con.warn("%v", err)
			return
		}
		if modalias := e.vars["MODALIAS"]; modalias != "" && e.action == "add" {
			guard(hw.con, func() { hw.loader.loadFor(modalias) })
		}
		if e.vars["SUBSYSTEM"] != "block" {
			continue
		}
		name := filepath.Base(e.path)
		if e.action == "remove" {
			hw.devices <- deviceEvent{device{name: name}, true}
			continue
		}
		guard(hw.con, func() { hw.tell(name) })
	}
}

// look tells of the block devices that are there.
func (hw *hardware) look() {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return // no block device was ever there
	}
	for _, e := range entries {
		guard(hw.con, func() { hw.tell(e.Name()) })
	}
}

// tell reads a device, which can take as long as a disk takes to spin up, and
// tells of it.
func (hw *hardware) tell(name string) {
	d, ok := identify(name)
	if !ok {
		return
	}
	hw.con.debug("%s: %s %s", d.path(), d.kind, d.uuid)
	hw.devices <- deviceEvent{device: d}
}

// coldModaliases are those of a bus's devices.
func coldModaliases(bus string) []string {
	files, _ := filepath.Glob("/sys/bus/" + bus + "/devices/*/modalias")
	var list []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if modalias := strings.TrimSpace(string(data)); modalias != "" {
			list = append(list, modalias)
		}
	}
	return list
}

// guard runs f beside the rest. A bug in it must not end process 1.
func guard(con *consoles, f func()) {
	go guarded(con, f)()
}

// guarded is f, of which a panic is a warning. Every function that runs beside
// the init's first goroutine is one: TestEveryGoroutineIsGuarded.
func guarded(con *consoles, f func()) func() {
	return func() {
		defer func() {
			if r := recover(); r != nil {
				con.warn("a part of the init met a bug of its own and is left out: %v", r)
			}
		}()
		f()
	}
}
