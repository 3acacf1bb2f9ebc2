package unlock

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"hvinstall/initrd/boot"
)

// loader loads kernel modules, each once, those that do not need one another
// side by side.
type loader struct {
	modules   boot.Modules
	arguments arguments
	con       *consoles

	byName map[string]boot.Module
	mu     sync.Mutex
	begun  map[string]chan struct{} // closed when the module is loaded, or failed
	seen   map[string]bool          // modaliases asked for
}

func readModules() (boot.Modules, error) {
	file, err := os.Open(boot.ModulesPath)
	if err != nil {
		return boot.Modules{}, fmt.Errorf("reading the list of modules: %w", err)
	}
	defer file.Close()
	return boot.ReadModules(file)
}

func newLoader(modules boot.Modules, a arguments, con *consoles) *loader {
	l := &loader{
		modules: modules, arguments: a, con: con,
		byName: map[string]boot.Module{}, begun: map[string]chan struct{}{}, seen: map[string]bool{},
	}
	for _, m := range modules.List {
		l.byName[m.Name] = m
	}
	return l
}

// load loads modules side by side, and returns when they are loaded. What is
// not in the initramfs is built in, or missing, and left out.
func (l *loader) load(names ...string) {
	var wait sync.WaitGroup
	for _, name := range names {
		wait.Go(guarded(l.con, func() { l.one(name) }))
	}
	wait.Wait()
}

// one loads a module after what it needs, and returns when it is loaded.
func (l *loader) one(name string) {
	l.mu.Lock()
	if done, ok := l.begun[name]; ok {
		l.mu.Unlock()
		<-done
		return
	}
	done := make(chan struct{})
	l.begun[name] = done
	l.mu.Unlock()
	defer close(done)

	m, ok := l.byName[name]
	if !ok || l.arguments.blacklisted(name) {
		return
	}
	// The builder left out circles, so that this ends.
	for _, need := range m.Needs {
		l.one(need)
	}
	if err := insert(m.Path, l.arguments.moduleOptions(name)); err != nil {
		l.con.debug("module %s: %v", name, err)
	}
}

// insert gives the kernel a module's file. A module that is there already is
// loaded; one without its hardware says ENODEV.
func insert(path, options string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	err = unix.FinitModule(int(file.Fd()), options, 0)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// loadAlways loads what every boot needs.
func (l *loader) loadAlways() {
	var names []string
	for _, m := range l.modules.List {
		if m.Always {
			names = append(names, m.Name)
		}
	}
	l.load(names...)
}

// loadFor loads the drivers for devices.
func (l *loader) loadFor(modaliases ...string) {
	var names []string
	for _, modalias := range modaliases {
		l.mu.Lock()
		seen := l.seen[modalias]
		l.seen[modalias] = true
		l.mu.Unlock()
		if !seen {
			names = append(names, l.modules.Match(modalias)...)
		}
	}
	l.load(names...)
}
