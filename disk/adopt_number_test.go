package disk

import "testing"

// A pool laid out by disko is open as crypt-<pool>-0, -1, …; adopted, it keeps
// these names, which the host's own configuration refers to.
func TestAdoptedPoolCountsFromZero(t *testing.T) {
	in := house()
	in.Layout.Pools[0].Adopt = true
	for i, name := range []string{"A", "B"} {
		in.Facts.Disks[1+i].Signatures = []Signature{{Type: "gpt"}}
		in.Facts.Disks[1+i].Partitions = []Partition{{
			Number: 1, Start: 1 << 20, Size: tb - 2<<20, GUID: "22222222-0000-0000-0000-00000000000" + name, Label: "disk-fast-luks-fast",
			Signatures: []Signature{{Type: "luks2", UUID: "33333333-0000-0000-0000-00000000000" + name}},
			Holders:    []Holder{{Kind: "dm", Name: "crypt-fast-" + string(rune('0'+i))}},
		}}
	}
	plan, refusals := MakePlan(in)
	if len(refusals) > 0 || plan.Disks[1].Mapping != "crypt-fast-0" || plan.Disks[2].Mapping != "crypt-fast-1" {
		t.Errorf("mappings = %s, %s, refusals = %v; want crypt-fast-0 and crypt-fast-1", plan.Disks[1].Mapping, plan.Disks[2].Mapping, refusals)
	}
}
