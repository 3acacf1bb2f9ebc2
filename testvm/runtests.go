package testvm

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kballard/go-shellquote"
)

// RunTests compiles the tests of packages ("./disk") with the build tag
// guest_inner and runs them as root in one guest, one package after the other.
// Each test in the guest is a subtest here. args are flags of the test
// binaries, as -test.run=Pool.
func RunTests(t *testing.T, g Guest, packages []string, args ...string) {
	t.Helper()
	type binary struct{ name, path, pkg string }
	var binaries []binary
	for _, pkg := range packages {
		name := strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-")
		path := filepath.Join(t.TempDir(), name+".test")
		compile := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "guest_inner", "-o", path, pkg)
		compile.Dir = Root()
		compile.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("compiling the tests of %s: %v\n%s", pkg, err, out)
		}
		if !exists(path) {
			t.Fatalf("%s has no test files with the build tag guest_inner", pkg)
		}
		binaries = append(binaries, binary{name, path, pkg})
	}

	var script strings.Builder
	script.WriteString("#!/usr/bin/busybox sh\n")
	for _, b := range binaries {
		fmt.Fprintf(&script, "cd /root; /tests/%s.test -test.v -test.timeout=%s %s\necho \"testvm: %s exits with $?\"\n",
			b.name, or(g.Timeout, 10*time.Minute), shellquote.Join(args...), b.name)
	}
	vm := g.boot(t, func(r *rootfs) error {
		r.text("testvm-run", script.String(), 0o755)
		for _, b := range binaries {
			if err := r.file("tests/"+b.name+".test", b.path); err != nil {
				return err
			}
		}
		return nil
	})
	ended := vm.Wait(vm.Config.Timeout + time.Minute)
	output, err := os.ReadFile(vm.OutputPath())
	if err != nil {
		t.Fatal(err)
	}
	text := string(output)
	if ended != nil {
		t.Errorf("%v\nthe end of its output:\n%s", ended, lastLines(text, 60))
	}
	for _, b := range binaries {
		part, rest, found := strings.Cut(text, "testvm: "+b.name+" exits with ")
		text = rest
		if !found {
			t.Errorf("the tests of %s did not finish; console:\n%s\noutput:\n%s", b.pkg, vm.Tail(30), lastLines(part, 60))
			return
		}
		status, _, _ := strings.Cut(rest, "\n")
		t.Run(b.name, func(t *testing.T) {
			report(t, part)
			if strings.TrimSpace(status) != "0" && !t.Failed() {
				t.Errorf("the test binary exits with %s:\n%s", status, lastLines(part, 60))
			}
		})
	}
}

var (
	verdict = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \(`)
	begins  = regexp.MustCompile(`^=== RUN\s+([^/\s]+)$`)
)

// report turns the output of a test binary into subtests, by top-level test.
func report(t *testing.T, output string) {
	ran := 0
	var lines []string
	scanner := bufio.NewScanner(strings.NewReader(output))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		line := scanner.Text()
		if begins.MatchString(line) {
			lines = nil
		}
		lines = append(lines, line)
		if m := verdict.FindStringSubmatch(line); m != nil {
			ran++
			// What a test logged follows its verdict in -v output of subtests,
			// and precedes it otherwise; both are kept.
			said := strings.Join(lines, "\n")
			t.Run(m[2], func(t *testing.T) {
				t.Log(said)
				switch m[1] {
				case "FAIL":
					t.Fail()
				case "SKIP":
					t.Errorf("the test skips itself: what it needs must be in the guest")
				}
			})
		}
	}
	if ran == 0 {
		t.Errorf("no test ran:\n%s", lastLines(output, 30))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
