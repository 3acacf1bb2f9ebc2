package unlock

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// usualCipher is cryptsetup's default, and that of every volume that hvinstall
// makes.
const usualCipher = "aes-xts-plain64"

// The kernel's own requests for modules find no modprobe here: what dm-crypt
// will ask for is loaded before.
var (
	// fastCipher is the usual cipher where the processor computes AES.
	fastCipher = []string{"dm_crypt", "aesni_intel"}
	// plainCipher is the usual cipher on any other processor.
	plainCipher = []string{"xts", "ecb", "aes_generic", "aes_x86_64"}
	// rareCiphers are those of an adopted volume of old, aes-cbc-essiv:sha256,
	// whose header is LUKS2's by now.
	rareCiphers = []string{"cbc", "essiv", "sha256_ssse3", "sha256_generic"}
)

// loadCiphers loads what mapping volumes of these ciphers takes, and no more:
// a boot waits for it, and the kernel tests each cipher for some time.
func (l *loader) loadCiphers(ciphers ...string) {
	l.load(fastCipher...)
	if !kernelHas("xts(aes)") {
		l.load(plainCipher...)
	}
	if slices.ContainsFunc(ciphers, func(c string) bool { return c != usualCipher }) {
		l.load(slices.Concat(plainCipher, rareCiphers)...)
	}
}

// kernelHas says whether the kernel has an algorithm ready, by its name in
// /proc/crypto.
func kernelHas(algorithm string) bool {
	file, err := os.Open("/proc/crypto")
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "name" && strings.TrimSpace(value) == algorithm {
			return true
		}
	}
	return false
}
