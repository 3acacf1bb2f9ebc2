package vmstore

import (
	"context"
	"slices"

	"hvinstall/configs"
	"hvinstall/step"
)

// StartCommand is the hidden command by which hvinstall-vms.service starts the
// VMs that there are, when the layout could not be carried out.
const StartCommand = "vms-start"

// StartDefined starts those of the layout's VMs that libvirt has and that start
// with the host, in their order. It changes no VM and asks nothing of the
// layout but names and order: it is for a boot at which the rest was refused.
func StartDefined(ctx context.Context, want configs.VMPlan, report step.Reporter) error {
	want = defaults(want)
	c, err := newConnection(want.URI)
	if err != nil {
		return err
	}
	defer c.close()
	w := &worker{libvir: c}
	var vms []VM
	for _, vm := range want.VMs {
		if vm.State != "present" || !isTrue(vm.Autostart, true) {
			continue
		}
		d, found, err := c.lookup(ctx, vm.Name)
		if err != nil {
			return err
		}
		if found && !namesStart(vm) {
			// libvirt starts, or does not start, what was taken over.
			have, err := probeDomain(ctx, c, d)
			if err != nil {
				return err
			}
			found = have.made()
		}
		if found {
			vms = append(vms, VM{Name: vm.Name, Running: true, Order: vm.BootOrder, Delay: delayOf(vm)})
		}
	}
	return w.startInOrder(slices.Clip(vms), nil).Do(ctx, report)
}
