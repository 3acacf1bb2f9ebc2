package osimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hvinstall/host"
	"hvinstall/step"
)

// usersStep makes the accounts, their homes and their keys.
func (p Plan) usersStep(env Env, after []string) step.Step {
	return step.Step{
		ID: "os/users", Title: "make the accounts", After: after, Detail: p.userLines(),
		Check: func(context.Context) (step.State, string, error) {
			why, err := p.usersDiffer(env.Root)
			if err != nil || why != "" {
				return step.Absent, why, err
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			unlock, err := lockAccounts(env.Root)
			if err != nil {
				return err
			}
			defer unlock()
			given, next, err := p.writeAccounts(env.Root)
			if err != nil {
				return err
			}
			for _, u := range p.Users {
				if err := makeHome(env.Root, u); err != nil {
					return fmt.Errorf("home of %s: %w", u.Name, err)
				}
			}
			for _, name := range p.leaving(given) {
				if err := takeKeys(env.Root, name); err != nil {
					return fmt.Errorf("SSH keys of %s: %w", name, err)
				}
			}
			if err := p.sudoersEdit().apply(env.Root); err != nil {
				return err
			}
			return next.write(env.Root)
		},
	}
}

func (p Plan) userLines() []string {
	var lines []string
	for _, u := range p.Users {
		line := fmt.Sprintf("%s: %d SSH keys", u.Name, len(u.Keys))
		if len(u.Keys) == 1 {
			line = u.Name + ": 1 SSH key"
		}
		switch {
		case u.hash != "" && len(u.Keys) == 0:
			line += ", a password for the console"
		case u.hash != "":
			line += ", a password"
		}
		if len(u.Groups) > 0 {
			line += ", groups " + strings.Join(u.Groups, " ")
		}
		if u.SudoNoPassword {
			line += ", sudo without a password"
		}
		lines = append(lines, line)
	}
	return lines
}

// Warnings is what a person should know of the accounts beforehand: a host
// whose people have passwords alone is reached at its console alone.
func (p Plan) Warnings(f AccountFacts) []string {
	var warnings, names []string
	for _, u := range p.Users {
		at := slices.IndexFunc(f.Users, func(a AccountFact) bool { return a.Name == u.Name })
		if len(u.Keys) == 0 && (at < 0 || len(f.Users[at].OwnKeys) == 0) {
			names = append(names, u.Name)
		}
	}
	if len(names) > 0 && len(names) == len(p.Users) {
		warnings = append(warnings, fmt.Sprintf("ssh takes keys alone, and %s has none: this host is entered at its console only; to change that, add ssh_authorized_keys",
			strings.Join(names, ", ")))
	}
	if f.RootByKey {
		warnings = append(warnings, "root has SSH keys, which no longer let anybody in: log in as a user of the group wheel, and become root by sudo")
	}
	return warnings
}

// accountFiles are written in this order: a name is in passwd only when
// everything that it needs is there.
func accountFiles(a *accounts) []struct {
	name string
	text *string
} {
	return []struct {
		name string
		text *string
	}{{"gshadow", &a.gshadow}, {"group", &a.group}, {"shadow", &a.shadow}, {"passwd", &a.passwd}}
}

func readAccounts(root string) (accounts, error) {
	var a accounts
	for _, f := range accountFiles(&a) {
		data, err := os.ReadFile(filepath.Join(root, "etc", f.name))
		if err != nil {
			return a, err
		}
		*f.text = string(data)
	}
	return a, nil
}

// leaving are the accounts that have something of a layout and are no longer in
// it.
func (p Plan) leaving(given Given) []string {
	var names []string
	for name, g := range given {
		if !g.Locked && !slices.ContainsFunc(p.Users, func(u UserPlan) bool { return u.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// writeAccounts writes the files of accounts. What they had of a layout is then
// still written down; next is to be written once all is done.
func (p Plan) writeAccounts(root string) (given, next Given, err error) {
	have, err := readAccounts(root)
	if err != nil {
		return nil, nil, err
	}
	if given, err = readGiven(root); err != nil {
		return nil, nil, err
	}
	want, next, err := have.with(p.Users, given, time.Now())
	if err != nil {
		return nil, nil, err
	}
	if err := given.and(next).write(root); err != nil {
		return nil, nil, err
	}
	old := accountFiles(&have)
	for i, f := range accountFiles(&want) {
		if *f.text == *old[i].text {
			continue
		}
		if err := replace(filepath.Join(root, "etc", f.name), []byte(*f.text)); err != nil {
			return nil, nil, err
		}
	}
	return given, next, nil
}

// replace writes a file anew with the mode, owner and group that it has.
func replace(path string, data []byte) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := host.WriteFile(path, data, fs.FileMode(st.Mode&0o777)); err != nil {
		return err
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}

// lockAccounts is lckpwdf(3): passwd and useradd wait for it.
func lockAccounts(root string) (func(), error) {
	file, err := os.OpenFile(filepath.Join(root, "etc/.pwd.lock"), os.O_WRONLY|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for range 150 {
		err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: 0})
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			break
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // POSIX locks tell nobody when they are free
	}
	file.Close()
	return nil, fmt.Errorf("locking the accounts: %w; another program is changing them, run again", err)
}

// usersDiffer says what of the accounts is not as planned.
func (p Plan) usersDiffer(root string) (string, error) {
	have, err := readAccounts(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "there are no accounts yet", nil
	}
	if err != nil {
		return "", err
	}
	given, err := readGiven(root)
	if err != nil {
		return "", err
	}
	want, next, err := have.with(p.Users, given, time.Now())
	if err != nil {
		return "", err
	}
	if have != want {
		if taken, _ := p.Access(ProbeAccounts(root)); len(taken) > 0 {
			return strings.Join(taken, "; "), nil
		}
		return "accounts, passwords or groups differ", nil
	}
	for _, u := range p.Users {
		uid, gid, home, err := homeOf(have.passwd, u.Name)
		if err != nil {
			return "", err
		}
		if _, err := os.Lstat(filepath.Join(root, home)); errors.Is(err, fs.ErrNotExist) {
			return home + " is not there", nil
		}
		if why, err := keysDiffer(root, home, uid, gid, u.Keys); err != nil || why != "" {
			return why, err
		}
	}
	for _, name := range p.leaving(given) {
		if why, err := keysLeft(root, have.passwd, name); err != nil || why != "" {
			return why, err
		}
	}
	if why, err := p.sudoersEdit().differs(root); err != nil || why != "" {
		return why, err
	}
	if given == nil || !given.equal(next) {
		return "what the accounts have of the layout is not written down", nil
	}
	return "", nil
}

// keysLeft looks at an account that the layout no longer has.
func keysLeft(root, passwd, name string) (string, error) {
	_, _, home, err := homeOf(passwd, name)
	if err != nil {
		return "", nil //nolint:nilerr // the account is deleted
	}
	text, err := readKeys(root, home)
	if err != nil {
		return "", nil //nolint:nilerr // it is not the file that had the layout's keys, or not there
	}
	if ours, _ := keyBlock(text); len(ours) > 0 {
		return home + "/.ssh/authorized_keys still has keys of the layout", nil
	}
	return "", nil
}

func keysDiffer(root, home string, uid, gid int, keys []string) (string, error) {
	path := filepath.Join(home, ".ssh/authorized_keys")
	dir, err := os.OpenRoot(filepath.Join(root, home))
	if err != nil {
		return "", err
	}
	defer func() { _ = dir.Close() }()
	data, err := readOwned(dir, ".ssh/authorized_keys")
	if errors.Is(err, fs.ErrNotExist) {
		if len(keys) == 0 {
			return "", nil
		}
		return path + " is not there", nil
	}
	if err != nil && len(keys) == 0 {
		return "", nil //nolint:nilerr // whatever it is, nothing of the layout is in it
	}
	if err != nil {
		return "", err
	}
	ours, _ := keyBlock(string(data))
	if len(keys) == 0 && len(ours) == 0 {
		return "", nil // it is its owner's alone
	}
	if authorizedKeys(string(data), keys) != string(data) {
		for _, line := range ours {
			if !slices.ContainsFunc(keys, func(k string) bool { return strings.TrimSpace(k) == line }) {
				return fmt.Sprintf("%s has %s, which the layout has not, or not like that", path, keyName(line)), nil
			}
		}
		return path + " is not as the layout wants it", nil
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, p), &st); err != nil {
			return "", err
		}
		// sshd ignores keys that others could have written.
		if int(st.Uid) != uid || int(st.Gid) != gid || st.Mode&0o022 != 0 {
			return p + " has the wrong owner or mode", nil
		}
	}
	return "", nil
}

// makeHome makes the home from /etc/skel, and its SSH keys. Files that are
// there stay as they are: the home may be on a subvolume older than this
// system.
func makeHome(root string, u UserPlan) error {
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return err
	}
	uid, gid, home, err := homeOf(string(passwd), u.Name)
	if err != nil {
		return err
	}
	// All paths are opened below the home: on a running host its owner could
	// put a symlink where root is about to write.
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(home)), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(root, home), 0o700); err == nil {
		if err := os.Chown(filepath.Join(root, home), uid, gid); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.OpenRoot(filepath.Join(root, home))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := copySkel(dir, filepath.Join(root, "etc/skel"), uid, gid); err != nil {
		return err
	}
	return writeKeys(dir, uid, gid, u.Keys)
}

