package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/configs"
	"hvinstall/host/web"
	"hvinstall/vmstore"
)

// TestShownWithoutSecrets: what a dry run prints goes into bug reports.
func TestShownWithoutSecrets(t *testing.T) {
	example, err := os.ReadFile(exampleOfSpec)
	if err != nil {
		t.Fatal(err)
	}
	const word = "hunter2word"
	layout := strings.NewReplacer(
		"https://github.com/", "https://me:"+word+"@github.com/",
		".qcow2.xz", ".qcow2.xz?sig="+word+"&x=1",
	).Replace(string(example))
	layout = strings.Replace(layout, "  - name: haos\n", "  - name: haos\n    cloud_init: {user_data: \"#cloud-config\\npassword: \\\""+word+"\\\"\\n\"}\n", 1)
	if n := strings.Count(layout, word); n < 3 {
		t.Fatalf("%d secrets are in the layout, want 3", n)
	}
	path := filepath.Join(t.TempDir(), "layout.yaml")
	if err := os.WriteFile(path, []byte(layout), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--json"}} {
		var out, errs bytes.Buffer
		args := append([]string{"--plan", path, "--facts", filepath.Join(machines, "hypervisor-blank.json"), "--dry-run"}, more...)
		if code := run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, args); code != exitDone {
			t.Fatalf("exit code %d\n%s", code, errs.String())
		}
		if text := out.String() + errs.String(); strings.Contains(text, word) || !strings.Contains(text, "github.com") {
			t.Errorf("%v shows\n%s", more, text)
		}
	}
}

// TestShownPrintable: a facts file from elsewhere writes nothing to the
// terminal that the terminal obeys.
func TestShownPrintable(t *testing.T) {
	facts, err := os.ReadFile(filepath.Join(machines, "hypervisor-blank.json"))
	if err != nil {
		t.Fatal(err)
	}
	hostile := bytes.ReplaceAll(facts, []byte(`"model": "`), []byte(`"model": "\u001b]0;owned\u0007\u202e`))
	if bytes.Equal(hostile, facts) {
		t.Fatal("no model was changed")
	}
	path := filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(path, hostile, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--plan", exampleOfSpec, "--facts", path, "--dry-run"},
		{"discover", "--facts", path},
	} {
		var out, errs bytes.Buffer
		run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, args)
		text := out.String() + errs.String()
		if strings.ContainsAny(text, "\x1b\x07\u202e") || !strings.Contains(text, `\x1b]0;owned`) {
			t.Errorf("%v shows %q", args, text)
		}
	}
}

// obeyed is what a terminal takes for a command, and written what stands for it.
const (
	obeyed  = "\x1b]0;owned\x07"
	written = `\x1b]0;owned\x07`
)

// wantShown judges what a way in has shown of obeyed and of a secret.
func wantShown(t *testing.T, text, secret string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\x07") || !strings.Contains(text, written) {
		t.Errorf("the terminal gets %q", text)
	}
	if secret != "" && strings.Contains(text, secret) {
		t.Errorf("it shows the secret: %s", text)
	}
}

// TestInvalidLayoutIsPrintable: every command that reads a layout says what is
// wrong with it, in the layout's own words and with the file's name.
func TestInvalidLayoutIsPrintable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layout"+obeyed+".yaml")
	if err := os.WriteFile(path, []byte("hostname: \"\\e]0;owned\\a\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "--plan", path},
		{"--plan", path, "--dry-run"},
		{"status", "--plan", path},
		{"undelete", "--plan", path, "vm"},
		{"nixos", "--plan", path, "-o", t.TempDir()},
		{vmstore.StartCommand, "--plan", path},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), terminal{strings.NewReader(""), &out, &errs}, args); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
		wantShown(t, out.String()+errs.String(), "")
	}
}

// TestJournalOfStartedVMs: what the unit hvinstall-vms.service says goes into a
// journal that a group reads.
func TestJournalOfStartedVMs(t *testing.T) {
	layout := &configs.Layout{}
	var errs bytes.Buffer
	w := warnings{terminal{err: &errs}, layout.Redactor()}
	w.Warn("%s: %v", "haos"+obeyed, `Get "https://me:hunter2word@x.org/a?sig=hunter2word": refused`)
	wantShown(t, errs.String(), "hunter2word")
}

