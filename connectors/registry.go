package connectors

import (
	"fmt"
	"slices"
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