// takeKeys takes the layout's keys from an account that it no longer has.
func takeKeys(root, name string) error {
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return err
	}
	uid, gid, home, err := homeOf(string(passwd), name)
	if err != nil {
		return nil //nolint:nilerr // the account is deleted
	}
	dir, err := os.OpenRoot(filepath.Join(root, home))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return writeKeys(dir, uid, gid, nil)
}

// writeKeys makes the layout's block of authorized_keys what it should be.
func writeKeys(dir *os.Root, uid, gid int, keys []string) error {
	old, err := readOwned(dir, ".ssh/authorized_keys")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && len(keys) > 0 {
		return err
	}
	if ours, _ := keyBlock(string(old)); len(keys) == 0 && len(ours) == 0 {
		return nil
	}
	if err := dir.Mkdir(".ssh", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := writeOwned(dir, ".ssh/authorized_keys.new", []byte(authorizedKeys(string(old), keys))); err != nil {
		return err
	}
	if err := dir.Rename(".ssh/authorized_keys.new", ".ssh/authorized_keys"); err != nil {
		return err
	}
	for _, p := range []string{".ssh", ".ssh/authorized_keys"} {
		if err := dir.Lchown(p, uid, gid); err != nil {
			return err
		}
	}
	if err := dir.Chmod(".ssh", 0o700); err != nil {
		return err
	}
	return dir.Chmod(".ssh/authorized_keys", 0o600)
}

// largestOwned bounds what is read of a file that a user owns, bytes.
const largestOwned = 1 << 20

// readOwned reads a file whose owner is not root: it may be anything by now, a
// FIFO that nobody writes to, or a link to a file that only root reads.
func readOwned(dir *os.Root, path string) ([]byte, error) {
	file, err := dir.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	wrong := func(what string) error {
		return fmt.Errorf("%s/%s is %s; its owner may have put it there: look at it, and move it away", dir.Name(), path, what)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, wrong("a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, wrong("no regular file")
	}
	if info.Size() > largestOwned {
		return nil, wrong("larger than 1 MiB")
	}
	return io.ReadAll(io.LimitReader(file, largestOwned))
}

// writeOwned makes a file anew in a folder whose owner is not root.
func writeOwned(dir *os.Root, path string, data []byte) error {
	if err := dir.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := dir.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func copySkel(home *os.Root, skel string, uid, gid int) error {
	entries, err := os.ReadDir(skel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if _, err := home.Lstat(e.Name()); err == nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(skel, e.Name()))
		if err != nil {
			return err
		}
		if err := home.WriteFile(e.Name(), data, 0o644); err != nil {
			return err
		}
		if err := home.Lchown(e.Name(), uid, gid); err != nil {
			return err
		}
	}
	return nil
}
