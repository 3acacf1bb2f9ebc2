package crypt

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Strength is an estimate of how hard a passphrase is to guess for somebody
// who has the disk. It is rough, and errs on the side of weak: it knows no
// language, and a sentence out of a book looks stronger to it than it is.
type Strength struct {
	Bits     float64 // log2 of the guesses needed
	NotASCII bool    // has characters that depend on the boot prompt's keyboard
}

// guessesPerSecond is what one expensive graphics card does against argon2id
// at 1 GiB, generously.
const guessesPerSecond = 100

// Word is the estimate in a word.
func (s Strength) Word() string {
	switch {
	case s.Bits < 28:
		return "very weak"
	case s.Bits < 40:
		return "weak"
	case s.Bits < 56:
		return "fair"
	case s.Bits < 72:
		return "good"
	}
	return "strong"
}

// String is one line for a person: "fair: about 2 years of guessing by 1,000
// graphics cards".
func (s Strength) String() string {
	line := fmt.Sprintf("%s: %s of guessing by 1,000 graphics cards", s.Word(), duration(math.Exp2(s.Bits-1)/guessesPerSecond/1000))
	if s.NotASCII {
		line += "; it has characters that the keyboard at the boot prompt may not have"
	}
	return line
}

func duration(seconds float64) string {
	const year = 365.25 * 24 * 3600
	switch {
	case seconds < 60:
		return "seconds"
	case seconds < 3600:
		return fmt.Sprintf("about %.0f minutes", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("about %.0f hours", seconds/3600)
	case seconds < year:
		return fmt.Sprintf("about %.0f days", seconds/86400)
	case seconds < 1e3*year:
		return fmt.Sprintf("about %.0f years", math.Ceil(seconds/year))
	case seconds < 1e6*year:
		return "thousands of years"
	}
	return "millions of years"
}

// common are the beginnings of most guessed passwords, in lower case.
var common = []string{
	"password", "passwort", "passwd", "passphrase", "hypervisor", "hvinstall", "letmein", "welcome", "monkey", "dragon", "master",
	"qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "yxcvbnm", "zxcvbnm", "iloveyou", "princess", "football", "baseball",
	"sunshine", "shadow", "superman", "trustno", "secret", "admin", "root", "test", "changeme", "hunter", "correct horse battery staple",
	"0123456789", "9876543210", "abcdefghijklmnopqrstuvwxyz", "homelab", "server", "proxmox",
}

// Estimate judges a passphrase. It cuts it into what a guesser would try as a
// whole: common words, words of letters, runs, and single characters.
func Estimate(secret Secret) Strength {
	text := secret.Bytes()
	s := Strength{NotASCII: bytes.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })}
	lower := bytes.ToLower(text)
	defer clear(lower)
	seen := map[string]bool{}
	for len(lower) > 0 {
		n, bits := piece(lower)
		part := string(lower[:n])
		if seen[part] && n > 1 {
			bits = 2 // said again
		}
		seen[part] = true
		s.Bits += bits
		lower = lower[n:]
	}
	// Capitals: where they are is worth little, unless they are everywhere.
	if upper := bytes.IndexFunc(text, unicode.IsUpper); upper == 0 {
		s.Bits++
	} else if upper > 0 {
		s.Bits += 3
	}
	return s
}

// piece is the length of what a guesser takes as one at the beginning of text,
// and its bits.
func piece(text []byte) (length int, bits float64) {
	for _, word := range common {
		for n := min(len(word), len(text)); n >= 4; n-- {
			if string(text[:n]) == word[:n] {
				return n, 6
			}
		}
	}
	if n := run(text); n >= 3 {
		return n, 5 + math.Log2(float64(n))
	}
	if n := letters(text); n >= 3 {
		// A word of some language, one of 2^13, or random letters: the smaller.
		return n, math.Min(13+math.Max(0, float64(n-9))*2, float64(n)*math.Log2(26))
	}
	r, n := utf8.DecodeRune(text)
	switch {
	case r > unicode.MaxASCII:
		return n, 7
	case strings.ContainsRune(" -_.,", r):
		return n, 1
	case r >= '0' && r <= '9':
		return n, math.Log2(10)
	case r >= 'a' && r <= 'z':
		return n, math.Log2(26)
	}
	return n, 5
}

// run is how long one character is repeated, or the alphabet or digits are
// counted up or down.
func run(text []byte) int {
	if len(text) < 2 {
		return len(text)
	}
	step := int(text[1]) - int(text[0])
	if step < -1 || step > 1 {
		return 1
	}
	n := 2
	for n < len(text) && int(text[n])-int(text[n-1]) == step {
		n++
	}
	return n
}

func letters(text []byte) int {
	n := 0
	for n < len(text) && text[n] >= 'a' && text[n] <= 'z' {
		n++
	}
	return n
}
