package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hvinstall/host"

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
	NVMe struct {
		PercentageUsed int    `json:"percentage_used"`
		MediaErrors    uint64 `json:"media_errors"`
	} `json:"nvme_smart_health_information_log"`
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

// ReadHealth asks a disk by its kernel name. It needs root and smartctl; where
// either is missing, Unavailable says so and there is no error.
func ReadHealth(ctx context.Context, name string) Health {
	if len(host.Missing("smartctl")) > 0 {
		return Health{Unavailable: "smartctl is not installed"}
	}
	// smartctl's exit code is a bit mask of findings; what counts is its JSON.
	// -n standby leaves a sleeping disk asleep.
	argv := []string{"smartctl", "--json=c", "-n", "standby", "-H", "-A"}
	if strings.HasPrefix(name, "nvme") {
		// What an NVMe log says is standard. The database of drives' quirks, which
		// is for ATA, takes smartctl most of its time.
		argv = append(argv, "-B", "/dev/null")
	}
	out, err := host.Cmd{Argv: append(argv, "/dev/"+name)}.Output(ctx)
	if err != nil && len(out) == 0 {
		return Health{Unavailable: err.Error()}
	}
	h, err := parseHealth(out)
	if err != nil {
		return Health{Unavailable: err.Error()}
	}
	return h
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
		WornPercent: out.NVMe.PercentageUsed, MediaErrors: out.NVMe.MediaErrors,
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
