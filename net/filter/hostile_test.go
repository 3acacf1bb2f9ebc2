package filter

import (
	"regexp"
	"strings"
	"testing"
)

// ruleLines are the only lines that the layout can add.
var ruleLines = regexp.MustCompile(`^\t\t(?:ip6? saddr [0-9a-f:.]+/[0-9]{1,3} tcp dport 2049 accept|(?:tcp|udp) dport [0-9]{1,5}(?:-[0-9]{1,5})? accept)$`)

// FuzzRules: whatever is given as a port and as a client, the table has the
// rules of one of each and nothing else, or it is refused.
func FuzzRules(f *testing.F) {
	for _, s := range [][2]string{
		{"tcp/80", "10.0.0.0/8"}, {"udp/1-2", "fd00::/8"}, {"tcp/80 accept; policy accept", "10.0.0.0/8 accept"},
		{"tcp/80\n\t\taccept", "::/0\n"}, {"TCP/80", "0.0.0.0/0"}, {"tcp/0", "10.0.0.1"}, {"tcp/{1,2}", "fe80::1%eth0/64"},
		{"tcp/65536", "::ffff:1.2.3.4/96"}, {"tcp/9-1", "10.0.0.0/33"}, {"tcp/ 80", " 10.0.0.0/8"},
	} {
		f.Add(s[0], s[1])
	}
	empty := strings.Split(Plan{}.rules(), "\n")
	f.Fuzz(func(t *testing.T, port, client string) {
		plan, err := MakePlan([]string{port}, []string{client}, Facts{}, false)
		if err != nil {
			return
		}
		added := 0
		known := map[string]int{}
		for _, line := range empty {
			known[line]++
		}
		for _, line := range strings.Split(plan.rules(), "\n") {
			switch {
			case known[line] > 0:
				known[line]--
			case ruleLines.MatchString(line):
				added++
			default:
				t.Errorf("port %q, client %q make the line %q", port, client, line)
			}
		}
		if added != 2 {
			t.Errorf("port %q, client %q add %d rules", port, client, added)
		}
	})
}
