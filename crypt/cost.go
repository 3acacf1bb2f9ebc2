package crypt

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"hvinstall/host"
)

// mostThreads is how many threads cryptsetup lets argon2id have at most.
const mostThreads = 4

// MeasureCost is the argon2id cost that cryptsetup chooses on this machine for
// a volume of its own making. The machine should be idle meanwhile, or the
// cost comes out weak.
func MeasureCost(ctx context.Context, log logger) (Cost, error) {
	threads := min(mostThreads, runtime.NumCPU())
	out, err := host.Cmd{
		Argv: []string{"cryptsetup", "benchmark", "--pbkdf", "argon2id", "--pbkdf-parallel", strconv.Itoa(threads)}, Log: log,
	}.Output(ctx)
	if err != nil {
		return Cost{}, err
	}
	if cost, ok := parseBenchmark(string(out)); ok {
		return cost, nil
	}
	log("cryptsetup's benchmark says nothing that is understood; measuring by a format")
	return formatCost(ctx, log)
}

// parseBenchmark reads the line
//
//	argon2id      4 iterations, 540459 memory, 4 parallel threads (CPUs) for 256-bit key (requested 2000 ms time)
func parseBenchmark(text string) (Cost, bool) {
	for line := range strings.Lines(text) {
		var c Cost
		n, _ := fmt.Sscanf(line, "argon2id %d iterations, %d memory, %d parallel threads", &c.Time, &c.Memory, &c.Parallel)
		if n == 3 && c.Time > 0 && c.Memory > 0 && c.Parallel > 0 {
			return c, true
		}
	}
	return Cost{}, false
}

// formatCost has cryptsetup format a small file, and reads the cost that it
// chose. That takes a computation of argon2id more than the benchmark alone.
func formatCost(ctx context.Context, log logger) (Cost, error) {
	dir, err := os.MkdirTemp("", "hvinstall-cost-")
	if err != nil {
		return Cost{}, err
	}
	defer os.RemoveAll(dir)
	path := dir + "/volume"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return Cost{}, err
	}
	if err := os.Truncate(path, 4<<20); err != nil {
		return Cost{}, err
	}
	key := NewKey(32)
	defer key.Wipe()
	err = cryptsetup(ctx, log, []Secret{key}, "luksFormat", "--batch-mode", "--type", "luks2", "--pbkdf", "argon2id",
		"--luks2-keyslots-size", "512k", "--offset", "4096", "--key-file", host.SecretPath(0), path)
	if err != nil {
		return Cost{}, err
	}
	header, err := ReadHeader(path)
	if err != nil {
		return Cost{}, err
	}
	slots := sortedKeys(header.Slots)
	if !slices.Equal(slots, []int{0}) || header.Slots[0].Cost.Memory == 0 {
		return Cost{}, fmt.Errorf("cryptsetup made keyslots %v instead of one of argon2id", slots)
	}
	return header.Slots[0].Cost, nil
}
