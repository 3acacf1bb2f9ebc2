package configs

import (
	"fmt"
	"slices"
	"strings"
)

// otherNames are what people call a key, from other tools that have it.
var otherNames = map[string]string{
	"memory": "ram_mb", "ram": "ram_mb", "mem": "ram_mb", "cpu": "vcpu", "cpus": "vcpu", "cores": "vcpu",
	"mac": "mac_address", "image": "disk_image", "iso": "iso_image", "password": "password_hash",
	"ssh_keys": "ssh_authorized_keys", "authorized_keys": "ssh_authorized_keys", "devices": "disks",
	"interface": "nic", "iface": "nic", "swap": "swap_size", "esp": "esp_size", "media": "storage_media",
	"usb": "usb_devices", "vms": "libvirt_vms", "nfs": "nfs_exports", "exports": "nfs_exports",
	"name": "hostname", "nameservers": "dns", "sha256sum": "sha256", "options": "mount_options",
	"mount": "mountpoint", "path": "dest", "usb_keys_ids": "usb_keys", "by_id": "id", "tz": "timezone",
}

// nearest is the candidate that a person most likely meant, or "".
func nearest(word string, candidates []string) string {
	simple := simplify(word)
	if other := otherNames[strings.ToLower(word)]; slices.Contains(candidates, other) {
		return other
	}
	slips := 2 // of the pen: one in a short word, more in a long one
	switch {
	case len(simple) <= 4:
		slips = 1
	case len(simple) > 8:
		slips = len(simple) / 3
	}
	best, least := "", slips+1
	for _, c := range candidates {
		if d := distance(simple, simplify(c), least); d < least && d < len(simple) {
			best, least = c, d
		}
	}
	if best != "" || len(simple) < 4 {
		return best
	}
	for _, c := range candidates {
		// "pasword" for password_hash: the first words alone are near.
		i := strings.LastIndexByte(c, '_')
		if strings.HasPrefix(simplify(c), simple) || i > 6 && distance(simple, simplify(c[:i]), slips+1) <= slips {
			return c
		}
	}
	return ""
}

// didYouMean is a hint for an unknown word.
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "known here: " + strings.Join(candidates, ", ")
}

// simplify makes mountPoint, mount-point and mount_point the same word.
func simplify(s string) string {
	s = s[:min(len(s), 64)]
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the number of letters added, dropped, changed or swapped with
// their neighbour between a and b, or enough if it is at least that
// (the optimal string alignment distance).
func distance(a, b string, enough int) int {
	if len(a)-len(b) >= enough || len(b)-len(a) >= enough {
		return enough
	}
	previous, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], previous[j-2]+1)
			}
		}
		previous, row = row, next
	}
	return min(row[len(b)], enough)
}
