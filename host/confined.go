package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Confinement is what a program that reads content from outside may see: that
// file, the file that it writes, and the system's programs and libraries, in
// name spaces of its own (a user name space where the host allows one), without
// a network, as a user who owns nothing else, and with the system calls of a
// program that reads and writes files alone. A file that the content names is
// not there.
type Confinement struct {
	Read  string // stands as an argument of its own in Argv
	Write string // likewise; made anew, empty
}

// confinedUser owns both files while the program runs. It lies outside of what
// systemd and Debian give to anybody (systemd's docs/UIDS-GIDS.md: unused).
const confinedUser = 1_900_000_017

// confine sets up the name spaces from within, and becomes the program. The
// system's own root lies below the new one, where nobody gets without
// CAP_SYS_CHROOT, which setpriv gives up.
const confine = `set -eu
root=$1 read=$2 write=$3 user=$4 setpriv=$5 unshare=$6 self=$7 bind=$8
shift 8
mount -t tmpfs -o mode=0755,size=64m,nosuid,nodev confined "$root"
for dir in usr nix/store; do
	[ -d /$dir ] || continue
	mkdir -p "$root/$dir"
	mount --bind /$dir "$root/$dir"
	mount -o remount,bind,ro,nosuid,nodev "$root/$dir"
done
for dir in bin sbin lib lib32 lib64; do
	if [ -L /$dir ]; then
		cp -P /$dir "$root/$dir"
	elif [ -d /$dir ]; then
		mkdir "$root/$dir"
		mount --bind /$dir "$root/$dir"
		mount -o remount,bind,ro,nosuid,nodev "$root/$dir"
	fi
done
: >"$root/in"
: >"$root/out"
mount --bind "$read" "$root/in"
mount -o remount,bind,ro,nosuid,nodev,noexec "$root/in"
mount --bind "$write" "$root/out"
if [ "$bind" = true ]; then
	: >"$root` + confinedSelf + `"
	mount --bind "$self" "$root` + confinedSelf + `"
	mount -o remount,bind,ro,nosuid,nodev "$root` + confinedSelf + `"
else
	cp "$self" "$root` + confinedSelf + `"
	chmod 0555 "$root` + confinedSelf + `"
fi
mount -o remount,ro,nosuid,nodev "$root"
cd "$root"
mount --move . /
ulimit -c 0
ulimit -n 64
ulimit -d 4194304
set -- ` + confinedSelf + ` "$@"
become="--reuid=$user --regid=$user --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs"
# A host may have no user name spaces (user.max_user_namespaces=0).
if chroot . "$setpriv" $become -- "$unshare" --user -- ` + confinedSelf + ` 2>/dev/null; then
	set -- "$unshare" --user -- "$@"
fi
exec chroot . "$setpriv" $become -- "$@"
`

// argv is the command line that runs the program confined. undo gives the
// files back to root.
func (c Confinement) argv(program []string) (argv []string, undo func() error, err error) {
	if os.Geteuid() != 0 {
		return nil, nil, errors.New("to read an image from outside, a program is confined, which takes root; run hvinstall as root")
	}
	paths := map[string]string{"unshare": "", "sh": "", "setpriv": "", program[0]: ""}
	for name := range paths {
		path, err := LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("to read an image from outside, %s is confined: %w; install util-linux", program[0], err)
		}
		paths[name] = path
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(self)
	if err != nil {
		return nil, nil, fmt.Errorf("to read an image from outside, this program starts itself again: %w", err)
	}
	root, err := os.MkdirTemp("", "hvinstall-confined-")
	if err != nil {
		return nil, nil, err
	}
	undo = func() error {
		return errors.Join(os.Chown(c.Read, 0, 0), os.Chown(c.Write, 0, 0), os.Remove(root))
	}
	out, err := os.OpenFile(c.Write, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = errors.Join(out.Chown(confinedUser, confinedUser), out.Close(), os.Chown(c.Read, confinedUser, confinedUser))
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(root))
	}
	argv = []string{paths["unshare"], "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL", "--",
		paths["sh"], "-c", confine, "confined", root, c.Read, c.Write, fmt.Sprint(confinedUser),
		paths["setpriv"], paths["unshare"], self, fmt.Sprint(info.Mode()&0o001 != 0), paths[program[0]]}
	for _, arg := range program[1:] {
		switch arg {
		case c.Read:
			arg = "/in"
		case c.Write:
			arg = "/out"
		}
		argv = append(argv, arg)
	}
	return argv, undo, nil
}
