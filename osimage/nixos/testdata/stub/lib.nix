# The functions of nixpkgs' lib that the generated modules use, written anew
# from their documentation (nixpkgs manual, "Nixpkgs Library Functions"; NixOS
# manual, "Writing NixOS Modules").
{ release }:
rec {
  version = release;
  versionOlder = a: b: builtins.compareVersions a b < 0;
  optional = condition: value: if condition then [ value ] else [ ];
  optionalAttrs = condition: value: if condition then value else { };
  concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
  escapeShellArg = s: "'" + builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString s) + "'";

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
}
