# Every option that a generated module may define: name, type and, where a
# module reads it, default, each as declared in the named file of nixpkgs
# (nixos/modules/…, release 25.11 and the master branch of 2026).
{ systemdInitrd, nftables }:
let
  types = import ./types.nix;
  inherit (types) anything attrsOf bool either enum int lines listOf matching nullOr package path port str submodule;
  option = type: { _option = true; inherit type; };
  with_ = type: default: option type // { inherit default; };

  # lib/systemd-unit-options.nix
  unitValue = either (either bool int) (either str (listOf str));
  unit = {
    description = option str;
    documentation = option (listOf str);
    wantedBy = option (listOf str);
    requiredBy = option (listOf str);
    wants = option (listOf str);
    requires = option (listOf str);
    before = option (listOf str);
    after = option (listOf str);
    conflicts = option (listOf str);
    unitConfig = option (attrsOf unitValue);
  };
  service = unit // {
    path = option (listOf (either package str));
    script = option lines;
    serviceConfig = option (attrsOf unitValue);
    restartIfChanged = option bool;
    enable = option bool;
  };
  pathUnit = unit // { pathConfig = option (attrsOf unitValue); };

  # tasks/network-interfaces.nix
  address = submodule { address = option str; prefixLength = option int; };
  interface = {
    useDHCP = option (nullOr bool);
    macAddress = option (nullOr (matching "([0-9a-f]{2}:){5}[0-9a-f]{2}"));
    mtu = option (nullOr int);
    ipv4.addresses = option (listOf address);
    ipv6.addresses = option (listOf address);
  };
  gateway = nullOr (submodule { address = option str; interface = option (nullOr str); });

  # system/boot/luksroot.nix
  luksDevice = {
    device = option str;
    keyFile = option (nullOr str);
    keyFileTimeout = option (nullOr int);
    allowDiscards = option bool;
    fallbackToPassword = option bool;
    preOpenCommands = option lines;
    crypttabExtraOpts = option (listOf (matching "[^\n]*"));
  };
