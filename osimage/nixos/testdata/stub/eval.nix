# A small module system: imports, arguments by name, definitions merged by the
# option's type. A definition of an option that options.nix does not declare is
# an error, and so is one of another type. It gives the defined options only.
{ lib, options, modules, specialArgs }:
let
  types = import ./types.nix;

  load = m:
    let
      f = if builtins.isPath m || builtins.isString m then import m else m;
      asked = builtins.mapAttrs (name: _: arguments.${name} or (throw "no module argument ${name}")) (builtins.functionArgs f);
      body = if builtins.isFunction f then f asked else f;
      own = body.config or (builtins.removeAttrs body [ "imports" "options" ]);
    in
    [ own ] ++ builtins.concatLists (map load (body.imports or [ ]));

  all = builtins.concatLists (map load modules);
  arguments = specialArgs // { inherit lib config; };

  # The tree of options next to the definitions of every module.
  tree = path: declared: definitions:
    let
      sets = map (d: d.value) (builtins.concatLists (map types.discharge definitions));
      given = builtins.zipAttrsWith (_: values: values) sets;
      foreign = builtins.filter (name: !(declared ? ${name})) (builtins.attrNames given);
      at = name: if path == "" then name else "${path}.${name}";
    in
    if foreign != [ ] then throw "the option ${at (builtins.head foreign)} is not declared"
    else builtins.mapAttrs
      (name: option:
        let definitions = given.${name} or [ ]; in
        if !(option ? _option) then tree (at name) option definitions
        else { _leaf = true; inherit definitions option; path = at name; })
      declared;

  root = tree "" options all;

  # Every option, with its default: what modules see as config.
  config = read root;
  read = builtins.mapAttrs (_: node:
    if !(node ? _leaf) then read node
    else
      if holds node then value node
      else if node.option ? default then node.option.default
      else throw "the option ${node.path} has no value");
  value = node: types.combined node.option.type node.path node.definitions;

  # Only what the modules define, with conditions applied.
  defined = nodes:
    let
      kept = builtins.filter (name: holds nodes.${name}) (builtins.attrNames nodes);
    in
    builtins.listToAttrs (map
      (name: {
        inherit name;
        value = if nodes.${name} ? _leaf then value nodes.${name} else defined nodes.${name};
      })
      kept);
  holds = node:
    if node ? _leaf then builtins.concatLists (map types.discharge node.definitions) != [ ]
    else builtins.any (name: holds node.${name}) (builtins.attrNames node);
in
{ inherit config; defined = defined root; }
