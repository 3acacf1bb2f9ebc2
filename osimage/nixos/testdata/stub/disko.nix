# disko's options as its lib/types declare them (gpt.nix, luks.nix, btrfs.nix,
# filesystem.nix), and the labels it would give: disk-<disk>-<partition>.
{ file }:
let
  types = import ./types.nix;
  inherit (types) anything attrsOf bool enum int listOf matching nullOr str submodule;
  option = type: { _option = true; inherit type; };
  absolute = matching "/.*";
  swap = attrsOf (submodule { size = option (matching "([0-9]+[KMGTP])?"); path = option str; });
  subvolume = submodule {
    mountpoint = option (nullOr absolute);
    mountOptions = option (listOf str);
    swap = option swap;
  };
  btrfs = submodule {
    type = option (enum [ "btrfs" ]);
    extraArgs = option (listOf str);
    subvolumes = option (attrsOf subvolume);
  };
  luks = submodule {
    type = option (enum [ "luks" ]);
    name = option str;
    settings = option (attrsOf anything);
    content = option btrfs;
  };
  filesystem = submodule {
    type = option (enum [ "filesystem" ]);
    format = option str;
    mountpoint = option (nullOr absolute);
    mountOptions = option (listOf str);
  };
  content = {
    name = "partition content";
    check = builtins.isAttrs;
    merge = path: values: ({ inherit luks filesystem; }.${(builtins.head values).type}).merge path values;
  };
  hex = n: "[A-Fa-f0-9]{${toString n}}";
  partition = submodule {
    label = option str;
    size = option (matching "100%|[0-9]+[KMGTP]?");
    type = option (matching "${hex 4}|${hex 8}-${hex 4}-${hex 4}-${hex 4}-${hex 12}");
    content = option content;
  };
  evaluated = (import ./eval.nix {
    lib = import ./lib.nix { release = "25.11"; };
    modules = [ file ];
    specialArgs = { };
    options = {
      disko.enableConfig = option bool;
      disko.devices.disk = option (attrsOf (submodule {
        type = option (enum [ "disk" ]);
        device = option absolute;
        content = option (submodule {
          type = option (enum [ "gpt" ]);
          partitions = option (attrsOf partition);
        });
      }));
    };
  }).defined;
in
{
  inherit evaluated;
  expected = builtins.mapAttrs
    (disk: d: builtins.mapAttrs (name: _: "disk-${disk}-${name}") d.content.partitions)
    evaluated.disko.devices.disk;
  labels = builtins.mapAttrs
    (_: d: builtins.mapAttrs (_: p: p.label) d.content.partitions)
    evaluated.disko.devices.disk;
}
