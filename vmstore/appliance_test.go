//go:build libvirt

package vmstore

import (
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"hvinstall/configs"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// TestISOBoots: an ISO VM with an empty disk falls through to its installer;
// the appliance in it gets a lease over br0, and powers off when it is asked.
func TestISOBoots(t *testing.T) {
	a, root := applianceImages(t), store(t)
	serveLeases(t)
	want := qemuPlan(root, configs.VM{
		Name: "testvm", VCPU: 1, RAMMB: 256, MACAddress: "52:54:00:12:34:57", DiskGB: 2,
		ISOImage: &configs.VMISO{URL: "file://" + a.ISO, Dest: filepath.Join(root, "testvm/installer.iso")},
	})
	wantDid(t, mustRun(t, want, Env{}), "vms/testvm/directory", "vms/testvm/iso", "vms/testvm/disk", "vms/testvm/define", "vms/testvm/xml", "vms/testvm/autostart", "vms/testvm/start")
	console(t, "testvm", `appliance: lease 192\.168\.77\.[0-9]+`, 3*time.Minute)
	wantNothing(t, want, Env{})
	want.VMs[0].State = "absent"
	r := mustRun(t, want, Env{})
	for _, e := range r.events {
		if e.Kind == "step-warning" {
			t.Errorf("the guest did not power off by itself: %s", e.Message)
		}
	}
	wantClean(t, root, ".hvinstall")
}

// serveLeases is a DHCP server on br0.
func serveLeases(t *testing.T) {
	t.Helper()
	host := net.IPv4(192, 168, 77, 1).To4()
	s, err := server4.NewServer("br0", &net.UDPAddr{IP: net.IPv4zero, Port: 67}, func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		kind := dhcpv4.MessageTypeOffer
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			kind = dhcpv4.MessageTypeAck
		}
		address := make(net.IP, 4)
		binary.BigEndian.PutUint32(address, binary.BigEndian.Uint32(host)+9+uint32(m.ClientHWAddr[5]))
		reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(address), dhcpv4.WithServerIP(host),
			dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(host)))
		if err != nil {
			fmt.Println("dhcp:", err)
			return
		}
		_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	t.Cleanup(func() { s.Close() })
}
