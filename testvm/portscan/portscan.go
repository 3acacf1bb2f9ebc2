// Package portscan asks every port of a host whether it is reached. It is the
// hand from outside by which the tests judge what of a host is open.
//
// A TCP port is asked by a SYN from a raw socket, and answers by SYN and ACK
// (open), by RST (reached, nobody listens), or not at all (dropped on the way).
package portscan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what answered.
type Result struct {
	TCP    []uint16 `json:"tcp"`    // ports that are open
	Closed []Range  `json:"closed"` // TCP ports that answered that nobody listens
	UDP    []uint16 `json:"udp"`    // ports that answered, be it that nobody listens
}

// Range is the ports from First to Last: all closed ports of an open host are
// many.
type Range struct{ First, Last uint16 }

// Count is how many ports answered that nobody listens.
func (r Result) Count() int {
	n := 0
	for _, c := range r.Closed {
		n += int(c.Last) - int(c.First) + 1
	}
	return n
}

// UDPPorts are those of services that may be found on a host: DNS, DHCP, TFTP,
// rpcbind, NTP, NetBIOS, SNMP, IPsec, syslog, IPP, mountd's and statd's usual
// ones, SSDP, NFS, mDNS, LLMNR, WireGuard, and those that tests open.
var UDPPorts = []uint16{
	53, 67, 68, 69, 111, 123, 137, 138, 161, 500, 514, 546, 547, 631, 892, 1900, 2049, 4500, 5353, 5355, 20048, 32765, 51820,
}

// rounds is how often each port is asked: a packet may be lost.
const rounds = 3

// Scan asks all 65,535 TCP ports of a host and UDPPorts. It needs
// CAP_NET_RAW.
func Scan(ctx context.Context, target netip.Addr) (Result, error) {
	s, err := newScanner(target)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(s.fd)
	open, closed := map[uint16]bool{}, map[uint16]bool{}
	for range rounds {
		for port := 1; port <= 65535; port++ {
			if p := uint16(port); !open[p] && !closed[p] {
				if err := s.ask(p); err != nil {
					return Result{}, fmt.Errorf("asking TCP port %d: %w", port, err)
				}
			}
			// A few at a time: what answers must fit into the socket's buffer.
			if port%128 == 0 {
				s.answers(open, closed, 0)
			}
		}
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		s.answers(open, closed, 500)
	}
	return Result{TCP: sorted(open), Closed: ranges(sorted(closed)), UDP: udp(target)}, nil
}

func sorted(ports map[uint16]bool) []uint16 {
	all := []uint16{}
	for p := range ports {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

func ranges(ports []uint16) []Range {
	all := []Range{}
	for _, p := range ports {
		if n := len(all); n > 0 && all[n-1].Last+1 == p {
			all[n-1].Last = p
		} else {
			all = append(all, Range{p, p})
		}
	}
	return all
}

type scanner struct {
	fd          int
	from, to    netip.Addr
	destination unix.Sockaddr
	port        uint16 // ours
}

func newScanner(target netip.Addr) (*scanner, error) {
	s := &scanner{to: target}
	// The kernel knows which of its addresses it would send from.
	c, err := net.Dial("udp", net.JoinHostPort(target.String(), "9"))
	if err != nil {
		return nil, err
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	s.from, s.port = local.Addr().Unmap(), local.Port()
	c.Close()
	family := unix.AF_INET
	if target.Is4() {
		s.destination = &unix.SockaddrInet4{Addr: target.As4()}
	} else {
		family = unix.AF_INET6
		sa := &unix.SockaddrInet6{Addr: target.As16()}
		if zone := target.Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, err
			}
			sa.ZoneId = uint32(i.Index)
		}
		s.destination = sa
	}
	if s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	return s, errors.Join(err)
}

// ask sends a SYN, see RFC 9293, section 3.1.
func (s *scanner) ask(port uint16) error {
	var b [20]byte
	binary.BigEndian.PutUint16(b[0:], s.port)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint32(b[4:], 1)
	b[12], b[13] = 5<<4, 0x02 // five words, SYN
	binary.BigEndian.PutUint16(b[14:], 1024)
	binary.BigEndian.PutUint16(b[16:], s.checksum(b[:]))
	for {
		err := unix.Sendto(s.fd, b[:], 0, s.destination)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			s.wait(unix.POLLOUT, 100)
		default:
			return err
		}
	}
}

// checksum is over the pseudo header as well.
func (s *scanner) checksum(segment []byte) uint16 {
	from, to := s.from.AsSlice(), s.to.AsSlice()
	all := slices.Concat(from, to, []byte{0, 0, 0, byte(len(segment)), 0, 0, 0, unix.IPPROTO_TCP}, segment)
	var sum uint32
	for i := 0; i+1 < len(all); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func (s *scanner) wait(events int16, milliseconds int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, milliseconds)
	return err == nil && n > 0
}

// answers reads what has come, until nothing does for so many milliseconds.
func (s *scanner) answers(open, closed map[uint16]bool, milliseconds int) {
	buffer := make([]byte, 2048)
	for s.wait(unix.POLLIN, milliseconds) {
		n, _, err := unix.Recvfrom(s.fd, buffer, 0)
		if err != nil {
			continue
		}
		packet := buffer[:n]
		if s.to.Is4() { // the kernel hands IPv4 over with its header
			if n < 20 || [4]byte(packet[12:16]) != s.to.As4() {
				continue
			}
			packet = packet[int(packet[0]&0xf)*4:]
		}
		if len(packet) < 20 || binary.BigEndian.Uint16(packet[2:]) != s.port {
			continue
		}
		switch port := binary.BigEndian.Uint16(packet); {
		case packet[13]&0x04 != 0: // RST
			closed[port] = true
		case packet[13]&0x12 == 0x12: // SYN, ACK
			open[port] = true
		}
	}
}

// udp asks every port, and those that are silent once more. That nobody listens
// comes as an ICMP message, of which a host sends few a second.
func udp(target netip.Addr) []uint16 {
	var wait sync.WaitGroup
	answered := make([]bool, len(UDPPorts))
	for i, port := range UDPPorts {
		wait.Go(func() {
			for range 2 {
				answered[i] = answered[i] || answersUDP(target, port)
			}
		})
	}
	wait.Wait()
	reached := []uint16{}
	for i, port := range UDPPorts {
		if answered[i] {
			reached = append(reached, port)
		}
	}
	return reached
}

func answersUDP(target netip.Addr, port uint16) bool {
	c, err := net.Dial("udp", net.JoinHostPort(target.String(), fmt.Sprint(port)))
	if err != nil {
		return false
	}
	defer c.Close()
	// A DNS query of version.bind; what is not DNS has something to refuse.
	_, err = c.Write([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03"))
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err = c.Read(make([]byte, 512))
	}
	return err == nil || errors.Is(err, unix.ECONNREFUSED)
}
