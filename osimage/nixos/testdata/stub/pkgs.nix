# Packages stand for themselves by name.
{
  qemu_kvm = "/nix/store/qemu_kvm";
  util-linux = "/nix/store/util-linux";
  xz = "/nix/store/xz";
  OVMFFull.fd = "/nix/store/OVMFFull-fd";
  writeShellScriptBin = name: text: { inherit name text; };
}
