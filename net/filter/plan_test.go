package filter

import (
	"slices"
	"strings"
	"testing"

	"hvinstall/host"
)

func TestMakePlan(t *testing.T) {
	facts := Facts{Listening: []host.Listener{{Port: "tcp/22", Program: "sshd"}, {Port: "tcp/2222", Program: "sshd"}, {Port: "tcp/9100", Program: "node_exporter"}}}
	plan, err := MakePlan([]string{"udp/53", "tcp/9101", "tcp/9000-9100", "tcp/80", "tcp/65535"},
		[]string{"192.168.1.7/32", "10.0.0.0/8", "192.168.1.0/24", "fd00::/8", "10.0.0.0/8"}, facts, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"tcp/80", "tcp/9000-9101", "tcp/65535", "udp/53"}; !slices.Equal(plan.Open, want) {
		t.Errorf("open %q, want %q", plan.Open, want)
	}
	if want := []string{"10.0.0.0/8", "fd00::/8", "192.168.1.0/24"}; !slices.Equal(plan.NFS, want) {
		t.Errorf("NFS to %q, want %q", plan.NFS, want)
	}
	warnings := strings.Join(plan.Warnings(), "\n")
	if !strings.Contains(warnings, "tcp/2222 (sshd); to keep it open, network.open_ports: [tcp/2222]") {
		t.Errorf("the warning is %q", warnings)
	}
	rules := plan.rules()
	for _, want := range []string{"tcp dport 9000-9101 accept", "udp dport 53 accept", "ip6 saddr fd00::/8 tcp dport 2049 accept", "ip saddr 10.0.0.0/8 tcp dport 2049 accept"} {
		if !strings.Contains(rules, want) {
			t.Errorf("no %q in\n%s", want, rules)
		}
	}
	if plan, err := MakePlan(nil, nil, facts, false); err != nil || len(plan.Closes) > 0 || strings.Contains(plan.rules(), "2049") {
		t.Errorf("while installing, without exports: %+v, %v", plan, err)
	}
	for _, bad := range []string{"tcp/80 accept", "tcp/0", "icmp/1", ""} {
		if _, err := MakePlan([]string{bad}, nil, facts, true); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := MakePlan(nil, []string{"*"}, facts, true); err == nil {
		t.Error("the client * is taken")
	}
}
