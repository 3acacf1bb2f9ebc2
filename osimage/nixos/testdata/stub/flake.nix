# Calls a generated flake.nix as nix does, with stand-ins for its inputs:
# nixpkgs.lib.nixosSystem, Home Manager's module and numtide/blueprint, which
# finds hosts and their users by folders (its docs, "Folder structure").
{ dir, systemdInitrd, nftables, release }:
let
  self = { modules.nixos.tailscale = { ... }: { services.tailscale.enable = true; }; };
  system = { modules, specialArgs ? { } }: import ./host.nix {
    inherit modules systemdInitrd nftables release specialArgs;
  };
  homeManager = { ... }: { };
  entries = folder: if builtins.pathExists folder then builtins.readDir folder else { };
  inputs = {
    inherit self;
    nixpkgs.lib.nixosSystem = system;
    home-manager.nixosModules.home-manager = homeManager;
    home-manager.nixosModules.default = homeManager;
    blueprint = { inputs, prefix ? "" }:
      let
        hosts = dir + "/${prefix}hosts";
        users = host:
          let files = entries (hosts + "/${host}/users"); in
          builtins.listToAttrs (map
            (file: { name = builtins.head (builtins.match "(.*)\\.nix" file); value = hosts + "/${host}/users/${file}"; })
            (builtins.attrNames files));
      in
      {
        nixosConfigurations = builtins.mapAttrs
          (host: _: system {
            specialArgs = { inherit inputs; flake = self; hostName = host; };
            modules = [ (hosts + "/${host}/configuration.nix") { home-manager.users = users host; } ];
          })
          (entries hosts);
      };
  };
  flake = import (dir + "/flake.nix");
  hosts = (flake.outputs inputs).nixosConfigurations;
  # Home Manager's modules, by the same rules.
  home = file: import file { };
in
{
  inputs = flake.inputs;
  hosts = builtins.mapAttrs (_: host: host // { home-manager = (host.home-manager or { }) // { users = builtins.mapAttrs (_: home) (host.home-manager.users or { }); }; }) hosts;
}