// TestStyledPreviewIsPrintable: of a text with colours only the colours stay.
func TestStyledPreviewIsPrintable(t *testing.T) {
	for _, colour := range []bool{false, true} {
		s := style{colour: colour, width: widest}
		text := s.danger("a"+obeyed) + s.dim("b") + "\x1b[2J\x1b[8m"
		got := s.screen(text)
		want := s.danger("a"+written) + s.dim("b") + `\x1b[2J\x1b[8m`
		if got != want {
			t.Errorf("with colour %v: %q, want %q", colour, got, want)
		}
	}
}

// TestHostileVMIsPrintable: what libvirt says of VMs is in the facts as it is.
func TestHostileVMIsPrintable(t *testing.T) {
	plan := planOf(t, "hypervisor-blank")
	if plan.VMs == nil || len(plan.VMs.VMs) == 0 {
		t.Fatal("the plan has no VMs")
	}
	plan.VMs.VMs[0].Name += obeyed
	var out bytes.Buffer
	writePreview(&out, style{width: widest}, plan)
	wantShown(t, out.String(), "")
}

// stopAfter cancels as soon as something is written.
type stopAfter struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (s *stopAfter) Write(p []byte) (int, error) {
	defer s.cancel()
	return s.Buffer.Write(p)
}

// TestUnattendedPlanIsShownWithoutSecrets: the console and the log of an
// unattended run are read by whoever stands there.
func TestUnattendedPlanIsShownWithoutSecrets(t *testing.T) {
	const word = "hunter2word"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 503 busy%s\r\nContent-Length: 0\r\n\r\n", obeyed)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &stopAfter{cancel: cancel}
	from := strings.Replace(server.URL, "://", "://me:"+word+"@", 1) + "/layout?sig=" + word
	if _, err := fetchPlan(ctx, web.New("", stallOfPlan), out, from); err == nil {
		t.Error("it was fetched")
	}
	// The server's own phrase is not handed on.
	if text := out.String(); strings.ContainsAny(text, "\x1b\x07") || strings.Contains(text, word) || !strings.Contains(text, "503 Service Unavailable") {
		t.Errorf("the console gets %q", text)
	}
}

// TestHostilePlanServer: who answers in the layout's place, or leads on to
// another, gets no machine.
func TestHostilePlanServer(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hostname: evil\n") }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	var redirect *web.RedirectError
	started := time.Now()
	if data, err := fetchPlan(ctx, web.NewWith(ca, 5*time.Second), &out, secure.URL); !errors.As(err, &redirect) || len(data) > 0 || time.Since(started) > 10*time.Second {
		t.Errorf("https leads to http: %q, %v", data, err)
	}
	data, err := fetchPlan(ctx, web.New("", 5*time.Second), &out, plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := isNamed(data, strings.Repeat("a", 64)); err == nil || !strings.Contains(err.Error(), "somebody else answered") {
		t.Errorf("another file than the one that is named: %v", err)
	}
	if err := isNamed(data, fmt.Sprintf("%x", sha256.Sum256(data))); err != nil {
		t.Error(err)
	}
}

// TestErrorsAreShownThroughOnePlace: no command hands an error to fmt as it is.
func TestErrorsAreShownThroughOnePlace(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	prints := []string{"Fprint", "Fprintf", "Fprintln", "Print", "Printf", "Println"}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			of, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(prints, of.Sel.Name) {
				return true
			}
			if pkg, ok := of.X.(*ast.Ident); !ok || pkg.Name != "fmt" {
				return true
			}
			for _, arg := range call.Args {
				raw := false
				switch arg := arg.(type) {
				case *ast.Ident:
					raw = arg.Name == "err"
				case *ast.CallExpr:
					s, ok := arg.Fun.(*ast.SelectorExpr)
					raw = ok && s.Sel.Name == "Error"
				}
				if raw {
					t.Errorf("%s: an error is printed as it is; use complain or showable", set.Position(arg.Pos()))
				}
			}
			return true
		})
	}
}
