package install

import (
	"testing"

	"hvinstall/vmstore"
)

// TestStatusOfATroubledVM: a VM that differs in nothing from the layout and
// does not run well is something to look at.
func TestStatusOfATroubledVM(t *testing.T) {
	s := Status{VMs: &vmstore.Status{VMs: []vmstore.VMStatus{
		{Name: "well", State: "running"},
		{Name: "full", State: "paused", Troubles: []string{"paused: I/O error of vda"}, Advice: "virsh resume full"},
	}}}
	s.differs(Plan{}, nil, nil)
	want := Difference{"full", "paused: I/O error of vda", "virsh resume full"}
	if s.Healthy() || len(s.Differs) != 1 || s.Differs[0] != want {
		t.Errorf("Differs = %v, want %v", s.Differs, want)
	}
}
