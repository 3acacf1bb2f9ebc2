package configs

import (
	"errors"
	"strings"
	"testing"
)

// badLayout is a layout with one thing wrong.
type badLayout struct {
	name string
	text string // behind hostname: h, unless it begins with one
	want string // part of the error
	// decoder is true for what JSON Schema cannot say: relations between
	// places of the file, arithmetic, paths and addresses.
	decoder bool
}

const (
	diskA, diskB, diskC = "/dev/disk/by-id/nvme-A", "/dev/disk/by-id/ata-B", "/dev/disk/by-id/ata-C"
	goodPool            = "pools: {store: {disks: [" + diskB + ", " + diskC + "], storage_media: hdd}}\n"
	goodImage           = "image: {url: file:///i}"
	goodKey             = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgz4kfeI7S6O/cSTU3eJQxzk0dfK+Sy1h4zVrMfyLh8 me"
)

func inOS(rest string) string  { return "os: {disk: " + diskA + ", " + goodImage + ", " + rest + "}" }
func inNix(rest string) string { return "os: {disk: " + diskA + ", nixos: {" + rest + "}}" }
func inPool(rest string) string {
	return "pools: {store: {disks: [" + diskB + ", " + diskC + "], storage_media: hdd, " + rest + "}}"
}
func inNetwork(rest string) string { return "network: {" + rest + "}" }
func inExport(rest string) string {
	return goodPool + "nfs_exports: {exports: [{path: /mnt/store/a, " + rest + "}]}"
}
func inUser(rest string) string { return "users: [{name: al, " + rest + "}]" }
func inVM(rest string) string {
	return "libvirt_vms: [{name: a, disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.qcow2}, " + rest + "}]"
}
func vmOf(rest string) string { return "libvirt_vms: [{name: a, " + rest + "}]" }

