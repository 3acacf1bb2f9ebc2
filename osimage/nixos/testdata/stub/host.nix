# Evaluates a host's modules together, with the assertions of nixpkgs that
# decide whether such a host builds.
{ modules, systemdInitrd, nftables, release, specialArgs ? { } }:
let
  lib = import ./lib.nix { inherit release; };
  evaluated = import ./eval.nix {
    inherit lib;
    # A host with iptables has a module of its owner's that says so.
    modules = modules ++ (if nftables then [ ] else [{ networking.nftables.enable = false; }]);
    options = import ./options.nix { inherit systemdInitrd nftables; };
    specialArgs = {
      pkgs = import ./pkgs.nix;
      modulesPath = ./modules;
    } // specialArgs;
  };
  inherit (evaluated) config defined;
  systemd = config.boot.initrd.systemd.enable;
  devices = builtins.attrValues defined.boot.initrd.luks.devices;

  assertions = [
    # system/boot/luksroot.nix
    { assertion = systemd || builtins.all (d: (d.keyFileTimeout or null) == null) devices; message = "keyFileTimeout is only supported for systemd initrd"; }
    { assertion = !systemd || builtins.all (d: !(d.fallbackToPassword or false)) devices; message = "fallbackToPassword is implied by systemd stage 1"; }
    { assertion = !systemd || builtins.all (d: (d.preOpenCommands or "") == "") devices; message = "preOpenCommands is not supported by systemd stage 1"; }
    # system/boot/systemd/initrd.nix
    { assertion = !systemd || (defined.boot.initrd.postMountCommands or "") == ""; message = "systemd stage 1 does not support boot.initrd.postMountCommands"; }
    # services/networking/firewall-nftables.nix
    { assertion = !nftables || config.networking.firewall.extraCommands == ""; message = "extraCommands is incompatible with the nftables based firewall"; }
    # virtualisation/libvirtd.nix
    { assertion = lib.versionOlder release "25.11" || !(defined.virtualisation.libvirtd.qemu ? ovmf); message = "the qemu.ovmf submodule has been removed"; }
    # system/boot/loader: one of them, and tasks/filesystems.nix: a root
    { assertion = (defined.boot.loader ? grub) != (defined.boot.loader ? systemd-boot); message = "one boot loader"; }
    { assertion = defined.fileSystems ? "/"; message = "The fileSystems option does not specify your root file system."; }
  ];
  broken = builtins.filter (a: !a.assertion) assertions;
in
if broken != [ ] then throw "failed assertion: ${(builtins.head broken).message}" else defined
