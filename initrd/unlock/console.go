package unlock

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// consoles are all places where a person may be looking: the screen and every
// console= of the kernel command line. A nil consoles is silent.
type consoles struct {
	mu       sync.Mutex
	ttys     []*tty
	kmsg     *os.File
	quiet    bool
	verbose  bool
	prompt   string   // shown last on every console, while a person is asked
	warnings []string // for the report
	level    string   // the kernel's own console levels, given back at the end
}

// tty is one console.
type tty struct {
	name string
	file *os.File
	old  *unix.Termios // before the prompt
	dead bool          // takes nothing
}

const printkPath = "/proc/sys/kernel/printk"

// openConsoles opens every console that there is. The kernel's messages stay
// in its log; only its errors go on to the consoles, so that the few lines that
// a person has to read are not lost among a thousand.
func openConsoles(a arguments) *consoles {
	c := &consoles{quiet: a.has("quiet"), verbose: a.has("rd.hvinstall.debug")}
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		c.kmsg = f
		// The default drops all but ten messages of five seconds.
		_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on"), 0)
	}
	if data, err := os.ReadFile(printkPath); err == nil && !a.has("debug") && !a.has("ignore_loglevel") && !c.verbose {
		c.level = strings.TrimSpace(string(data))
		_ = os.WriteFile(printkPath, []byte("4"), 0)
	}
	for _, name := range consoleNames() {
		file, err := os.OpenFile("/dev/"+name, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		c.ttys = append(c.ttys, &tty{name: name, file: file})
	}
	return c
}

// consoleNames are the kernel's consoles, and the screen even if the command
// line names a serial port alone: that is where the keyboard is.
func consoleNames() []string {
	names := []string{"tty1"}
	data, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return names
	}
	for name := range strings.FieldsSeq(string(data)) {
		if name != "tty0" && !slices.Contains(names, name) { // tty0 is the screen in front, at boot tty1
			names = append(names, name)
		}
	}
	return names
}

// say shows a line of the boot's course, with the seconds since the kernel's
// start.
func (c *consoles) say(format string, args ...any) {
	c.line("6", c != nil && c.quiet, fmt.Sprintf(format, args...))
}

// important shows a line even where the command line says quiet.
func (c *consoles) important(format string, args ...any) {
	c.line("5", false, fmt.Sprintf(format, args...))
}

// warn shows a line that a person must read; it goes to the report, too.
func (c *consoles) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c != nil {
		c.mu.Lock()
		c.warnings = append(c.warnings, text)
		c.mu.Unlock()
	}
	c.line("4", false, "WARNING: "+text)
}

// debug shows a line with rd.hvinstall.debug alone.
func (c *consoles) debug(format string, args ...any) {
	if c != nil && c.verbose {
		c.line("7", false, fmt.Sprintf(format, args...))
	}
}

func (c *consoles) line(level string, hidden bool, text string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kmsg != nil {
		fmt.Fprintf(c.kmsg, "<%s>hvinstall: %s", level, text)
	}
	if hidden {
		return
	}
	shown := strings.Join(wrap(fmt.Sprintf("%8.2f  ", uptime()), text, 79), "\n") + "\n"
	if c.prompt != "" {
		shown = "\n" + shown + c.prompt
	}
	c.write(shown)
}

// stalled is how long a console may take for a line. A serial port that waits
// for a partner by hardware handshake would hold up the boot for ever.
const stalled = 2 * time.Second

// write is called with mu held.
func (c *consoles) write(text string) {
	for _, t := range c.ttys {
		if t.dead {
			continue
		}
		_ = t.file.SetWriteDeadline(time.Now().Add(stalled))
		if _, err := t.file.WriteString(text); err != nil {
			t.dead = true
		}
	}
}

// setPrompt shows a prompt on every console, or takes it away with "".
func (c *consoles) setPrompt(prompt string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if prompt == c.prompt {
		return
	}
	if c.prompt != "" {
		c.write("\n")
	}
	c.prompt = prompt
	c.write(prompt)
}

// wrap breaks text at spaces so that no line is wider than width; further
// lines are indented below the first one's text. A longer word stays whole.
func wrap(lead, text string, width int) []string {
	var lines []string
	current := lead
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && len(current)+1+len(word) > width {
			lines = append(lines, current)
			current, empty = strings.Repeat(" ", len(lead)), true
		}
		if !empty {
			current += " "
		}
		current += word
		empty = false
	}
	return append(lines, current)
}

// giveBack restores the kernel's own messages, before the system's own init.
// The consoles stay open until exec closes them: what goes wrong until then is
// still said.
func (c *consoles) giveBack() {
	if c.level != "" {
		_ = os.WriteFile(printkPath, []byte(c.level), 0)
	}
	c.level = ""
}