var badLayouts = []badLayout{
	// doors
	{"libvirt for root", "libvirtd: {users: [root]}", "root is an account of the system's own", true},
	{"libvirt for QEMU", "libvirtd: {users: [libvirt-qemu]}", "libvirt-qemu is an account of the system's own", true},
	{"libvirt for a service", "libvirtd: {users: [_chrony]}", "_chrony is an account of the system's own", true},
	{"user of a group's name", "users: [{name: disk}]", "disk is an account of the system's own", true},
	{"user of Nix", "users: [{name: nixbld7}]", "nixbld7 is an account of the system's own", true},
	{"user of apt", "users: [{name: _apt}]", "_apt is an account of the system's own", true},
	{"user of a daemon", "users: [{name: avahi}]", "avahi is an account of the system's own", true},
	{"libvirt unverified", "libvirt_uri: 'qemu+tls://h/system?no_verify=1'", "with no_verify", true},
	{"libvirt unverified by 2", "libvirt_uri: 'qemu+tls://h/system?no_verify=2'", "with no_verify", true},
	{"libvirt unverified by 01", "libvirt_uri: 'qemu+tls://h/system?a=b&no_verify=01'", "with no_verify", true},
	{"libvirt unverified by %31", "libvirt_uri: 'qemu+tls://h/system?no_verify=%31'", "with no_verify", true},
	{"libvirt unverified by nothing", "libvirt_uri: 'qemu+tls://h/system?no_verify'", "with no_verify", true},
	{"libvirt unverified the second time", "libvirt_uri: 'qemu+tls://h/system?no_verify=0&no_verify=1'", "with no_verify", true},
	{"libvirt unverified, name escaped", "libvirt_uri: 'qemu+tls://h/system?no%5Fverify=1'", "with no_verify", true},
	{"libvirt query unreadable", "libvirt_uri: 'qemu+tls://h/system?no_verify=%zz'", "cannot be read", true},
	{"NFS for a star", inExport("clients: ['*']"), "not a network", false},

	// network.open_ports
	{"port without protocol", inNetwork("open_ports: [8080]"), "is a number, not text", false},
	{"port as ss has it", inNetwork("open_ports: [':8080']"), "not a protocol and its port", false},
	{"port with the protocol last", inNetwork("open_ports: [8080/tcp]"), "the protocol comes first: tcp/8080", false},
	{"port of another protocol", inNetwork("open_ports: [sctp/8080]"), "not a protocol and its port", false},
	{"port 0", inNetwork("open_ports: [tcp/0]"), "0 is no port", true},
	{"port 65536", inNetwork("open_ports: [udp/65536]"), "65536 is no port", true},
	{"port range downwards", inNetwork("open_ports: [tcp/90-80]"), "goes downwards", true},
	{"port of ssh", inNetwork("open_ports: [tcp/22]"), "open already: ssh", true},
	{"port of NFS in a range", inNetwork("open_ports: [tcp/2000-3000]"), "the clients of the exports alone", true},
	{"port twice", inNetwork("open_ports: [tcp/80-90, tcp/90]"), "tcp/90 is open already by tcp/80-90", true},
	{"port that ends a rule", inNetwork(`open_ports: ["tcp/80 accept; tcp dport 1-65535"]`), "not a protocol and its port", false},

	// hostname, seed
	{"no hostname", "hostname:", "hostname has no value", false},
	{"hostname missing", "hostname_: h", "the layout lacks hostname", false},
	{"hostname with dots", "hostname: a.b", "not a host name", false},
	{"hostname too long", "hostname: " + strings.Repeat("a", 64), "not a host name", false},
	{"hostname ends in a dash", "hostname: a-", "not a host name", false},
	{"hostname localhost", "hostname: localhost", "every machine's own name", true},
	{"hostname with a line break", `hostname: "a\nb"`, "not a host name", false},
	{"hostname is a number", "hostname: 12", "hostname is a number, not text", false},
	{"hostname is a list", "hostname: [a]", "hostname is a list, not text", false},
	{"seed with a space", `seed: "a b"`, "not a word", false},
	{"unknown key", "pool: {}", `unknown key "pool"`, false},
	{"null section", "os:", "os has no value", false},
	{"empty text", `seed: ""`, "seed is empty", false},

	// os
	{"kernel name", "os: {disk: /dev/sda, " + goodImage + "}", "not a /dev/disk/by-id/ path", false},
	{"by-path", "os: {disk: /dev/disk/by-path/pci-0000:00:1f.2-ata-1, " + goodImage + "}", "only by-id names stay", false},
	{"partition", "os: {disk: " + diskA + "-part1, " + goodImage + "}", "is a partition", true},
	{"device mapper", "os: {disk: /dev/disk/by-id/dm-uuid-LVM-x, " + goodImage + "}", "built on disks", true},
	{"by-id climbs", "os: {disk: /dev/disk/by-id/../../sda, " + goodImage + "}", "not a /dev/disk/by-id/ path", false},
	{"by-id dots", "os: {disk: /dev/disk/by-id/.., " + goodImage + "}", "is a directory", true},
	{"no disk", "os: {" + goodImage + "}", "os lacks disk", false},
	{"neither image nor nixos", "os: {disk: " + diskA + "}", "os needs image or nixos", false},
	{"image and nixos", inOS("nixos: {file: /c.nix}"), "exclude each other", false},
	{"image without scheme", "os: {disk: " + diskA + ", image: {url: /i}}", "file:///i", false},
	{"image by ftp", "os: {disk: " + diskA + ", image: {url: 'ftp://h/i'}}", "not an http://", false},
	{"image from the network without sum", "os: {disk: " + diskA + ", image: {url: 'https://h/i'}}", "needs its sha256", true},
	{"image sum", "os: {disk: " + diskA + ", image: {url: 'https://h/i', sha256: abc}}", "not a SHA-256 sum", false},
	{"esp too small", inOS("esp_size: 100MiB"), "the least is 256MiB", true},
	{"esp too small in bytes", inOS("esp_size: 1000"), "the least is 256MiB", false},
	{"size without sense", inOS("swap_size: lots"), "not a size", false},
	{"size of zero", inOS("swap_size: 0"), "swap_size is zero", false},
	{"size negative", inOS("swap_size: -1"), "not a size", false},
	{"size too large", inOS("swap_size: 9999PiB"), "larger than 8 EiB", true},
	{"size is a list", inOS("swap_size: [1]"), "swap_size is a list, not a size", false},
	{"no root", inOS("subvolumes: {home: /home}"), "no subvolume is mounted at /", true},
	{"two at one place", inOS("subvolumes: {root: /, a: /home, b: /home}"), "is where a is mounted already", true},
	{"subvolume over boot", inOS("subvolumes: {root: /, boot: /boot}"), "can be mounted at /boot", true},
	{"subvolume's name", inOS("subvolumes: {root: /, 'a b': /home}"), "not a subvolume name", false},
	{"subvolume relative", inOS("subvolumes: {root: /, a: home}"), "not an absolute path", false},
	{"subvolume not clean", inOS("subvolumes: {root: /, a: /home/}"), "not a clean path", true},
	{"subvolume climbs", inOS("subvolumes: {root: /, a: /home/../etc}"), "not a clean path", true},
	{"subvolume swap", inOS("swap_size: 1GiB, subvolumes: {root: /, swap: /home}"), "is the swapfile's", true},
	{"subvolumes as a list", inOS("subvolumes: [/]"), "subvolumes is a list, not a mapping", false},
	{"storage_media", inOS("storage_media: nvme"), "it is one of ssd, hdd", false},
	{"kernel argument with a space", inOS(`kernel_args: ["quiet splash"]`), "each argument is an entry", false},
	{"kernel argument with a quote", inOS(`kernel_args: ['a="b"']`), "not one kernel argument", false},
	{"kernel argument with a line break", inOS(`kernel_args: ["a\nb"]`), "not one kernel argument", false},
	{"kernel argument with a semicolon", inOS(`kernel_args: ["a;b"]`), "not one kernel argument", false},
	{"subvol in mount options", inOS("mount_options: [subvol=x]"), "mounts the subvolume itself", true},
	{"mount option with a comma", inOS(`mount_options: ["a,b"]`), "not a mount option", false},
	{"mount option mistyped", inOS("mount_options: [noatme]"), "did you mean noatime?", true},
	{"compression unknown", inOS("mount_options: [compress=bzip]"), "no compression of btrfs", true},
	{"degraded as an option", inPool("mount_options: [degraded]"), "degraded: mount", true},
	{"adopt", inOS("adopt: maybe"), "adopt is text, not true or false", false},
	{"adopt is yes", inOS("adopt: yes"), "write adopt: true", false},

	// nixos
	{"flake and file", inNix("flake: '.#h', file: /c.nix"), "flake and file exclude", false},
	{"neither flake nor file", inNix("bootloader: grub"), "needs flake or file", false},
	{"flake without attribute", inNix("flake: github:me/infra"), "#hypervisor", false},
	{"flake breaks out", inNix(`flake: "a#b ; rm"`), "not a flake reference", false},
	{"import breaks out", inNix(`file: /c.nix, imports: ["a ]; x = ["]`), "not a Nix attribute path", false},
	{"option's name breaks out", inNix(`file: /c.nix, options: {"a = 1; b": 1}`), "not a NixOS option", false},
	{"option without end", inNix(`file: /c.nix, options: {a: .inf}`), "no value of an option", true},
	{"state version", inNix("file: /c.nix, state_version: 25.12"), "not a NixOS release", true},
	{"bootloader", inNix("file: /c.nix, bootloader: lilo"), "systemd-boot, grub", false},

	// pools
	{"pool of one disk", "pools: {store: {disks: [" + diskB + "], storage_media: hdd}}", "RAID1 needs two", false},
	{"pool without disks", "pools: {store: {storage_media: hdd}}", "store lacks disks", false},
	{"pool without media", "pools: {store: {disks: [" + diskB + ", " + diskC + "]}}", "store lacks storage_media", false},
	{"pools as a list", "pools: [{disks: [" + diskB + "]}]", "pools is a list, not a mapping", false},
	{"pool named os", "pools: {os: {disks: [" + diskB + ", " + diskC + "], storage_media: hdd}}", "cannot be a pool's name", false},
	{"pool named Store", "pools: {Store: {disks: [" + diskB + ", " + diskC + "], storage_media: hdd}}", "not a pool name", false},
	{"pool named too long", "pools: {abcdefghijklmnopq: {disks: [" + diskB + ", " + diskC + "], storage_media: hdd}}", "not a pool name", false},
	{"disk twice in a pool", "pools: {store: {disks: [" + diskB + ", " + diskB + "], storage_media: hdd}}", "used already, in line 2", true},
	{"disk twice, two names", "pools: {store: {disks: [" + diskA + ", " + diskA + "_1], storage_media: ssd}}", "both are names of one disk", true},
	{"disk of os in a pool", "os: {disk: " + diskB + ", " + goodImage + "}\n" + goodPool, "used already, in line 2", true},
	{"disk expectation mistyped", "pools: {store: {disks: [{id: " + diskB + ", sise: 1TB}, " + diskC + "], storage_media: hdd}}", "did you mean size?", false},
	{"mountpoint outside", inPool("mountpoint: /data"), "pools go below /mnt, /srv or /var/lib", true},
	{"mountpoint is /mnt", inPool("mountpoint: /mnt"), "pools go below", true},
	{"mountpoint of the installer", inPool("mountpoint: /mnt/target/x"), "where hvinstall mounts the system", true},
	{"mountpoint climbs", inPool("mountpoint: /mnt/../etc"), "not a clean path", true},
	{"mountpoint with a space", inPool(`mountpoint: "/mnt/a b"`), "not an absolute path", false},
	{"mountpoint with a line break", inPool(`mountpoint: "/mnt/a\nb"`), "not an absolute path", false},
	{"mountpoint of two pools", "pools:\n  a: {disks: [" + diskA + ", " + diskB + "], storage_media: ssd, mountpoint: /mnt/x}\n  b: {disks: [" + diskC + ", /dev/disk/by-id/D], storage_media: ssd, mountpoint: /mnt/x}", "is where the pool a is mounted", true},
	{"mountpoint in another", "pools:\n  a: {disks: [" + diskA + ", " + diskB + "], storage_media: ssd}\n  b: {disks: [" + diskC + ", /dev/disk/by-id/D], storage_media: ssd, mountpoint: /mnt/a/b}", "lie inside each other", true},
	{"mountpoint around another", "pools:\n  a: {disks: [" + diskA + ", " + diskB + "], storage_media: ssd, mountpoint: /srv/x/a}\n  b: {disks: [" + diskC + ", /dev/disk/by-id/D], storage_media: ssd, mountpoint: /srv/x}", "lie inside each other", true},
	{"mountpoint of a subvolume", inOS("subvolumes: {root: /, a: /srv/x}") + "\n" + inPool("mountpoint: /srv/x"), "is where the subvolume a is mounted", true},
	{"degraded", inPool("degraded: yes"), "mount, wait, skip", false},

	// encryption
	{"key by kernel name", "encryption: {usb_keys: [{disk: /dev/sdb}]}", "not a /dev/disk/by-id/ path", false},
	{"key disk and uuid", "encryption: {usb_keys: [{disk: " + diskA + ", uuid: 8B34-7D3C}]}", "exclude each other", false},
	{"key without either", "encryption: {usb_keys: [{}]}", "needs disk or uuid", false},
	{"key uuid form", "encryption: {usb_keys: [{uuid: 8B347D3C}]}", "write 8B34-7D3C", false},
	{"key uuid of ext4", "encryption: {usb_keys: [{uuid: 0c7a0f4e-9a9c-4c0e-8f0e-0d6a8a2f9f10}]}", "not the serial of a VFAT volume", false},
	{"key twice", "encryption: {usb_keys: [{uuid: 8B34-7D3C}, {uuid: 8b34-7d3c}]}", "given already", true},
	{"key on a pool's disk", goodPool + "encryption: {usb_keys: [{disk: " + diskB + "}]}", "used already", true},
	{"key file in a directory", "encryption: {key_filename: a/b}", "not a plain file name", false},
	{"key file of DOS", "encryption: {key_filename: con}", "name of a device", true},
	{"key file ends in a dot", "encryption: {key_filename: 'a.'}", "ends in a dot", true},
	{"key_wait too long", "encryption: {key_wait: 1h}", "the most is 10m", true},
	{"key_wait zero", "encryption: {key_wait: 0s}", "the least is 1s", true},
	{"key_wait zero, a number", "encryption: {key_wait: 0}", "the least is 1s", false},
	{"key_wait in words", "encryption: {key_wait: long}", "not a time", false},
	{"no way to unlock", goodPool + "encryption: {fallback_to_password: false}", "nothing could ever be unlocked", true},

	// network
	{"bridge too long", inNetwork("bridge: br-with-16-bytes"), "Linux allows 15", false},
	{"bridge with a slash", inNetwork("bridge: br/0"), "not an interface name", false},
	{"bridge lo", inNetwork("bridge: lo"), "cannot be a bridge's name", true},
	{"nic is the bridge", inNetwork("nic: br0"), "has the bridge's name", true},
	{"nic breaks out", inNetwork(`nic: "eth0\n[Match]"`), "not an interface name", false},
	{"nic twice", inNetwork("nic: {name: eth0, mac: '52:54:00:12:34:56'}"), "named twice", false},
	{"nic of nothing", inNetwork("nic: {}"), "names no card", false},
	{"nic's mac", inNetwork("nic: {mac: 52-54-00-12-34-56}"), "write 52:54:00:12:34:56", false},
	{"nic is a number", inNetwork("nic: 5"), "nic is a number, not text", false},
	{"dhcp and addresses", inNetwork("dhcp: true, addresses: [192.168.1.10/24]"), "exclude each other", false},
	{"no address at all", inNetwork("dhcp: false"), "could not be reached", true},
	{"address without prefix", inNetwork("addresses: [192.168.1.10]"), "192.168.1.10/24", false},
	{"address of the network", inNetwork("addresses: [192.168.1.0/24]"), "the network itself", true},
	{"address of broadcast", inNetwork("addresses: [192.168.1.255/24]"), "broadcast", true},
	{"address of loopback", inNetwork("addresses: [127.0.0.1/8]"), "loopback", true},
	{"address twice", inNetwork("addresses: [10.0.0.2/24, 10.0.0.2/16]"), "given already", true},
	{"address out of range", inNetwork("addresses: [192.168.1.300/24]"), "not an address", true},
	{"gateway outside", inNetwork("addresses: [192.168.1.10/24], gateway: 192.168.2.1"), "in no network of the addresses", true},
	{"gateway is the host", inNetwork("addresses: [192.168.1.10/24], gateway: 192.168.1.10"), "the host's own address", true},
	{"gateway without addresses", inNetwork("gateway: 192.168.1.1"), "a gateway without addresses", true},
	{"two gateways", inNetwork("addresses: [192.168.1.10/24], gateway: [192.168.1.1, 192.168.1.2]"), "a second gateway", true},
	{"gateway in words", inNetwork("addresses: [192.168.1.10/24], gateway: router"), "not an IP address", false},
	{"dns", inNetwork("dns: [dns.example.org]"), "not an IP address", false},
	{"domain breaks out", inNetwork(`domains: ["lan\nDNS=1.1.1.1"]`), "not a DNS domain", false},
	{"mtu too small", inNetwork("mtu: 500"), "from 1280 to 9216", false},
	{"mtu quoted", inNetwork(`mtu: "9000"`), "write it without quotes", false},

	// nfs_exports
	{"export outside", goodPool + "nfs_exports: {exports: [{path: /srv/x}]}", "not below a pool's mountpoint", true},
	{"export of the pool", goodPool + "nfs_exports: {exports: [{path: /mnt/store}]}", "is the pool itself", true},
	{"export without pools", "nfs_exports: {exports: [{path: /mnt/store/a}]}", "has no pools", true},
	{"export twice", goodPool + "nfs_exports: {exports: [{path: /mnt/store/a}, {path: /mnt/store/a}]}", "exported already", true},
	{"export of what holds VM disks", goodPool + "libvirt_vmstore_root: /mnt/store/a/vms\nnfs_exports: {exports: [{path: /mnt/store/a}]}", "where the VMs' disks are: a client may say", true},
	{"export of VM disks", goodPool + "libvirt_vmstore_root: /mnt/store\nnfs_exports: {exports: [{path: /mnt/store/haos}]}", "where the VMs' disks are", true},
	{"export with a space", goodPool + `nfs_exports: {exports: [{path: "/mnt/store/a b"}]}`, "not an absolute path", false},
	{"exports missing", "nfs_exports: {lan_cidr: 192.168.1.0/24}", "nfs_exports lacks exports", false},
	{"lan_cidr with host bits", "nfs_exports: {lan_cidr: 192.168.1.5/24, exports: []}", "the network is 192.168.1.0/24", true},
	{"client with host bits", inExport("clients: [192.168.1.5/24]"), "the network is 192.168.1.0/24", true},
	{"client without prefix", inExport("clients: [192.168.1.5]"), "write 192.168.1.5/32", false},
	{"client IPv6 with host bits", inExport("clients: ['fd00::5/64']"), "the network is fd00::/64", true},
	{"client by name", inExport("clients: ['*']"), "not a network", false},
	{"client twice", inExport("clients: [10.0.0.0/8, 10.0.0.0/8]"), "given already", true},
	{"no clients", inExport("clients: []"), "an export without clients", false},
	{"option unknown", inExport("options: [no_subtree_chekc]"), "did you mean no_subtree_check?", true},
	{"option breaks out", inExport(`options: ["rw) *(rw"]`), "not an option of exports(5)", false},
	{"options contradict", inExport("options: [rw, ro]"), "exclude each other", true},
	{"squash in options", inExport("options: [no_root_squash]"), "write squash: no_root_squash", true},
	{"fsid in options", inExport("options: [fsid=0]"), "gives each export a stable one", true},
	{"squash", inExport("squash: none"), "it is one of root_squash", false},
	{"mode", inExport("mode: 999"), "not an octal mode", true},
	{"mode in letters", inExport("mode: rwx"), "not an octal mode", false},
	{"owner", inExport("owner: Al"), "not a user or group name", false},
	{"owner too large", inExport("owner: 4294967295"), "larger than any uid", true},

	// locale, users, libvirtd
	{"lang", "locale: {lang: english}", "not a locale", false},
	{"timezone", "locale: {timezone: ../../etc/passwd}", "not a time zone", false},
	{"keymap breaks out", `locale: {keymap: "us\nXKB=1"}`, "not a console keymap", false},
	{"user's name", "users: [{name: Al}]", "not a name", false},
	{"user with a colon", `users: [{name: "al:0:0"}]`, "not a name", false},
	{"user twice", "users: [{name: al}, {name: al}]", "given already", true},
	{"user root", "users: [{name: root, ssh_authorized_keys: [" + goodKey + "]}]", "an account of the system's own", true},
	{"user of QEMU", "users: [{name: libvirt-qemu, groups: [wheel]}]", "an account of the system's own", true},
	{"user of systemd", "users: [{name: systemd-network}]", "an account of the system's own", true},
	{"libvirt without a check", "libvirt_uri: qemu+tls://host/system?pkipath=/a&no_verify=1\nlibvirt_vms: []", "whoever answers", true},
	{"header backups exported", goodPool + "nfs_exports: {exports: [{path: /mnt/store/.hvinstall}]}", "backups of the LUKS headers", true},
	{"header backups exported, below", goodPool + "nfs_exports: {exports: [{path: /mnt/store/.hvinstall/headers}]}", "backups of the LUKS headers", true},
	{"user without name", "users: [{groups: [wheel]}]", "lacks name", false},
	{"users as a mapping", "users: {al: {}}", "users is a mapping, not a list", false},
	{"group", inUser("groups: ['a,b']"), "not a name", false},
	{"password in clear", inUser("password_hash: hunter2"), "mkpasswd", false},
	{"password by MD5", inUser("password_hash: $1$abc$defghijklmnop"), "MD5 is broken", false},
	{"password hash breaks out", inUser(`password_hash: "$6$abc$def:0:0\nroot2"`), "not a crypt(5) hash", false},
	{"key cut", inUser("ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI]"), "cut or mistyped", true},
	{"key of another type", inUser("ssh_authorized_keys: [" + strings.Replace(goodKey, "ssh-ed25519", "ssh-rsa", 1) + "]"), "cut or mistyped", true},
	{"key is a file name", inUser("ssh_authorized_keys: [id_ed25519.pub]"), "not a line of an authorized_keys file", true},
	{"ssh key twice", inUser("ssh_authorized_keys: [" + goodKey + ", " + goodKey + "]"), "given already", true},
	{"key of two lines", inUser(`ssh_authorized_keys: ["` + goodKey + `\nssh-rsa x"]`), "not one line", false},
	{"key private", inUser(`ssh_authorized_keys: ["-----BEGIN OPENSSH PRIVATE KEY-----"]`), "a private key", true},
	{"libvirtd user unknown", "os: {disk: " + diskA + ", " + goodImage + "}\nusers: [{name: snyssen}]\nlibvirtd: {users: [snysen]}", "did you mean snyssen?", true},
	{"libvirtd user twice", "libvirtd: {users: [a, a]}", "given already", true},

	// libvirt_*
	{"vmstore root outside", "libvirt_vmstore_root: /home/vms", "does not lie below", true},
	{"vmstore root relative", "libvirt_vmstore_root: vms", "not an absolute path", false},
	{"uri", "libvirt_uri: 'qemu system'", "not a libvirt address", false},
	{"domain type", "libvirt_domain_type: xen", "kvm, qemu", false},
	{"vm without name", "libvirt_vms: [{state: absent}]", "lacks name", false},
	{"vm climbs", vmOfName("../x"), "not a VM name", false},
	{"vm with a dot before", vmOfName(".x"), "not a VM name", false},
	{"vm too long", vmOfName(strings.Repeat("a", 65)), "not a VM name", false},
	{"vm twice", "libvirt_vms: [{name: a, state: absent}, {name: a, state: absent}]", "given already, in line 2", true},
	{"vm of nothing", "libvirt_vms: [{name: a}]", "neither disk_image nor iso_image", false},
	{"vm of both", inVM("iso_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.iso}"), "exclude each other", false},
	{"vm state", vmOf("state: gone"), "present, absent", false},
	{"vm protected and absent", vmOf("state: absent, protected: true"), "exclude each other", false},
	{"vcpu zero", inVM("vcpu: 0"), "from 1 to 288", false},
	{"vcpu many", inVM("vcpu: 1000"), "from 1 to 288", false},
	{"vcpu negative", inVM("vcpu: -1"), "from 1 to 288", false},
	{"vcpu in halves", inVM("vcpu: 1.5"), "not a whole number", false},
	{"vcpu in octal", inVM("vcpu: 0o10"), "not a plain decimal number", true},
	{"ram in words", inVM("ram_mb: 4GiB"), "not a whole number", false},
	{"ram too small", inVM("ram_mb: 4"), "from 64 to", false},
	{"disk too large", inVM("disk_gb: 100000"), "from 1 to 65536", false},
	{"boot order", inVM("boot_order: 0"), "from 1 to 9999", false},
	{"boot delay", inVM("boot_delay: 2h"), "the most is 1h", true},
	{"mac multicast", inVM("mac_address: 01:00:5e:00:00:01"), "multicast", true},
	{"mac of zeros", inVM("mac_address: 00:00:00:00:00:00"), "no card's address", true},
	{"mac with dashes", inVM("mac_address: 52-54-00-12-34-56"), "write 52:54:00:12:34:56", false},
	{"mac too short", inVM("mac_address: 52:54:00:12:34"), "not a MAC address", false},
	{"mac that libvirt refuses", inVM("mac_address: FE:54:00:12:34:56"), "begins with fe", true},
	{"mac twice", twoVMs("mac_address: 52:54:00:ab:cd:ef", "mac_address: 52:54:00:AB:CD:EF"), "the MAC is that of a", true},
	{"mac of the host", "network: {nic: {mac: 52:54:00:AB:cd:ef}}\n" + inVM("mac_address: 52:54:00:ab:cd:ef"), "that of the host's NIC", true},
	{"usb twice", twoVMs("usb_devices: [{vendor_id: 0x1a86, product_id: 0x7523}]", "usb_devices: [{vendor_id: '0x1A86', product_id: '0x7523'}]"), "has it already", true},
	{"usb twice in one", inVM("usb_devices: [{vendor_id: 0x1a86, product_id: 0x7523}, {vendor_id: 0x1a86, product_id: 0x7523}]"), "given twice", true},
	{"usb id without 0x", inVM("usb_devices: [{vendor_id: '1a86', product_id: '0x7523'}]"), `write "0x1a86"`, false},
	{"usb id too short", inVM("usb_devices: [{vendor_id: '0x1a8', product_id: '0x7523'}]"), "not a USB id", false},
	{"usb product missing", inVM("usb_devices: [{vendor_id: '0x1a86'}]"), "lacks product_id", false},
	{"dest of another VM", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/b/a.qcow2}"), "/mnt/vmstore/a/a.qcow2", true},
	{"dest climbs", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/../b/a.qcow2}"), "not a clean path", true},
	{"dest is the directory", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a}"), "not in the VM's own directory", true},
	{"dest with the same beginning", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/ab/x.qcow2}"), "not in the VM's own directory", true},
	{"dest packed", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.qcow2.xz}"), "as unpacked: a.qcow2", true},
	{"dest of an ISO", vmOf("iso_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.qcow2}"), "does not end in .iso", true},
	{"dest of the seed", vmOf("iso_image: {url: 'http://h/i', dest: /mnt/vmstore/a/seed.iso}, cloud_init: {meta_data: x}"), "where the cloud-init seed goes", true},
	{"dest missing", vmOf("disk_image: {url: 'http://h/i'}"), "disk_image lacks dest", false},
	{"url without host", vmOf("disk_image: {url: 'http:///i', dest: /mnt/vmstore/a/a.img}"), "not an http://", false},
	{"url with a space", vmOf("disk_image: {url: 'http://h/a b', dest: /mnt/vmstore/a/a.img}"), "%20", false},
	{"url with a quote", vmOf(`disk_image: {url: "http://h/a'b", dest: /mnt/vmstore/a/a.img}`), "not an http://", false},
	{"url's port", vmOf("disk_image: {url: 'http://h:99999/i', dest: /mnt/vmstore/a/a.img}"), "no port", true},
	{"checksum by MD5", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.img, checksum: 'md5:abc'}"), "protect nothing", false},
	{"checksum bare", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.img, checksum: " + strings.Repeat("ab", 32) + "}"), "write sha256:", false},
	{"checksum short", vmOf("disk_image: {url: 'http://h/i', dest: /mnt/vmstore/a/a.img, checksum: 'sha256:abcd'}"), "this has 4", false},
	{"secure boot without uefi", inVM("firmware: {uefi: false, secure_boot: true}"), "needs UEFI", true},
	{"bridge of a VM", inVM("bridge: 'a b'"), "not an interface name", false},
	{"cloud_init empty", inVM("cloud_init: {}"), "cloud_init holds nothing", false},
	{"user_data ignored", inVM("cloud_init: {user_data: 'users: []'}"), "cloud-init would ignore it", true},
	{"user_data as a mapping", inVM("cloud_init: {user_data: {users: []}}"), "write user_data: | and the text", false},
	{"ansible variable", inVM(`mac_address: "{{ haos_mac }}"`), "Ansible variables cannot be resolved here", false},
	{"vault", inVM("mac_address: !vault '52:54:00:12:34:56'"), "vault", true},
	{"list of text", "libvirt_vms: [a]", "an entry of libvirt_vms is text, not a mapping", false},
}

