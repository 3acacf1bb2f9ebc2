package disk

// UsableRAID1 is how many bytes of data btrfs RAID1 stores on devices of these
// sizes: every chunk lies on two different devices, so a device larger than
// all the others together has a part that nothing can mirror.
func UsableRAID1(sizes ...uint64) uint64 {
	var total, largest uint64
	for _, s := range sizes {
		total += s
		largest = max(largest, s)
	}
	return min(total/2, total-largest)
}
