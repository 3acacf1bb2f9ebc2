package configs

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports is an entry of network.open_ports: the ports of a protocol from First
// to Last.
type Ports struct {
	Protocol    string // tcp or udp
	First, Last uint16
}

// ParsePorts reads tcp/8080 and udp/5000-5010.
func ParsePorts(text string) (Ports, error) {
	protocol, numbers, _ := strings.Cut(text, "/")
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	p := Ports{Protocol: protocol}
	for at, number := range map[*uint16]string{&p.First: first, &p.Last: last} {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return Ports{}, fmt.Errorf("%s is no port; they go from 1 to 65535", number)
		}
		*at = uint16(n)
	}
	if p.First > p.Last {
		return Ports{}, fmt.Errorf("the range %s goes downwards", numbers)
	}
	if protocol != "tcp" && protocol != "udp" {
		return Ports{}, fmt.Errorf("the protocol %s is neither tcp nor udp", protocol)
	}
	return p, nil
}

// Overlaps reports whether some port is in both.
func (p Ports) Overlaps(q Ports) bool {
	return p.Protocol == q.Protocol && p.First <= q.Last && q.First <= p.Last
}

func (p Ports) String() string {
	if p.First == p.Last {
		return fmt.Sprintf("%s/%d", p.Protocol, p.First)
	}
	return fmt.Sprintf("%s/%d-%d", p.Protocol, p.First, p.Last)
}

func checkPort(text string) (string, string) {
	p, err := ParsePorts(text)
	if err != nil {
		return err.Error(), ""
	}
	switch only := p.First == p.Last && p.Protocol == "tcp"; {
	case only && p.First == 22:
		return "tcp/22 is open already: ssh", "remove the entry"
	case p.Overlaps(Ports{"tcp", 2049, 2049}):
		return "tcp/2049 is NFS, which is open to the clients of the exports alone", "remove it here, and name the networks in the export's clients"
	}
	return "", ""
}

func fixPort(text string) string {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
		return fmt.Sprintf("name the protocol: tcp/%d or udp/%d", n, n)
	}
	if number, protocol, ok := strings.Cut(text, "/"); ok && (protocol == "tcp" || protocol == "udp") {
		return fmt.Sprintf("the protocol comes first: %s/%s", protocol, number)
	}
	return ""
}