in
{
  # system/boot/luksroot.nix, stage-1.nix, kernel.nix, systemd/initrd.nix
  boot.initrd.luks.devices = option (attrsOf (submodule luksDevice));
  boot.initrd.availableKernelModules = option (listOf str);
  boot.initrd.kernelModules = option (listOf str);
  boot.initrd.supportedFilesystems = option (either (attrsOf bool) (listOf str));
  boot.initrd.postMountCommands = option lines;
  boot.initrd.systemd.enable = with_ bool systemdInitrd;
  boot.initrd.systemd.services = option (attrsOf (submodule service));
  boot.kernelModules = option (listOf str);
  boot.kernelParams = option (listOf str);
  # config/sysctl.nix
  boot.kernel.sysctl = option (attrsOf (nullOr (either bool (either str int))));

  # system/boot/loader/…
  boot.loader.systemd-boot.enable = option bool;
  boot.loader.systemd-boot.editor = option bool;
  boot.loader.systemd-boot.configurationLimit = option (nullOr int);
  boot.loader.grub.enable = option bool;
  boot.loader.grub.efiSupport = option bool;
  boot.loader.grub.device = option str;
  boot.loader.efi.canTouchEfiVariables = option bool;
  boot.loader.efi.efiSysMountPoint = option str;

  # tasks/filesystems.nix, config/swap.nix
  fileSystems = option (attrsOf (submodule {
    device = option (nullOr str);
    fsType = option str;
    options = option (listOf str);
  }));
  swapDevices = option (listOf (submodule { device = option str; }));

  # tasks/filesystems/btrfs.nix, services/misc/fstrim.nix
  services.btrfs.autoScrub.enable = option bool;
  services.btrfs.autoScrub.interval = option str;
  services.btrfs.autoScrub.fileSystems = option (listOf path);
  services.fstrim.enable = option bool;

  # hardware/cpu/{amd,intel}-microcode.nix, hardware/all-firmware.nix, misc/nixpkgs.nix
  hardware.cpu.amd.updateMicrocode = option bool;
  hardware.cpu.intel.updateMicrocode = option bool;
  hardware.enableRedistributableFirmware = with_ bool false;
  nixpkgs.hostPlatform = option (either str (attrsOf anything));

  # tasks/network-interfaces.nix, tasks/network-interfaces-systemd.nix, config/networking.nix
  networking.hostName = option (matching "[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?");
  networking.useNetworkd = option bool;
  networking.useDHCP = option bool;
  networking.bridges = option (attrsOf (submodule { interfaces = option (listOf str); }));
  networking.interfaces = option (attrsOf (submodule interface));
  networking.defaultGateway = option gateway;
  networking.defaultGateway6 = option gateway;
  networking.nameservers = option (listOf str);
  networking.search = option (listOf str);
  # system/boot/networkd.nix
  systemd.network.links = option (attrsOf (submodule {
    matchConfig = option (attrsOf unitValue);
    linkConfig = option (attrsOf unitValue);
  }));

  # services/networking/firewall-{nftables,iptables}.nix, nftables.nix
  networking.nftables.enable = with_ bool nftables;
  networking.firewall.enable = with_ bool true;
  networking.firewall.allowedTCPPorts = option (listOf port);
  networking.firewall.allowedUDPPorts = option (listOf port);
  networking.firewall.allowedTCPPortRanges = option (listOf (attrsOf port));
  networking.firewall.allowedUDPPortRanges = option (listOf (attrsOf port));
  networking.firewall.extraInputRules = with_ lines "";
  networking.firewall.extraCommands = with_ lines "";
  # services/network-filesystems/nfsd.nix
  services.nfs.server.enable = option bool;
  services.nfs.server.exports = option lines;
  # tasks/filesystems/nfs.nix, services/networking/rpcbind.nix
  services.nfs.settings = option (attrsOf (attrsOf anything));
  services.rpcbind.enable = option bool;

  # virtualisation/libvirtd.nix
  virtualisation.libvirtd.enable = option bool;
  virtualisation.libvirtd.allowedBridges = option (listOf str);
  virtualisation.libvirtd.onBoot = option (enum [ "start" "ignore" ]);
  virtualisation.libvirtd.onShutdown = option (enum [ "shutdown" "suspend" ]);
  virtualisation.libvirtd.qemu = option (submodule {
    runAsRoot = option bool;
    swtpm = option (submodule { enable = option bool; });
    ovmf = option (submodule { packages = option (listOf package); });
  });

  # config/users-groups.nix
  users.groups = option (attrsOf (submodule { members = option (listOf str); }));
  users.users = option (attrsOf (submodule {
    isNormalUser = option bool;
    extraGroups = option (listOf str);
    hashedPasswordFile = option (nullOr str);
    openssh = option (submodule {
      authorizedKeys = option (submodule { keys = option (listOf (matching "[^\n]*")); });
    });
  }));

  # config/locale.nix, config/i18n.nix, config/console.nix
  time.timeZone = option (nullOr str);
  i18n.defaultLocale = option str;
  console.keyMap = option (either str path);

  # services/networking/ssh/sshd.nix, config/nix.nix, misc/version.nix,
  # config/system-path.nix, services/networking/tailscale.nix
  services.openssh.enable = option bool;
  services.openssh.settings = option (attrsOf anything);
  nix.settings = option (attrsOf anything);
  system.stateVersion = option (matching "[0-9]{2}\\.[0-9]{2}");
  # system/etc/etc.nix
  environment.etc = option (attrsOf (submodule { text = option (nullOr lines); }));
  environment.systemPackages = option (listOf package);
  services.tailscale.enable = option bool;
  services.tailscale.port = option port;

  # system/boot/systemd.nix
  systemd.services = option (attrsOf (submodule service));
  systemd.paths = option (attrsOf (submodule pathUnit));

  # Home Manager's NixOS module (nixos/common.nix)
  home-manager.useGlobalPkgs = option bool;
  home-manager.useUserPackages = option bool;
  home-manager.users = option (attrsOf anything);
}
