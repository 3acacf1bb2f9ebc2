package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hvinstall/host"

	"github.com/anatol/smart.go"
	"golang.org/x/sys/unix"
)

// Health is what a disk says of itself by SMART.
type Health struct {
	Passed       bool   `json:"passed"`
	TemperatureC int    `json:"temperature_c,omitempty"`
	PowerOnHours int    `json:"power_on_hours,omitempty"`
	WornPercent  int    `json:"worn_percent,omitempty"` // of an SSD's rated writes
	Reallocated  uint64 `json:"reallocated,omitempty"`  // sectors that were replaced
	Pending      uint64 `json:"pending,omitempty"`      // sectors that could not be read
	MediaErrors  uint64 `json:"media_errors,omitempty"` // of NVMe
	Unavailable  string `json:"unavailable,omitempty"`  // why there is none of this
}

// smartctl's JSON, of which only what is read is named; smartmontools 7.
type smartOutput struct {
	Smartctl struct {
		Messages []struct {
			String string `json:"string"`
		} `json:"messages"`
	} `json:"smartctl"`
	Status *struct {
		Passed bool `json:"passed"`
	} `json:"smart_status"`
	Temperature struct {
		Current int `json:"current"`
	} `json:"temperature"`
	PowerOnTime struct {
		Hours int `json:"hours"`
	} `json:"power_on_time"`
	ATA struct {
		Table []struct {
			ID    int    `json:"id"`
			Value int    `json:"value"`
			Name  string `json:"name"`
			Raw   struct {
				Value uint64 `json:"value"`
			} `json:"raw"`
		} `json:"table"`
	} `json:"ata_smart_attributes"`
}

// ReadHealth asks a disk, by its device's path below /dev. It needs root, and
// smartctl for disks other than NVMe; where either is missing, Unavailable says
// so and there is no error.
func ReadHealth(ctx context.Context, device string) Health {
	read := readATAHealth
	if strings.HasPrefix(device, "/dev/nvme") {
		read = readNVMeHealth
	}
	h, err := read(ctx, device)
	if err != nil {
		return Health{Unavailable: err.Error()}
	}
	return h
}

// readNVMeHealth reads the SMART / Health Information log page (NVM Express
// Base Specification 2.0, 5.16.1.3): a program for each disk would take a
// tenth of a second of CPU.
func readNVMeHealth(_ context.Context, device string) (Health, error) {
	d, err := smart.OpenNVMe(device)
	if err != nil {
		return Health{}, err
	}
	defer d.Close()
	log, err := d.ReadSMART()
	if err != nil {
		return Health{}, err
	}
	return nvmeHealth(log), nil
}

func nvmeHealth(log *smart.NvmeSMARTLog) Health {
	h := Health{
		Passed: log.CritWarning == 0, PowerOnHours: int(log.PowerOnHours.Val[0]),
		WornPercent: int(log.PercentUsed), MediaErrors: log.MediaErrors.Val[0],
	}
	if log.Temperature > 0 { // kelvins; 0: not known
		h.TemperatureC = int(log.Temperature) - 273
	}
	return h
}

// readATAHealth asks smartctl. Its exit code is a bit mask of findings; what
// counts is its JSON. -n standby leaves a sleeping disk asleep. The database of
// drives' quirks, which takes smartctl most of its time, is about names and
// units that are not shown.
func readATAHealth(ctx context.Context, device string) (Health, error) {
	if len(host.Missing("smartctl")) > 0 {
		return Health{}, errors.New("smartctl is not installed")
	}
	out, err := host.Cmd{Argv: []string{"smartctl", "--json=c", "-n", "standby", "-H", "-A", "-B", "/dev/null", device}}.Output(ctx)
	if err != nil && len(out) == 0 {
		return Health{}, err
	}
	return parseHealth(out)
}

func parseHealth(data []byte) (Health, error) {
	var out smartOutput
	if err := json.Unmarshal(data, &out); err != nil {
		return Health{}, fmt.Errorf("reading smartctl's output: %w", err)
	}
	if out.Status == nil {
		if len(out.Smartctl.Messages) > 0 {
			return Health{}, errors.New(out.Smartctl.Messages[0].String)
		}
		return Health{}, errors.New("the disk has no SMART")
	}
	h := Health{
		Passed: out.Status.Passed, TemperatureC: out.Temperature.Current, PowerOnHours: out.PowerOnTime.Hours,
	}
	for _, a := range out.ATA.Table {
		switch a.ID {
		case 5:
			h.Reallocated = a.Raw.Value
		case 197:
			h.Pending = a.Raw.Value
		case 177, 231, 233:
			// Wear levelling, life left: the normalised value counts down from
			// 100 on the drives of all makers.
			if a.Value > 0 && a.Value <= 100 {
				h.WornPercent = max(h.WornPercent, 100-a.Value)
			}
		}
	}
	return h, nil
}

func freeBytes(mountpoint string) uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(mountpoint, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}
