package configs

import (
	"reflect"
	"slices"
	"strings"
)

// readVMs takes the libvirt_* keys of another file in place of the layout's,
// key by key. Everything else in that file is left unread: an Ansible vars
// file holds much that is not ours, vaults and templates among it.
func (d *decoder) readVMs(l *Layout, name string, data []byte) {
	layoutFailed := d.failed[d]
	delete(d.failed, d)
	d.ansible, d.lenient = true, true
	entries := d.document(name, 1, data)
	d.lenient = false
	if d.failed[d] {
		return
	}
	d.failed[d] = layoutFailed
	plan := reflect.ValueOf(&l.VMPlan).Elem()
	known := d.shapes.keys(plan.Type())
	var ours []entry
	for _, e := range entries {
		switch {
		case slices.Contains(known, e.key):
			ours = append(ours, e)
			target, _ := d.fieldFor(plan, e.key)
			target.SetZero()
			delete(d.failed, target.Addr().Interface())
		case strings.HasPrefix(e.key, "libvirt_"):
			// Other roles have libvirt_ variables too; what is nearly one of
			// ours is a typing error that would lose VMs.
			for _, k := range known {
				if distance(e.key, k, 2) == 1 {
					d.at(e.at, "did you mean "+k+"?", "unknown key %s", quote(e.key))
					break
				}
			}
		}
	}
	if len(ours) == 0 {
		d.at(place{in: d.src}, "the keys read from it are "+strings.Join(known, ", "), "no libvirt_* key in it")
		return
	}
	d.decodeEntries(ours, plan, ours[0].at, name)
}
