package connectors

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Registry is the set of connectors that a program has. The zero Registry is empty.
type Registry struct{ byName map[string]Connector }

// NewRegistry returns a registry of the given connectors. Two of one name are an error.
func NewRegistry(list ...Connector) (Registry, error) {
	r := Registry{byName: make(map[string]Connector, len(list))}
	for _, c := range list {
		name := c.Describe().Name
		if _, ok := r.byName[name]; ok {
			return Registry{}, fmt.Errorf("two connectors are named %q", name)
		}
		r.byName[name] = c
	}
	return r, nil
}

// Get returns the connector of that name.
func (r Registry) Get(name string) (Connector, bool) {
	c, ok := r.byName[name]
	return c, ok
}

// Find returns the connector of that name, or an error that lists those there are and says who can add one: no file in
// Git can.
func (r Registry) Find(name string) (Connector, error) {
	if c, ok := r.byName[name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("there is no connector %q (there are %s); where a program of its own is the connector, whoever runs countersign names it: --exec %s=/path/to/program",
		name, strings.Join(r.Names(), ", "), name)
}

// With returns a registry that has more connectors. Two of one name are an error.
func (r Registry) With(list ...Connector) (Registry, error) {
	for _, name := range r.Names() {
		list = append(list, r.byName[name])
	}
	return NewRegistry(list...)
}

// Names are sorted.
func (r Registry) Names() []string {
	var names []string
	for n := range r.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Type returns the connection type of that name.
func (d Description) Type(name string) (ConnectionType, bool) {
	i := slices.IndexFunc(d.Types, func(t ConnectionType) bool { return t.Name == name })
	if i < 0 {
		return ConnectionType{}, false
	}
	return d.Types[i], true
}

// Attributes are the properties of the payload schema.
func (t ConnectionType) Attributes() map[string]bool {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	out := map[string]bool{}
	if json.Unmarshal(t.Payload, &schema) != nil {
		return out // no schema, no attribute
	}
	for name := range schema.Properties {
		out[name] = true
	}
	return out
}

// Target returns the grantable type of that name.
func (t ConnectionType) Target(name string) (GrantableType, bool) {
	i := slices.IndexFunc(t.Grantable, func(g GrantableType) bool { return g.Type == name })
	if i < 0 {
		return GrantableType{}, false
	}
	return t.Grantable[i], true
}

// Match says whether a name matches one of the glob patterns. A star matches any run of characters, also
// none, also slashes and dots; a question mark one character; a backslash takes the next character as it
// is. A malformed pattern matches nothing: decoding refuses it with its place.
func Match(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, name) })
}

// glob is iterative: at a mismatch it returns to the last star, so that a hostile pattern costs at most
// the product of the lengths.
func glob(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, back := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, back = i, j
			i++
			continue
		case i < len(p) && p[i] == '?':
			i++
			j++
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == n[j]:
			i += 2
			j++
			continue
		case i < len(p) && p[i] != '\\' && p[i] == n[j]:
			i++
			j++
			continue
		}
		if star < 0 {
			return false
		}
		back++
		i, j = star+1, back
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
