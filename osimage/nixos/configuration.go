package nixos

import (
	"fmt"
	"slices"

	"hvinstall/configs"
	"hvinstall/configs/keymap"
)

type configsUser = configs.User

// configurationNix is the host's main module.
func configurationNix(in Input) (string, error) {
	l, n := in.Layout, in.Layout.OS.NixOS
	imports, args := list{}, []string{}
	own := []string{"./hardware-configuration.nix", "./luks.nix"}
	if l.Network != nil {
		own = append(own, "./network.nix")
	}
	if len(in.Exports) > 0 {
		own = append(own, "./nfs.nix")
	}
	own = append(own, "./firewall.nix", "./libvirtd.nix", "./hvinstall.nix")
	if len(n.Options) > 0 {
		own = append(own, "./options.nix")
	}
	for _, path := range own {
		imports = append(imports, raw(path))
	}
	for _, entry := range n.Imports {
		expr, uses, err := importExpr(entry)
		if err != nil {
			return "", fmt.Errorf("os.nixos.imports: %w", err)
		}
		imports = append(imports, raw(expr))
		args = append(args, uses...)
	}
	slices.Sort(args)
	body := attrs{set("imports", imports, importsComment(len(n.Imports))...)}
	body = append(body, after(set("networking.hostName", l.Hostname)))
	body = append(body, bootloader(in)...)
	body = append(body, locale(l.Locale)...)
	body = append(body, users(in)...)
	body = append(body,
		after(set("nix.settings.experimental-features", texts("nix-command", "flakes"), "For nixos-rebuild switch --flake on the host itself.")),
		after(set("system.stateVersion", in.Release,
			"The release that the host's state began with; not the release it runs. Never changed by an update.",
			"https://nixos.org/manual/nixos/stable/options#opt-system.stateVersion")),
	)
	return module{
		header: []string{
			"The host " + l.Hostname + ". The imports below are written by hvinstall; what else the host is",
			"belongs into modules of your own: list them in os.nixos.imports.",
		},
		args: slices.Compact(args),
		body: body,
	}.String(), nil
}

func importsComment(own int) []string {
	if own == 0 {
		return nil
	}
	return []string{"The last of these: os.nixos.imports of layout.yaml."}
}

func bootloader(in Input) attrs {
	if in.Layout.OS.NixOS.Bootloader == "grub" {
		return attrs{
			after(set("boot.loader.grub.enable", true, "os.nixos.bootloader")),
			set("boot.loader.grub.efiSupport", true),
			set("boot.loader.grub.device", "nodev", "UEFI only: nothing is written to a disk's first sectors."),
			set("boot.loader.efi.canTouchEfiVariables", true),
			set("boot.loader.efi.efiSysMountPoint", in.ESP.Mountpoint),
		}
	}
	return attrs{
		after(set("boot.loader.systemd-boot.enable", true, "os.nixos.bootloader")),
		set("boot.loader.systemd-boot.editor", false, "Whoever edits the kernel's command line at the console is root."),
		set("boot.loader.systemd-boot.configurationLimit", 20, "Kernels of older generations do not fill the ESP."),
		set("boot.loader.efi.canTouchEfiVariables", true),
		set("boot.loader.efi.efiSysMountPoint", in.ESP.Mountpoint),
	}
}

func locale(l configs.Locale) attrs {
	zone, lang, name := l.Timezone, l.Lang, l.Keymap
	if zone == "" {
		zone = "UTC"
	}
	if lang == "" {
		lang = "C.UTF-8"
	}
	if name == "" {
		name = "us"
	}
	a := attrs{
		after(set("time.timeZone", zone, "locale")),
		set("i18n.defaultLocale", lang),
	}
	return append(a, keyboard(name)...)
}

// keyboard is kbd's keymap of that name. What only X has is compiled by NixOS
// from X's layout.
func keyboard(name string) attrs {
	x, found := keymap.Find(name)
	if !found || keymap.InKbd(name) {
		return attrs{set("console.keyMap", name)}
	}
	a := attrs{set("console.useXkbConfig", true), set("services.xserver.xkb.layout", x.Layout)}
	if x.Variant != "" {
		a = append(a, set("services.xserver.xkb.variant", x.Variant))
	}
	if x.Options != "" {
		a = append(a, set("services.xserver.xkb.options", x.Options))
	}
	return a
}

// PasswordsDir is where the accounts' password hashes are, one file each,
// readable by root alone: a hash in a Nix file would end in the store, which
// every user can read, and in the flake's repository.
const PasswordsDir = "/var/lib/hvinstall/passwords"

func users(in Input) attrs {
	var a attrs
	for _, u := range in.Layout.Users {
		account := attrs{set("isNormalUser", true)}
		if len(u.Groups) > 0 {
			account = append(account, set("extraGroups", texts(u.Groups...)))
		}
		if u.PasswordHash != "" {
			account = append(account, set("hashedPasswordFile", PasswordsDir+"/"+u.Name,
				"Placed by hvinstall from password_hash; readable by root alone, as a Nix file would not be."))
		}
		if len(u.SSHAuthorizedKeys) > 0 {
			account = append(account, set("openssh.authorizedKeys.keys", texts(u.SSHAuthorizedKeys...)))
		}
		b := binding{path: []string{"users", "users", u.Name}, value: account}
		if len(a) == 0 {
			b.comment = []string{"users; what Home Manager does for them is in users/<name>.nix"}
		}
		a = append(a, after(b))
	}
	return a
}

// userNix is the Home Manager module of one user: hosts/<host>/users/<name>.nix
// is where numtide/blueprint looks for it.
func userNix(in Input, name string) string {
	return module{
		header: []string{
			"Home Manager's configuration of " + name + " on " + in.Layout.Hostname + ". The account itself is in configuration.nix.",
			"numtide/blueprint finds this file by its place; other flakes name it in home-manager.users." + name + ".",
		},
		args: []string{},
		body: attrs{set("home.stateVersion", in.Release)},
	}.String()
}