func vmOfName(name string) string { return "libvirt_vms: [{name: '" + name + "', state: absent}]" }

func twoVMs(a, b string) string {
	vm := func(name, rest string) string {
		return "  - {name: " + name + ", disk_image: {url: 'http://h/i', dest: /mnt/vmstore/" + name + "/i.qcow2}, " + rest + "}\n"
	}
	return "libvirt_vms:\n" + vm("a", a) + vm("b", b)
}

func (b badLayout) layout() string {
	if strings.HasPrefix(b.text, "hostname") {
		return b.text + "\n"
	}
	return "hostname: h\n" + b.text + "\n"
}

func TestBadLayouts(t *testing.T) {
	names := map[string]bool{}
	for _, b := range badLayouts {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			if names[b.name] {
				t.Errorf("two cases are called %q", b.name)
			}
			names[b.name] = true
			_, err := Load("layout.yaml", []byte(b.layout()))
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("Load(%s) = %v, want Errors", b.layout(), err)
			}
			if len(all) != 1 && b.name != "hostname missing" {
				t.Errorf("Load(%s) = %d errors, want 1:\n%v", b.layout(), len(all), err)
			}
			if !strings.Contains(err.Error(), b.want) {
				t.Errorf("Load(%s) = %v\nwant it to say %q", b.layout(), err, b.want)
			}
			for _, e := range all {
				if e.Line < 1 || e.Column < 1 || e.Source == "" {
					t.Errorf("%q has no place: %d:%d %q", e.Message, e.Line, e.Column, e.Source)
				}
			}
		})
	}
}
