package connectors

import (
	"fmt"
	"slices"
	"strings"
)

// Registry is a program's set of connectors. The zero Registry is empty.
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

// Find returns the connector of that name, or an error that lists the known ones and explains how an operator adds
// one: no file in Git can.
func (r Registry) Find(name string) (Connector, error) {
	if c, ok := r.byName[name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("unknown connector %q (expected one of %s); to use an external program, start countersign with --exec %s=/path/to/program",
		name, strings.Join(r.Names(), ", "), name)
}

// With returns a registry that has more connectors. Two of one name are an error.
func (r Registry) With(list ...Connector) (Registry, error) {
	for _, name := range r.Names() {
		list = append(list, r.byName[name])
	}
	return NewRegistry(list...)
}

// Names returns the connectors' names, sorted.
func (r Registry) Names() []string {
	var names []string
	for n := range r.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
