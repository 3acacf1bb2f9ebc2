# nixos/modules/installer/scan/not-detected.nix turns the firmware on.
{ lib, ... }:
{
  hardware.enableRedistributableFirmware = lib.mkDefault true;
}
