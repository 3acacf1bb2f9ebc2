package testvm

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// args is QEMU's command line for the machine whose files are in dir.
func (vm *VM) args() []string {
	c := vm.Config
	accel := os.Getenv("HVINSTALL_QEMU_ACCEL")
	if accel == "" {
		accel = "tcg,thread=multi"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", accel, "-cpu", "max",
		"-m", strconv.Itoa(c.Memory), "-smp", strconv.Itoa(c.CPUs),
		"-device", "virtio-rng-pci",
		"-device", "qemu-xhci,id=xhci,p2=8,p3=8",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-qmp", "unix:" + vm.qmpPath() + ",server=on,wait=off",
	}
	if c.SecondSerial {
		args = append(args, "-serial", "file:"+vm.SecondSerialPath())
	}
	if c.Output != "" {
		args = append(args,
			"-device", "virtio-serial-pci",
			"-chardev", "file,id=output,path="+escape(vm.OutputPath()),
			"-device", "virtserialport,chardev=output,name="+escape(c.Output))
	}
	if c.Screen {
		args = append(args, "-vga", "std")
	}
	if c.Kernel != "" {
		args = append(args, "-kernel", c.Kernel)
		if c.Initrd != "" {
			args = append(args, "-initrd", c.Initrd)
		}
		if c.Append != "" {
			args = append(args, "-append", c.Append)
		}
	}
	if c.OVMF {
		vars := "if=pflash,unit=1,format=raw,file=" + escape(c.Vars)
		if c.VarsSnapshot {
			vars += ",snapshot=on"
		}
		args = append(args, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escape(ovmfCode), "-drive", vars)
	}
	for _, controller := range c.Controllers {
		args = append(args, "-device", controller)
	}
	for _, d := range c.Drives {
		args = append(args, "-drive", d.backend())
		if !d.Later {
			args = append(args, "-device", d.device())
		}
	}
	args = append(args, nicArgs(c.NICs)...)
	for i, s := range c.Shares {
		value := fmt.Sprintf("local,id=share%d,path=%s,mount_tag=%s,security_model=none", i, escape(s.Path), escape(s.Tag))
		if s.ReadOnly {
			value += ",readonly=on"
		}
		args = append(args, "-virtfs", value)
	}
	return append(args, c.Extra...)
}

// backend is -drive's value: the file behind the drive. cache=unsafe ignores
// flushes, which is faster and loses nothing when QEMU alone is killed.
func (d Drive) backend() string {
	s := fmt.Sprintf("if=none,id=%s,format=%s,cache=unsafe,file=%s", d.node(), d.Format, escape(d.Path))
	if d.Format == "raw" && d.Model != CDROM {
		s += ",discard=unmap,detect-zeroes=unmap"
	}
	if d.Snapshot {
		s += ",snapshot=on"
	}
	if d.ReadOnly || d.Model == CDROM {
		s += ",readonly=on"
	}
	return s
}

func (d Drive) node() string { return "file-" + d.ID }

// device is -device's value: the drive as the guest sees it.
func (d Drive) device() string {
	var b strings.Builder
	for _, p := range d.properties() {
		if b.Len() > 0 {
			b.WriteString(",")
		}
		if p.key != "" {
			b.WriteString(p.key + "=")
		}
		b.WriteString(escape(p.value))
	}
	return b.String()
}

type property struct{ key, value string }

func (d Drive) properties() []property {
	p := []property{{"", string(d.Model)}, {"id", d.ID}, {"drive", d.node()}}
	if d.Serial != "" {
		p = append(p, property{"serial", d.Serial})
	}
	if d.Product != "" && d.Model == SATA {
		p = append(p, property{"model", d.Product})
	}
	if d.SSD && d.Model == SATA {
		p = append(p, property{"rotation_rate", "1"})
	}
	if d.Sector != 0 {
		p = append(p, property{"physical_block_size", strconv.Itoa(d.Sector)})
	}
	if d.Logical != 0 {
		p = append(p, property{"logical_block_size", strconv.Itoa(d.Logical)})
	}
	if d.Boot != 0 {
		p = append(p, property{"bootindex", strconv.Itoa(d.Boot)})
	}
	if d.Model == USB {
		p = append(p, property{"removable", "on"})
	}
	if d.Port != "" {
		p = append(p, property{"bus", d.Port})
	}
	return p
}

func nicArgs(nics []NIC) []string {
	var args []string
	// Firmware numbers buses in the order of the ports, so port n leads to bus
	// n. The ports share the functions of two slots; hotplug=off because udev
	// would name the card by the hotplug slot, as ens5.
	ports := 0
	for _, n := range nics {
		ports = max(ports, n.PCIBus)
	}
	for port := 1; port <= ports; port++ {
		args = append(args, "-device", fmt.Sprintf(
			"pcie-root-port,id=port%d,chassis=%d,hotplug=off,multifunction=on,addr=0x%x.%d",
			port, port, 0x10+(port-1)/8, (port-1)%8))
	}
	for i, n := range nics {
		backend := n.Socket
		if backend == "" {
			backend = "user,restrict=on"
			if n.Net != "" {
				backend += ",net=" + n.Net
			}
			for _, f := range n.Forward {
				backend += "," + f
			}
		}
		kind, rest, _ := strings.Cut(backend, ",")
		args = append(args, "-netdev", strings.TrimSuffix(fmt.Sprintf("%s,id=net%d,%s", kind, i, rest), ","))
		device := n.Model
		if device == "" {
			device = "virtio-net-pci"
		}
		device += fmt.Sprintf(",id=nic%d,netdev=net%d,romfile=", i, i)
		if n.MAC != "" {
			device += ",mac=" + n.MAC
		}
		if n.PCIBus > 0 {
			device += fmt.Sprintf(",bus=port%d", n.PCIBus)
		}
		args = append(args, "-device", device)
	}
	return args
}

// escape doubles commas, which end a value on QEMU's command line.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
