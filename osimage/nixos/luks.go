package nixos

import (
	"strconv"
	"strings"
	"time"
)

// luksNix opens every volume in stage 1 by the key on a stick. NixOS has two
// stage 1s, scripted (the default before 26.05, gone in 26.11) and systemd's,
// which take different options and assert against each other's
// (nixos/modules/system/boot/luksroot.nix), so the file follows
// boot.initrd.systemd.enable.
func luksNix(in Input) string {
	var sticks []string
	for _, s := range in.Sticks {
		sticks = append(sticks, strings.ToUpper(s.UUID))
	}
	wait := int(time.Duration(in.Layout.Encryption.KeyWait).Seconds())
	if wait == 0 {
		wait = 10
	}
	fallback := in.Layout.Encryption.FallbackToPassword == nil || *in.Layout.Encryption.FallbackToPassword

	lets := attrs{
		set("systemd", raw("config.boot.initrd.systemd.enable"), "Which stage 1 it is: systemd's or the scripted one."),
	}
	body := attrs{}
	if s := in.Layout.OS.NixOS.SystemdInitrd; s != nil {
		body = append(body, set("boot.initrd.systemd.enable", *s, "os.nixos.systemd_initrd"))
	}
	if len(sticks) > 0 {
		lets = append(lets,
			after(set("keyFile", "/key/"+keyName(in), "encryption.key_filename, in the stick's root")),
			set("wait", wait, "encryption.key_wait: seconds until the passphrase is asked for"),
			after(set("mountStick", mountStick(in, sticks), stickComment(in)...)),
			after(set("noStick", block{"[ -e ${keyFile} ] || mkdir -p ${keyFile}"},
				"Scripted stage 1 waits 10 s for the key file of each volume anew. A folder in its place ends",
				"that: the passphrase is asked for at once, and only once (boot.initrd.luks.reusePassphrases).")),
		)
		body = append(body, set("boot.initrd.kernelModules", texts("uas", "usb_storage", "vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii"),
			"What it takes to read a VFAT stick before the root is there."))
	}
	lets = append(lets, after(binding{rawPath: "volume", value: volumeFunction(len(sticks) > 0, fallback),
		comment: []string{
			"One LUKS2 volume, found by its disk's name: the UUID in its header can be on another disk, too.",
			"timeout is how long systemd's stage 1 waits for the disk before it goes on without; the scripted",
			"one stops after 10 s.",
		}}))

	var devices attrs
	for _, v := range in.Volumes {
		arguments := inlineAttrs(attrs{set("device", v.device()), set("discards", v.Discards), set("timeout", patience(in, v))})
		devices = append(devices, binding{path: []string{v.Mapping}, value: raw("volume " + arguments), comment: []string{volumeComment(v)}})
	}
	body = append(body, after(set("boot.initrd.luks.devices", devices)))
	if len(sticks) > 0 {
		body = append(body, after(set("boot.initrd.postMountCommands", raw("lib.mkIf (!systemd) ''\n  umount /key 2>/dev/null || true\n''"),
			"Scripted stage 1: the stick is put away before stage 2.")))
		body = append(body, after(set("boot.initrd.systemd.services.hvinstall-key", raw(keyService),
			"systemd's stage 1: one wait for all volumes, and the stick put away before the root is switched.")))
	}
	return module{
		header: []string{
			"Unlocking at boot: every LUKS2 volume by the key file on a USB stick, else by passphrase.",
			"No key is in this file; the sticks are told by the volume serials of their VFATs.",
		},
		args: []string{"config", "lib"},
		lets: lets,
		body: body,
	}.String()
}

// device is what stage 1 opens. A name that udev makes of a disk's bus, model and
// serial number is no USB stick's; a UUID is whoever's writes it down.
func (v Volume) device() string {
	switch {
	case v.DiskID != "" && v.Partition > 0:
		return v.DiskID + "-part" + strconv.Itoa(v.Partition)
	case v.DiskID != "" && v.PartUUID == "":
		return v.DiskID
	}
	return "/dev/disk/by-uuid/" + strings.ToLower(v.UUID)
}

