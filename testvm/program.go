package testvm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program is hvinstall for a guest: the one that HVINSTALL_BINARY names, else
// one that is built into dir.
func Program(dir string) (string, error) {
	if path := os.Getenv("HVINSTALL_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "hvinstall")
	return path, BuildProgram(path)
}

// BuildProgram builds hvinstall, static, as a guest without a dynamic linker
// needs it.
func BuildProgram(path string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "hvinstall/cmd/hvinstall")
	build.Dir = Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building hvinstall: %w\n%s", err, out)
	}
	return nil
}
