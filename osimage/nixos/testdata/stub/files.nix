# Every file of a host by itself, applied to stub arguments: what it says, with
# conditions as they stand, and the names of what it imports.
{ dir, names, systemdInitrd }:
let
  arguments = {
    lib = import ./lib.nix { release = "25.11"; };
    pkgs = import ./pkgs.nix;
    modulesPath = "/nixpkgs/nixos/modules";
    config.boot.initrd.systemd.enable = systemdInitrd;
    config.networking.nftables.enable = false;
    config.hardware.enableRedistributableFirmware = true;
    flake.modules.nixos.tailscale = "flake.modules.nixos.tailscale";
    inputs = { };
  };
  prefix = builtins.stringLength (toString dir) + 1;
  imported = i: if builtins.isPath i then builtins.substring prefix 1000 (toString i) else i;
  file = name:
    let
      f = import (dir + "/${name}");
      body = if builtins.isFunction f then f (builtins.intersectAttrs (builtins.functionArgs f) arguments) else f;
    in
    if body ? imports then body // { imports = map imported body.imports; } else body;
in
builtins.listToAttrs (map (name: { inherit name; value = file name; }) names)
