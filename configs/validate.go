package configs

import "fmt"

// checker holds a decoded layout against the rules that no single key can
// break. What a key's own form, words and bounds say was checked while it was
// decoded; a field that failed there is not spoken of again.
type checker struct {
	*decoder
	l *Layout
}

func (d *decoder) validate(l *Layout) {
	if d.failed[d] || d.full() {
		return
	}
	c := &checker{d, l}
	c.validateOS()
	c.validatePools()
	c.validateDisks()
	c.validateMountpoints()
	c.validateEncryption()
	c.validateNetwork()
	c.validateExports()
	c.validateUsers()
	c.validateVMs()
}

// good is true when the field was written and its value has the right form.
func (c *checker) good(field any) bool {
	return c.given(field) && !c.failed[field]
}

// given is true when the field was written at all.
func (c *checker) given(field any) bool {
	_, ok := c.places[field]
	return ok
}

// fail reports an error at the first of the fields that was written.
func (c *checker) fail(fields []any, hint, format string, args ...any) {
	for _, f := range fields {
		if p, ok := c.places[f]; ok {
			c.at(p, hint, format, args...)
			return
		}
	}
	c.at(place{in: c.src}, hint, format, args...)
}

// line says where a field was written, for a hint about another one.
func (c *checker) line(field any) string {
	p, ok := c.places[field]
	switch {
	case !ok:
		return "by default"
	case p.in.order > 0:
		return fmt.Sprintf("in line %d of %s", p.line, p.in.name)
	default:
		return fmt.Sprintf("in line %d", p.line)
	}
}

// fields is the list that fail takes.
func fields(f ...any) []any { return f }
