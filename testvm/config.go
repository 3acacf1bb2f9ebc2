package testvm

import (
	"io"
	"time"
)

// Config is a virtual machine. The zero value of each field is a useful default.
type Config struct {
	Memory int // MiB; default 2048
	CPUs   int // default: HVINSTALL_GUEST_CPUS, or 2

	// Kernel, Initrd and Append boot a Linux kernel directly.
	Kernel, Initrd, Append string

	// OVMF boots by UEFI firmware, with a private copy of its variables. Vars
	// names the file that holds them across boots; empty: a fresh copy.
	// VarsSnapshot forgets what is written to them.
	OVMF         bool
	Vars         string
	VarsSnapshot bool

	// Controllers are added before the drives, which name them by Drive.Port,
	// as QEMU's -device values: "megasas,id=raid", and Port "raid.0".
	Controllers []string

	Drives []Drive
	NICs   []NIC
	Shares []Share

	// SecondSerial gives the guest a ttyS1 whose output goes to a file, see
	// VM.SecondSerialPath. agetty hangs up other writers of its console.
	SecondSerial bool

	// Output gives the guest a virtio-serial port of that name
	// (/dev/virtio-ports/<name>) whose output goes to VM.OutputPath.
	Output string

	// Mirror gets everything that the serial console says, as it says it; a
	// slow one holds up the guest. May be nil.
	Mirror io.Writer

	// Screen adds a VGA adapter, for VM.Screendump.
	Screen bool

	// Timeout is the hard limit of the machine's life; default 10 minutes.
	Timeout time.Duration

	// Extra is appended to QEMU's command line.
	Extra []string
}

// Model is how a drive is attached.
type Model string

// The ways to attach a drive. Debian's udev names them, by serial S:
// nvme-QEMU_NVMe_Ctrl_S, ata-<Product>_S, usb-QEMU_QEMU_HARDDISK_S-0:0 and
// virtio-S.
const (
	NVMe   Model = "nvme"
	SATA   Model = "ide-hd"
	USB    Model = "usb-storage"
	Virtio Model = "virtio-blk-pci"
	CDROM  Model = "ide-cd"
	SCSI   Model = "scsi-hd" // on one of Controllers
)

// Drive is a disk of the machine.
type Drive struct {
	ID       string // QEMU's id, used to unplug it; default drive<n>
	Model    Model
	Serial   string
	Product  string // SATA model name, as ST4000VN008; default QEMU HARDDISK
	Path     string // a file; empty: a sparse file of Size, gone with the test
	Size     int64  // bytes, for a file that is not there
	Format   string // raw (default) or qcow2
	Snapshot bool   // writes go to a temporary overlay; the file stays as it is
	ReadOnly bool
	Boot     int    // firmware boot order, from 1; 0: none
	Sector   int    // physical block size; default 512
	Logical  int    // logical block size; default 512
	SSD      bool   // SATA: reports itself as not rotating
	Later    bool   // not plugged in at the start; see VM.Plug
	Port     string // bus; default for USB the machine's xhci, for SATA its next port; SATA: port, default the next of ide.0 to ide.5
}

// NIC is a network card on a slirp network that reaches nothing beyond this
// machine.
type NIC struct {
	Model  string // default virtio-net-pci
	MAC    string
	PCIBus int    // 2 to 15: placed behind that PCIe root port, so that Linux calls it enp<bus>s0
	Net    string // slirp's network, as 192.168.1.0/24; default 10.0.2.0/24
	// Forward is slirp's forwards: "hostfwd=tcp:127.0.0.1:2222-:22" or
	// "guestfwd=tcp:10.0.2.100:80-tcp:127.0.0.1:8080".
	Forward []string
	// Socket connects the card to other guests instead of slirp, as QEMU's
	// -netdev value without the id: "socket,mcast=230.0.0.1:1234,localaddr=127.0.0.1".
	Socket string
}

// Share is a host folder that the guest mounts by
// mount -t 9p -o trans=virtio,version=9p2000.L <Tag> <dir>.
type Share struct {
	Tag      string
	Path     string
	ReadOnly bool
}
