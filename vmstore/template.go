package vmstore

import (
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"
)

// definition is the domain XML of a VM: the built-in one, or that of the
// user's template. It is the same bytes for the same spec.
func definition(s Spec, templateName, templateText string) (string, error) {
	if templateName == "" {
		return domainXML(s)
	}
	return fromTemplate(s, templateName, templateText)
}

// fromTemplate executes a user's template and checks that what comes out is a
// domain of this VM, before anything is done with it. libvirt checks the rest
// against its schema when it is defined.
func fromTemplate(s Spec, name, text string) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"xml": escape}).Parse(text)
	if err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return "", fmt.Errorf("template %s, VM %s: %w", name, s.Name, err)
	}
	out := b.String()
	doc, err := readTree(out)
	if err != nil {
		return "", fmt.Errorf("template %s, VM %s: %w", name, s.Name, err)
	}
	root := doc.Root()
	if root.Tag != "domain" {
		return "", fmt.Errorf("template %s: its root is <%s>, want <domain>", name, root.Tag)
	}
	for _, must := range []struct{ what, have, want string }{
		{"<name>", content(below(root, "name")), s.Name},
		{"<uuid>", content(below(root, "uuid")), s.UUID},
	} {
		if must.have != must.want {
			return "", fmt.Errorf("template %s, VM %s: %s is %q, want %q; write {{.Name}} and {{.UUID}}", name, s.Name, must.what, must.have, must.want)
		}
	}
	if !strings.Contains(out, s.Disk) {
		return "", fmt.Errorf("template %s, VM %s: its disk %s is not in it; write {{.Disk}}", name, s.Name, s.Disk)
	}
	return out, nil
}

// escape is for values inside XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
