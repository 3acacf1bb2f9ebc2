package testvm

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// qmp is a connection to QEMU's monitor, see docs/interop/qmp-spec in QEMU.
type qmp struct {
	mu   sync.Mutex
	conn net.Conn
	dec  *json.Decoder
}

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Event    string          `json:"event"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

func dialQMP(path string) (*qmp, error) {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	// QEMU makes its socket early, but not before it was started.
	for tries := 0; err != nil && tries < 100; tries++ {
		<-time.After(50 * time.Millisecond)
		conn, err = net.DialTimeout("unix", path, 5*time.Second)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to QEMU's monitor: %w", err)
	}
	q := &qmp{conn: conn, dec: json.NewDecoder(conn)}
	var greeting qmpMessage
	if err := q.dec.Decode(&greeting); err != nil {
		conn.Close()
		return nil, fmt.Errorf("reading QEMU's greeting: %w", err)
	}
	if _, err := q.execute("qmp_capabilities", nil); err != nil {
		conn.Close()
		return nil, err
	}
	return q, nil
}

func (q *qmp) execute(command string, arguments map[string]any) (json.RawMessage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := q.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	for {
		var m qmpMessage
		if err := q.dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		switch {
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", command, m.Error.Desc)
		case m.Return != nil:
			return m.Return, nil
		}
	}
}

func (q *qmp) close() { q.conn.Close() }

// QMP gives QEMU's monitor one command and returns its answer.
func (vm *VM) QMP(command string, arguments map[string]any) (json.RawMessage, error) {
	vm.qmpOnce.Do(func() { vm.qmp, vm.qmpErr = dialQMP(vm.qmpPath()) })
	if vm.qmpErr != nil {
		return nil, vm.qmpErr
	}
	return vm.qmp.execute(command, arguments)
}

// HMP gives the human monitor one command and returns what it prints.
func (vm *VM) HMP(command string) (string, error) {
	answer, err := vm.QMP("human-monitor-command", map[string]any{"command-line": command})
	if err != nil {
		return "", err
	}
	var text string
	if err := json.Unmarshal(answer, &text); err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return strings.TrimSpace(text), nil
}

// Plug plugs in a drive that was declared Later, or was unplugged.
func (vm *VM) Plug(id string) error {
	for _, d := range vm.Config.Drives {
		if d.ID != id {
			continue
		}
		arguments := map[string]any{}
		for _, p := range d.properties() {
			switch p.key {
			case "":
				arguments["driver"] = p.value
			case "removable":
				arguments[p.key] = p.value == "on"
			case "bootindex", "rotation_rate", "physical_block_size", "logical_block_size":
				arguments[p.key] = json.Number(p.value)
			default:
				arguments[p.key] = p.value
			}
		}
		_, err := vm.QMP("device_add", arguments)
		return err
	}
	return fmt.Errorf("the machine has no drive %q", id)
}

// Unplug takes a drive out, as a hand takes a stick.
func (vm *VM) Unplug(id string) error {
	_, err := vm.QMP("device_del", map[string]any{"id": id})
	return err
}

// PowerButton presses the power button; the guest decides what follows.
func (vm *VM) PowerButton() error {
	_, err := vm.QMP("system_powerdown", nil)
	return err
}

// Cable plugs in the network cable of the machine's n-th NIC, from 0, or pulls
// it out.
func (vm *VM) Cable(n int, in bool) error {
	_, err := vm.QMP("set_link", map[string]any{"name": fmt.Sprintf("nic%d", n), "up": in})
	return err
}

// Reset presses the reset button.
func (vm *VM) Reset() error {
	_, err := vm.QMP("system_reset", nil)
	return err
}

// Screendump writes the screen as a PPM image. The machine needs Config.Screen.
func (vm *VM) Screendump(path string) error {
	_, err := vm.QMP("screendump", map[string]any{"filename": path})
	return err
}
