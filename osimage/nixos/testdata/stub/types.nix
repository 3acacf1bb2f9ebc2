# Option types: each has a check and a way to merge several definitions, as the
# NixOS manual describes them ("Option Types").
let
  one = path: values:
    if builtins.all (v: v == builtins.head values) values then builtins.head values
    else throw "the option ${path} has conflicting definitions";
  scalar = name: check: { inherit name check; merge = one; };
in
rec {
  bool = scalar "bool" builtins.isBool;
  int = scalar "int" builtins.isInt;
  port = scalar "port" (v: builtins.isInt v && v >= 0 && v < 65536);
  str = scalar "str" builtins.isString;
  path = scalar "path" (v: builtins.isPath v || builtins.isString v && builtins.substring 0 1 v == "/");
  package = scalar "package" (v: builtins.isString v || v ? name);
  enum = values: scalar "enum" (v: builtins.elem v values);
  matching = pattern: scalar "str matching ${pattern}" (v: builtins.isString v && builtins.match pattern v != null);
  anything = scalar "anything" (_: true);
  raw = anything;
  lines = { name = "lines"; check = builtins.isString; merge = _: builtins.concatStringsSep "\n"; };
  nullOr = t: {
    name = "null or ${t.name}";
    check = v: v == null || t.check v;
    merge = path: values: if builtins.all (v: v == null) values then null else t.merge path values;
  };
  either = a: b: {
    name = "${a.name} or ${b.name}";
    check = v: a.check v || b.check v;
    merge = path: values: if builtins.all a.check values then a.merge path values else b.merge path values;
  };
  listOf = t: {
    name = "list of ${t.name}";
    check = builtins.isList;
    merge = path: values: map (v: valid t "${path}.*" v) (builtins.concatLists values);
  };
  attrsOf = t: {
    name = "attribute set of ${t.name}";
    check = builtins.isAttrs;
    merge = path: values:
      builtins.mapAttrs (name: definitions: combined t "${path}.${name}" definitions)
        (builtins.zipAttrsWith (_: definitions: definitions) values);
  };
  # A submodule's own options; what is not declared is an error.
  submodule = options: {
    name = "submodule";
    check = builtins.isAttrs;
    merge = path: values:
      let
        given = builtins.zipAttrsWith (_: definitions: definitions) values;
        foreign = builtins.filter (name: !(options ? ${name})) (builtins.attrNames given);
      in
      if foreign != [ ] then throw "the option ${path}.${builtins.head foreign} is not declared"
      else builtins.mapAttrs (name: definitions: nested "${path}.${name}" options.${name} definitions) given;
  };
  # settings with declared names, and any other
  freeform = t: attrsOf t;

  nested = path: option: definitions:
    if option ? _option then combined option.type path definitions
    else (submodule option).merge path definitions;

  valid = t: path: v:
    let merged = t.merge path [ v ]; in
    if t.check v then merged else throw "the option ${path} is ${builtins.typeOf v} (${builtins.toJSON v}), not ${t.name}";

  # What is left of definitions once mkIf, mkMerge and priorities are applied.
  discharge = v:
    if !(builtins.isAttrs v && v ? _type) then [ { priority = 100; value = v; } ]
    else if v._type == "if" then (if v.condition then discharge v.content else [ ])
    else if v._type == "merge" then builtins.concatLists (map discharge v.contents)
    else map (d: { inherit (v) priority; inherit (d) value; }) (discharge v.content);

  combined = t: path: definitions:
    let
      all = builtins.concatLists (map discharge definitions);
      highest = builtins.foldl' (least: d: if d.priority < least then d.priority else least) 9999 all;
      values = map (d: d.value) (builtins.filter (d: d.priority == highest) all);
      wrong = builtins.filter (v: !(t.check v)) values;
    in
    if wrong != [ ] then throw "the option ${path} is ${builtins.typeOf (builtins.head wrong)}, not ${t.name}"
    else if values == [ ] then null
    else t.merge path values;
}
