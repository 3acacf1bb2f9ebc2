//go:build guest

package testvm

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestGuest boots the guest with one drive of each kind and a placed NIC, and
// holds udev's names against what the documentation of Drive and NIC promises.
func TestGuest(t *testing.T) {
	started := time.Now()
	vm := BootGuest(t, Guest{Config: Config{
		Timeout: 3 * time.Minute,
		Drives: []Drive{
			{ID: "nv", Model: NVMe, Serial: "NV001", Size: 500e9},
			{ID: "hd", Model: SATA, Serial: "HD001", Product: "ST4000VN008", Size: 4e12},
			{ID: "vd", Model: Virtio, Serial: "VD001", Size: 1 << 30},
			{ID: "stick", Model: USB, Serial: "USB001", Size: 8e9},
			{ID: "late", Model: USB, Serial: "USB002", Size: 8e9, Later: true},
		},
		NICs: []NIC{{PCIBus: 5, MAC: "52:54:00:12:34:56"}},
	}})
	t.Logf("the shell answers after %v", time.Since(started).Round(100*time.Millisecond))
	shell := func(command string) string {
		t.Helper()
		out, err := vm.Shell(30*time.Second, command)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	names := shell("ls /dev/disk/by-id")
	for _, want := range []string{"nvme-QEMU_NVMe_Ctrl_NV001", "ata-ST4000VN008_HD001", "virtio-VD001", "usb-QEMU_QEMU_HARDDISK_USB001-0:0"} {
		if !strings.Contains(names, want) {
			t.Errorf("/dev/disk/by-id lacks %s:\n%s", want, names)
		}
	}
	if links := shell("ls /sys/class/net"); !strings.Contains(links, "enp5s0") {
		t.Errorf("no enp5s0 among %q", links)
	}
	if out := shell("cat /sys/block/sd*/queue/rotational /sys/block/nvme0n1/queue/rotational | tr -d '\\n'"); !strings.HasSuffix(out, "0") {
		t.Errorf("rotational flags = %q", out)
	}

	late := "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USB002-0:0"
	if err := vm.Plug("late"); err != nil {
		t.Fatal(err)
	}
	shell("for i in $(seq 100); do [ -e " + late + " ] && break; sleep 0.1; done; [ -e " + late + " ]")
	if err := vm.Unplug("late"); err != nil {
		t.Fatal(err)
	}
	shell("for i in $(seq 100); do [ -e " + late + " ] || break; sleep 0.1; done; ! [ -e " + late + " ]")

	if _, err := vm.Shell(time.Second*5, "false"); err == nil {
		t.Error("a command that fails is no error")
	}
	if status, err := vm.HMP("info status"); err != nil || !strings.Contains(status, "running") {
		t.Errorf("info status = %q, %v", status, err)
	}
	if err := vm.Send("poweroff -f\n"); err != nil {
		t.Fatal(err)
	}
	if err := vm.Wait(30 * time.Second); err != nil {
		t.Error(err)
	}
}

// TestPowerCut writes to a drive, cuts the power, and reads the write back.
func TestPowerCut(t *testing.T) {
	vm := BootGuest(t, Guest{Config: Config{Drives: []Drive{{ID: "vd", Model: Virtio, Serial: "VD001", Size: 1 << 20}}}})
	if _, err := vm.Shell(30*time.Second, "echo survives | dd of=/dev/vda conv=fsync 2>/dev/null"); err != nil {
		t.Fatal(err)
	}
	vm.PowerCut()
	data := make([]byte, 9)
	readAt(t, vm.DrivePath("vd"), data)
	if string(data) != "survives\n" {
		t.Errorf("the drive holds %q", data)
	}
}

// TestTimeLimit ends a guest wherever it is by then.
func TestTimeLimit(t *testing.T) {
	vm := Guest{Config: Config{Timeout: 5 * time.Second}}.boot(t, nil)
	err := vm.Wait(time.Minute)
	if err == nil || !strings.Contains(err.Error(), "time of 5s is over") {
		t.Errorf("Wait = %v, want the time limit", err)
	}
}

// TestInner is about RunTests itself.
func TestInner(t *testing.T) {
	RunTests(t, Guest{Config: Config{Drives: []Drive{{Model: NVMe, Serial: "NV001", Size: 1e9}}}, Env: []string{"GREETING=it's me"}},
		[]string{"./testvm"})
}

func readAt(t *testing.T, path string, data []byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
}
