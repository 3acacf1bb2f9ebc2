// Package bridge puts the LAN on a bridge: by netlink now, by systemd-networkd
// units for later boots.
//
// It touches the NIC that the plan names, the bridge, their addresses and
// routes, and nothing else of the network.
package bridge

// Facts is what Probe saw of the network.
type Facts struct {
	NICs   []NIC    `json:"nics"`
	DNS    []string `json:"dns,omitempty"`
	Unseen []string `json:"unseen,omitempty"`
}

// NIC is one network interface other than loopback.
type NIC struct {
	Name         string   `json:"name"`
	MAC          string   `json:"mac,omitempty"`           // in use now
	PermanentMAC string   `json:"permanent_mac,omitempty"` // the card's own, where the driver tells
	Driver       string   `json:"driver,omitempty"`
	Bus          string   `json:"bus,omitempty"` // sysfs path of the device, as pci-0000:05:00.0
	Kind         string   `json:"kind"`          // physical, wireless, bridge, bond, vlan, veth, tun, other
	Up           bool     `json:"up"`
	Carrier      bool     `json:"carrier"`
	SpeedMbit    int      `json:"speed_mbit,omitempty"` // 0: not known
	MTU          int      `json:"mtu"`
	Master       string   `json:"master,omitempty"`    // bridge or bond that it is a port of
	Addresses    []string `json:"addresses,omitempty"` // with prefix length
	Gateways     []string `json:"gateways,omitempty"`  // default routes through it
}
