package unlock

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryGoroutineIsGuarded: a panic of any goroutine ends process 1, and with
// it the machine. So each is begun by guard, or by guarded.
func TestEveryGoroutineIsGuarded(t *testing.T) {
	files := token.NewFileSet()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	isGuarded := func(e ast.Expr) bool {
		call, ok := e.(*ast.CallExpr)
		if !ok {
			return false
		}
		name, ok := call.Fun.(*ast.Ident)
		return ok && name.Name == "guarded"
	}
	found := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if found++; !isGuarded(n.Call.Fun) {
					t.Errorf("%s: a goroutine whose panic would end process 1", files.Position(n.Pos()))
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Go" || f.Sel.Name == "AfterFunc") {
					if found++; len(n.Args) == 0 || !isGuarded(n.Args[len(n.Args)-1]) {
						t.Errorf("%s: a goroutine whose panic would end process 1", files.Position(n.Pos()))
					}
				}
			}
			return true
		})
	}
	if found < 5 {
		t.Errorf("%d goroutines found; the test looks at the wrong files", found)
	}
}

func TestGuardedPanics(t *testing.T) {
	guarded(nil, func() { panic("a bug") })()
	done := make(chan struct{})
	guard(nil, func() { defer close(done); panic("a bug") })
	<-done
}
