package osimage

import "testing"

// TestLoaderConf: the boot menu edits no command line, on hosts made before
// and by owners who changed the file, too; their other lines stay.
func TestLoaderConf(t *testing.T) {
	for have, want := range map[string]string{
		"":                                    loaderConf,
		loaderConf:                            loaderConf,
		"timeout 3\nconsole-mode keep\n":      "timeout 3\nconsole-mode keep\neditor no\n",
		"editor yes\ntimeout 9":               "timeout 9\neditor no\n",
		"timeout 9\n editor  1\n# editor x\n": "timeout 9\n# editor x\neditor no\n",
	} {
		got := string(loaderConfOf([]byte(have)))
		if got != want {
			t.Errorf("loaderConfOf(%q) = %q, want %q", have, got, want)
		}
		if again := string(loaderConfOf([]byte(got))); again != got {
			t.Errorf("loaderConfOf(%q) = %q: it never settles", got, again)
		}
	}
}
