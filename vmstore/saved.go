package vmstore

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"golang.org/x/sys/unix"
)

// domainXMLName is the file beside the disk that has libvirt's description of
// the VM, as it was after the last run.
const domainXMLName = "domain.xml"

// largestXML is more than any domain's description: a file in its place must
// not fill the memory.
const largestXML = 4 << 20

// readSaved reads a domain.xml. What a guest's screen asks as a password stays
// out of the facts, which are shown and kept.
func readSaved(path string) (saved Saved, there bool) {
	text, err := readXMLFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return saved, false
	}
	if err != nil {
		return Saved{Problem: err.Error()}, true
	}
	doc, err := readTree(text)
	if err != nil {
		return Saved{Problem: err.Error()}, true
	}
	hidePasswords(doc)
	if saved.XML, err = doc.WriteToString(); err != nil {
		return Saved{Problem: err.Error()}, true
	}
	return saved, true
}

func readXMLFile(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("it is a " + kindOf(info.Mode()))
	case info.Size() > largestXML:
		return "", errors.New("it is larger than any domain's description")
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// hidePasswords takes out what libvirt gives only when it is asked for secrets.
func hidePasswords(doc *etree.Document) {
	for _, e := range doc.FindElements("//devices/graphics") {
		e.RemoveAttr("passwd")
	}
	for _, e := range doc.FindElements("//cookie") {
		e.SetText("")
	}
}

// savedMode is the mode of a domain.xml: root's alone where it has a password.
func savedMode(text string) os.FileMode {
	if strings.Contains(text, " passwd=") || strings.Contains(text, "<cookie") {
		return 0o600
	}
	return 0o644
}

// isSaved says whether a domain.xml has what libvirt has. libvirt itself orders
// the devices anew when a VM starts.
func isSaved(path, text string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode().Perm() != savedMode(text) {
		return false, nil
	}
	have, err := readXMLFile(path)
	if err != nil || have == text {
		return err == nil, err
	}
	return sameContents(have, text), nil
}

// sameContents is false for what is no description: it is written anew.
func sameContents(have, want string) bool {
	a, errA := readTree(have)
	b, errB := readTree(want)
	return errA == nil && errB == nil && slices.Equal(contents(a), contents(b))
}

// contents are a domain's parts and devices, sorted.
func contents(doc *etree.Document) []string {
	var parts []string
	for _, e := range doc.Root().ChildElements() {
		children := []*etree.Element{e}
		if e.Tag == "devices" {
			children = e.ChildElements()
		}
		for _, c := range children {
			parts = append(parts, canonical(c))
		}
	}
	slices.Sort(parts)
	return parts
}

// canonical is an element without white space between its parts.
func canonical(e *etree.Element) string {
	var b strings.Builder
	b.WriteString("<" + e.FullTag())
	for _, a := range e.Attr {
		b.WriteString(" " + a.FullKey() + "=" + a.Value)
	}
	b.WriteString(">" + content(e))
	for _, c := range e.ChildElements() {
		b.WriteString(canonical(c))
	}
	b.WriteString("</>")
	return b.String()
}