func volumeComment(v Volume) string {
	what := "the system"
	if v.Pool != "" {
		what = "pool " + v.Pool
	}
	s := what + ": " + strings.TrimPrefix(v.DiskID, "/dev/disk/by-id/") + ", LUKS2 volume " + strings.ToLower(v.UUID)
	if v.PartLabel != "" {
		s += ", partition " + v.PartLabel
	}
	return s
}

// patience: a disk of a pool that is not waited for is given 30 s to spin up;
// the system's has systemd's own 90 s. Never nofail: what is nofail is not
// waited for at all, and a disk slower than the system's would stay locked.
func patience(in Input, v Volume) string {
	if v.Pool == "" {
		return "90s"
	}
	for _, p := range in.Pools {
		if p.Label == v.Pool && p.Degraded == "wait" {
			return "infinity"
		}
	}
	return "30s"
}

func stickComment(in Input) []string {
	lines := []string{"encryption.usb_keys: the first of these that has the key file is mounted, read-only."}
	for _, s := range in.Sticks {
		if s.DiskID != "" {
			lines = append(lines, strings.ToUpper(s.UUID)+" is "+strings.TrimPrefix(s.DiskID, "/dev/disk/by-id/"))
		}
	}
	return lines
}

// mountStick is shell for both stage 1s: busybox ash and bash. Everything in
// it from the layout has passed check.
func mountStick(in Input, sticks []string) block {
	return block{
		"mkdir -m 0700 -p /key",
		"tries=$((${toString wait} * 5))",
		"while [ ! -e ${keyFile} ]; do",
		"  for stick in " + strings.Join(sticks, " ") + "; do",
		"    [ -e /dev/disk/by-uuid/$stick ] || continue",
		"    mount -n -t vfat -o ro,nodev,nosuid,noexec,umask=0077 /dev/disk/by-uuid/$stick /key || continue",
		"    [ -e ${keyFile} ] && break 2",
		"    umount /key || true",
		"  done",
		"  if [ $tries -le 0 ]; then",
		`    echo "no USB stick has ${keyFile}"`,
		"    break",
		"  fi",
		"  tries=$((tries - 1))",
		"  sleep 0.2",
		"done",
	}
}

// volumeFunction gives the device options of either stage 1.
func volumeFunction(sticks, fallback bool) raw {
	lines := []string{
		"",
		"  { device, discards, timeout }:",
		"  {",
		"    inherit device;",
		"    allowDiscards = discards;",
	}
	if sticks {
		lines = append(lines,
			"    inherit keyFile;",
			"    keyFileTimeout = if systemd then wait else null;",
			`    preOpenCommands = if systemd then "" else mountStick + noStick;`,
		)
		if fallback {
			lines = append(lines, "    # systemd always falls back to the passphrase, and asserts that this is not set.",
				"    fallbackToPassword = !systemd;")
		} else {
			lines = append(lines, "    # encryption.fallback_to_password",
				"    fallbackToPassword = false;")
		}
	}
	options := `[ "x-systemd.device-timeout=${timeout}" ]`
	if sticks && !fallback {
		options = "[\n      \"x-systemd.device-timeout=${timeout}\"\n      \"headless=true\"\n    ]"
	}
	return raw(strings.Join(append(lines, "    crypttabExtraOpts = "+options+";", "  }"), "\n"))
}

const keyService = `lib.mkIf systemd {
  description = "The USB stick that holds the key of the LUKS volumes";
  wantedBy = [ "sysinit.target" ];
  wants = [ "cryptsetup-pre.target" ];
  before = [
    "cryptsetup-pre.target"
    "initrd-switch-root.target"
    "shutdown.target"
  ];
  after = [ "systemd-modules-load.service" ];
  conflicts = [
    "initrd-switch-root.target"
    "shutdown.target"
  ];
  unitConfig.DefaultDependencies = false;
  script = mountStick;
  serviceConfig = {
    Type = "oneshot";
    RemainAfterExit = true;
    # A minus: nothing is mounted where the passphrase was typed.
    ExecStop = "-/bin/umount /key";
  };
}`
