package install

import (
	"reflect"

	"hvinstall/step"
)

// makePrintable rewrites every text of the facts as a terminal may get it: a
// disk's model, a label and a whole facts file come from outside.
func (f *Facts) makePrintable() {
	// What libvirt says of a VM goes back to libvirt, and stays as it is.
	vms := f.VMs
	f.VMs = nil
	printable(reflect.ValueOf(f).Elem())
	f.VMs = vms
}

func printable(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			printable(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				printable(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			printable(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			printable(value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(step.Printable(v.String()))
	default:
	}
}
